"""`compress --dry-run ...`: what the same command without the flag would do, job by job. Nothing is written."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import compose
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import SearchPathException
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from compress.cli.commands.planned_job import Job
from compress.cli.config import build, hydra_in, settings_root
from compress.core.errors import CompressError, InputError
from compress.core.secrets import masked

if TYPE_CHECKING:
    pass

FLAG = "--dry-run"
# What Hydra answers by itself, without running anything.
QUESTIONS = ("help", "hydra_help", "cfg", "info", "shell_completion")


def dry_run(arguments: Sequence[str]) -> int:
    """Print the plan, or one per job and what they share, and return the exit status: 0, or 2 where a job is refused.

    arguments: those of the command, without the flag. Raises InputError for what cannot be used, and what Hydra raises
    for settings that do not exist.
    """
    given = get_args(list(arguments))
    name, folder = (given.config_name or "quickstart").removesuffix(".yaml"), given.config_dir or given.config_path
    if folder is not None and not Path(folder).is_dir():
        raise SearchPathException(folder)
    with hydra_in(settings_root() / "recipes" if folder is None else Path(folder)):
        if not given.multirun:
            job = _job(name, given.overrides, sweeps=False)
            return _show([(job, "")], sweeps=False)
        points = list(_points(name, given.overrides))
        return _show([(_job(name, point, sweeps=True), " ".join(told)) for point, told in points], sweeps=True)


def asks_hydra(arguments: Sequence[str]) -> bool:
    """Whether the rest of the command line asks Hydra something instead of running anything."""
    given = get_args(list(arguments))
    return any(getattr(given, name) for name in QUESTIONS)


def _points(name: str, overrides: Sequence[str]) -> Iterator[tuple[list[str], list[str]]]:
    """Each job's overrides, and those of them that differ between jobs, by the sweeper's own arithmetic."""
    sweeper = compose(name, return_hydra_config=True).hydra.runtime.choices["hydra/sweeper"]
    chosen = [override.partition("=")[2] for override in overrides if override.startswith("hydra/sweeper=")]
    if (chosen or [sweeper])[-1] not in ("basic", "grid"):
        raise InputError(
            f"--dry-run cannot plan a search (hydra/sweeper={(chosen or [sweeper])[-1]}), which chooses its values as "
            "it goes. Plan one point of it: leave out -m and give a value to each setting."
        )
    parsed = {one.get_key_element(): one for one in OverridesParser.create().parse_overrides(list(overrides))}
    for one in parsed.values():
        if one.is_interval_sweep():
            raise InputError(f"{one.input_line} is an interval, which has no list of values. Give values: A,B.")
    varied = [one.is_sweep_override() for one in parsed.values()]
    for point in BasicSweeper.split_arguments(list(parsed.values()), None)[0]:
        yield point, [part for part, varies in zip(point, varied, strict=True) if varies]


def _job(name: str, overrides: Sequence[str], *, sweeps: bool) -> Job | CompressError:
    settings = compose(name, overrides=list(overrides), return_hydra_config=True)
    place, choices = settings.hydra.sweep if sweeps else settings.hydra.run, dict(settings.hydra.runtime.choices)
    folder = Path(str(place.dir))
    with read_write(settings), open_dict(settings):
        del settings["hydra"]
    try:
        return Job(build(settings, name), folder, _changed(settings, choices))
    except CompressError as error:
        if not sweeps:
            raise
        return error


def _changed(settings: DictConfig, choices: Mapping[str, str]) -> dict[str, dict[str, tuple[Any, Any]]]:
    """For each stage, for each gate, and for the recipe's own, what differs from the file that its group chose."""
    found = {}
    for choice, value in choices.items():
        group, _, place = choice.partition("@")
        # Where a group lies that is named without a place.
        place = place or group
        if place != "gate" and (not place.startswith(("stages.", "gates.")) or place.count(".") > 1):
            continue
        with warnings.catch_warnings():
            # Of a recipe Hydra wants to be told whether it comes before its defaults; this is none.
            warnings.simplefilter("ignore", UserWarning)
            defaults = OmegaConf.select(compose(f"{group}/{value}"), group.replace("/", "."))
        raw, own = _flat(OmegaConf.select(settings, place)), _flat(defaults)
        resolved = _flat(OmegaConf.select(settings, place), resolve=True)
        found[place] = {
            setting: (resolved[setting], own.get(setting))
            for setting in raw
            if setting not in own or (raw[setting] != own[setting] and resolved[setting] != own[setting])
        }
    return found


def _flat(node: DictConfig, *, resolve: bool = False) -> dict[str, Any]:
    def walk(value: Any, prefix: str) -> Iterator[tuple[str, Any]]:
        for name, inner in value.items():
            if isinstance(inner, dict):
                yield from walk(inner, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}", inner

    return dict(walk(OmegaConf.to_container(node, resolve=resolve), ""))


def _show(jobs: Sequence[tuple[Job | CompressError, str]], *, sweeps: bool) -> int:
    # Torch takes seconds to import, and what Hydra refuses does not wait for it.
    import transformers

    from compress.cli.commands.plan_table import PlanTable
    from compress.pipeline.plan.plan import total
    from compress.pipeline.plan.planner import Planner

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    planner, table, plans, refused = Planner(), PlanTable(), [], 0
    for number, (job, differing) in enumerate(jobs):
        try:
            if isinstance(job, CompressError):
                raise job
            plan = planner.plan(job.recipe, job.folder)
        except CompressError as error:
            if not sweeps:
                raise
            refused += 1
            table.flush()
            print(f"compress: job {number} ({masked(differing)}): {masked(str(error))}", file=sys.stderr, flush=True)
            continue
        if sweeps:
            table.title(f"job {number}: {masked(differing)}")
        table.plan(plan, job)
        plans.append(plan)
    if sweeps and plans:
        table.total(total(plans), len(jobs), refused, plans[0].free)
    return InputError.exit_status if refused else 0
