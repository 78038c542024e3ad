"""A search for the best values within intervals and choices, by Optuna, as jobs of Hydra's launcher."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import Override

from compress.cli.sweep import record
from compress.cli.sweep.launch import Command, InterruptedSweep, Overrides, values_of
from compress.cli.sweep.record import Job
from compress.core.errors import InputError
from compress.core.recipe import PATIENCE

if TYPE_CHECKING:
    from compress.cli.sweep.study import Study

# Overrides that are no part of what is searched for.
WAITING = tuple(f"measurement.{name}=" for name in PATIENCE)


def search(command: Command, arguments: Sequence[str], settings: Mapping[str, Any]) -> None:
    """Check what can be known before, run trials until there are as many as asked for, record and print all.

    The same command goes on with the study of an earlier one. Raises InputError before any work, JobsFailedError at
    the end where no trial passed, KeyboardInterrupt where the user stopped it, with what had ended recorded.
    """
    if find_spec("optuna") is None:
        raise InputError("hydra/sweeper is 'optuna', which is not installed. Run: pip install 'compress[optuna]'")
    from compress.cli.sweep.space import distribution_of, extremes
    from compress.cli.sweep.study import Search, Study

    began = time.monotonic()
    chosen = Search(
        **{name: settings[name] for name in ("trials", "at_once", "storage", "seed")},
        objectives=tuple(settings["objectives"]),
    )
    overrides = {override.get_key_element(): override for override in command.parse(arguments)}
    fixed = [_as_given(override) for override in overrides.values() if not override.is_sweep_override()]
    varied = {name: override for name, override in overrides.items() if override.is_sweep_override()}
    if not varied:
        raise InputError(
            "hydra/sweeper is 'optuna', and no setting has values to choose from. Give an interval or choices, such as "
            "'objective.speedup=interval(4.0,16.0)' stages.quantize.scheme=dynamic,static."
        )
    space = {name: distribution_of(override) for name, override in varied.items()}
    _check(command, fixed, {name: extremes(found) for name, found in space.items()})
    with command.held():
        # The same search, whoever waits how long for a quiet machine: what was disturbed is measured again in it.
        same = sorted(one for one in fixed if not one.startswith(WAITING))
        study = Study(chosen, space, {"recipe": command.recipe, "settings": same})
        try:
            _run(command, study, fixed)
        finally:
            jobs = [_job(command, trial, fixed) for trial in study.trials()]
            front = study.front()
            found = {"objectives": chosen.objectives, "storage": chosen.storage, "front": front}
            record.conclude(
                command.folder,
                recipe=command.recipe,
                command=command.whole,
                jobs=jobs,
                seconds=time.monotonic() - began,
                search=found,
            )
    if not front:
        error = record.failed(jobs, command.folder)
        assert error is not None
        raise error
    print(f"\n* the front: no trial that passed is better in one of {', '.join(chosen.objectives)} and worse in none")


def _run(command: Command, study: Study, fixed: Overrides) -> None:
    for trials in study.batches():
        jobs = [[*fixed, *_chosen(trial.params)] for trial in trials]
        shown = [" ".join(_chosen(trial.params)) for trial in trials]
        try:
            found = command.launch(jobs, shown, trials[0].number)
        except InterruptedSweep as stopped:
            for trial, result in zip(trials, stopped.results, strict=True):
                study.tell(trial, result)
            raise
        for trial, result in zip(trials, found, strict=True):
            study.tell(trial, result)


def _check(command: Command, fixed: Overrides, values: Mapping[str, Sequence[Any]]) -> None:
    """Each value once, beside the first of every other setting: that finds names that do not exist and limits."""
    first = {name: choices[0] for name, choices in values.items()}
    combinations = [first]
    combinations += [{**first, name: value} for name, choices in values.items() for value in choices[1:]]
    command.check([[*fixed, *_chosen(one)] for one in combinations], [" ".join(_chosen(one)) for one in combinations])


def _chosen(values: Mapping[str, Any]) -> list[str]:
    # Six digits are as many as a person will type again.
    return [f"{name}={format(value, '.6g') if isinstance(value, float) else value}" for name, value in values.items()]


def _as_given(override: Override) -> str:
    if override.is_delete() and override.value() is None:
        return override.get_key_element()
    return f"{override.get_key_element()}={override.get_value_element_as_str()}"


def _job(command: Command, trial: Any, fixed: Overrides) -> Job:
    from compress.cli.sweep.study import result_of

    overrides = [*fixed, *_chosen(trial.params)]
    return Job(
        number=trial.number,
        folder=command.folder_of(overrides, trial.number),
        settings=values_of(command.parse(_chosen(trial.params))),
        command=command.typed(overrides),
        result=result_of(trial),
    )
