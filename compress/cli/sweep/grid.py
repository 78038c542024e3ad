"""Every combination of the values on the command line."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override

from compress.cli.sweep import record
from compress.cli.sweep.job_result import JobResult
from compress.cli.sweep.launch import Command, InterruptedSweep, Overrides, values_of
from compress.cli.sweep.record import Job
from compress.core.errors import InputError


def sweep(command: Command, arguments: Sequence[str]) -> None:
    """Check all combinations, run all, record and print all.

    Raises InputError before the first where one cannot be used, JobsFailedError at the end where one exported nothing,
    KeyboardInterrupt where the user stopped it, with what had ended recorded.
    """
    began = time.monotonic()
    # Of a setting that is given twice the last counts.
    overrides = {override.get_key_element(): override for override in command.parse(arguments)}
    _require_values(overrides.values())
    combinations = BasicSweeper.split_arguments(list(overrides.values()), None)[0]
    varied = [override.is_sweep_override() for override in overrides.values()]
    differing = [[part for part, varies in zip(job, varied, strict=True) if varies] for job in combinations]
    shown = [" ".join(job) for job in differing]
    command.check(combinations, shown)

    def finish(results: Sequence[JobResult]) -> list[Job]:
        jobs = [_job(command, number, combinations[number], differing[number], results[number]) for number in indices]
        record.conclude(
            command.folder, recipe=command.recipe, command=command.whole, jobs=jobs, seconds=time.monotonic() - began
        )
        return jobs

    indices = range(len(combinations))
    with command.held():
        try:
            jobs = finish(command.launch(combinations, shown, 0))
        except InterruptedSweep as stopped:
            finish(stopped.results)
            raise
    error = record.failed(jobs, command.folder)
    if error is not None:
        raise error


def _job(command: Command, number: int, overrides: Overrides, differing: Overrides, found: JobResult) -> Job:
    return Job(
        number=number,
        folder=command.folder_of(overrides, number),
        settings=values_of(command.parse(differing)),
        command=command.typed(overrides),
        result=found,
    )


def _require_values(overrides: Iterable[Override]) -> None:
    for override in overrides:
        if override.is_interval_sweep():
            raise InputError(
                f"{override.input_line} is an interval, which has no list of values. Add hydra/sweeper=optuna to "
                f"search in it, or give values: {override.get_key_element()}=A,B."
            )
