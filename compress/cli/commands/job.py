"""One run of a recipe, alone or as a job of a sweep, as the terminal shows it."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from compress.cli.commands.reasons import as_compress_error, complain
from compress.cli.config import build, register
from compress.cli.sweep import job_result
from compress.cli.sweep.job_result import Ending, JobResult, measured
from compress.cli.sweep.own import command_of
from compress.cli.sweep.threads import training_threads
from compress.core.errors import InputError
from compress.core.secrets import masked
from compress.measure.environment import allowed_cpus
from compress.methods.training.processes import count_here, is_main, join, leave

if TYPE_CHECKING:
    from compress.core.ledger import Row
    from compress.core.recipe import Recipe
    from compress.pipeline.inputs import InputsCache
    from compress.pipeline.spine import RunResult

ENDINGS: dict[int, Ending] = {1: "broken", 2: "refused", 3: "nothing passed"}


def run_alone(settings: DictConfig, command: str) -> None:
    """The run of a command without a sweep: a line as each stage finishes, and the decision."""
    _require_no_sweep()
    recipe = build(settings, _recipe_name())
    threads = max(1, len(allowed_cpus()) // count_here())
    join(recipe.device)
    try:
        if is_main():
            _run(recipe, settings, command, threads=threads, shown=True, on_row=lambda row: None)
        else:
            _help(recipe, threads)
    finally:
        leave()


def _help(recipe: Recipe, threads: int) -> None:
    import torch

    from compress.pipeline.spine import help_train

    torch.set_num_threads(threads)
    help_train(recipe)
    # Hydra has made a folder for this process too, perhaps of another second's name.
    with contextlib.suppress(OSError):
        Path(HydraConfig.get().runtime.output_dir).rmdir()


def run_in_sweep(settings: DictConfig) -> JobResult:
    """A job of a sweep, in whatever process and on whatever machine: how it ended, also written to its folder.

    Raises nothing but KeyboardInterrupt, so that the other jobs go on.
    """
    register()
    # A launcher's process may have started elsewhere.
    os.chdir(HydraConfig.get().runtime.cwd)
    began, folder = time.monotonic(), Path(HydraConfig.get().runtime.output_dir)
    rows: list[Row] = []
    ending: Ending = "interrupted"
    reason: str | None = "the sweep was stopped"
    drop: float | None = None
    try:
        try:
            from compress.report.limits import limits_missed

            recipe = build(settings, _recipe_name())
            result = _run(
                recipe,
                settings,
                command_of(HydraConfig.get()),
                sweep=Path(HydraConfig.get().sweep.dir).name,
                threads=training_threads(_launcher()),
                shared=True,
                shown=_in_this_terminal(),
                on_row=rows.append,
            )
            ending, reason = "exported", limits_missed(result.rows, result.summary)
            rows = [row for row in result.rows if row.stage == result.summary["exported"]["stage"]]
            if reason is None and rows[0].disturbance is not None:
                reason = rows[0].disturbance.told
        except Exception as error:  # noqa: BLE001 - a stage may raise anything, and the other jobs go on.
            ending, reason = _told(error, folder)
            if _in_this_terminal():
                complain(reason, 0)
    finally:
        row = next((row for row in reversed(rows) if row.difference is not None), None)
        if row is not None:
            drop = recipe.gates[row.stage].max_accuracy_drop
        print(f"job {HydraConfig.get().job.num}: {ending}", flush=True)
        found = JobResult(ending=ending, reason=reason, seconds=time.monotonic() - began, **measured(row, drop))
        # Where it cannot be written it still comes back.
        with contextlib.suppress(OSError):
            job_result.write(found, folder)
    return found


def _run(
    recipe: Recipe,
    settings: DictConfig,
    command: str,
    *,
    sweep: str = "",
    threads: int,
    shared: bool = False,
    shown: bool,
    on_row: Callable[[Row], Any],
) -> RunResult:
    """shared: data and teacher with the jobs before it in this process, and those after it."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    from compress.deploy.forms.of_run import write_forms
    from compress.pipeline.inputs import RecipeInputs
    from compress.pipeline.spine import run
    from compress.report.decision import decide
    from compress.report.limits import limits_missed
    from compress.report.table import StageTable
    from compress.report.terminal import terminal

    folder = Path(HydraConfig.get().runtime.output_dir)
    console = terminal(quiet=not shown)
    table = StageTable(console)

    def show(row: Row) -> None:
        on_row(row)
        # With the first row, so that a refusal stands alone.
        if row.stage == "teacher":
            table.header(row.metric)
        table.row(row)

    def record() -> None:
        _record_settings(settings, folder / ".hydra")

    result = run(
        recipe,
        folder,
        command=command,
        sweep=sweep,
        training_threads=threads,
        on_row=show,
        on_start=record,
        read=_inputs().read if shared else RecipeInputs.read,
    )
    decision = decide(result.rows, result.summary)
    console.print("\n" + " ".join((decision.headline, *decision.details)))
    console.print(f"\nexported to {result.export}\nreport:     {result.folder / 'report.html'}", soft_wrap=True)
    try:
        for line in write_forms(result.folder, recipe.forms):
            console.print(line, soft_wrap=True)
    finally:
        missed = limits_missed(result.rows, result.summary)
        if missed is not None and shown:
            # Last, and where errors go: whoever looks at nothing else sees it.
            print(f"warning: {missed}", file=sys.stderr, flush=True)
    return result


@cache
def _inputs() -> InputsCache:
    from compress.pipeline.inputs import InputsCache

    # One, as a teacher in memory can be large. Hydra varies the last setting first, so jobs that differ in their
    # stages alone come one after the other where these are named last.
    return InputsCache(most=1)


def _require_no_sweep() -> None:
    """Raise InputError for a search or a launcher that would be left aside."""
    for group, usual in (("hydra/sweeper", "grid"), ("hydra/launcher", "basic")):
        chosen = HydraConfig.get().runtime.choices[group]
        if chosen != usual:
            raise InputError(f"{group} is {chosen!r}, which runs many jobs, and this is one. Begin with: compress -m")


def _recipe_name() -> str:
    return HydraConfig.get().job.config_name or "recipe"


def _launcher() -> Mapping[str, Any]:
    return OmegaConf.to_container(HydraConfig.get().launcher, resolve=True)  # type: ignore[return-value]


def _in_this_terminal() -> bool:
    """Whether jobs run one after another in the process of the command."""
    return str(_launcher()["_target_"]).endswith(".BasicLauncher")


def _record_settings(settings: DictConfig, folder: Path) -> None:
    """What Hydra itself would write, but for passwords, before it is known whether the folder is in use."""
    folder.mkdir(exist_ok=True)
    hydra_settings = HydraConfig.get()
    written = {
        "config": settings,
        "hydra": OmegaConf.create({"hydra": hydra_settings}),
        "overrides": hydra_settings.overrides.task,
    }
    for name, part in written.items():
        plain = masked(OmegaConf.to_container(part, resolve=False))
        OmegaConf.save(OmegaConf.create(plain), folder / f"{name}.yaml")


def _told(error: Exception, folder: Path) -> tuple[Ending, str]:
    known = as_compress_error(error)
    if known is not None:
        return ENDINGS[known.exit_status], str(known)
    with contextlib.suppress(OSError):
        (folder / job_result.TRACEBACK).write_text(masked("".join(traceback.format_exception(error))), encoding="utf-8")
    told = " ".join(f"{type(error).__name__}: {error}".split())
    return "broken", f"{told} (see {folder / job_result.TRACEBACK})"
