"""A sweep's command as Hydra gives it: its jobs are checked before the first starts, then a launcher runs them."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from compress.cli.config import build
from compress.cli.hydra_errors import explain, in_quotes
from compress.cli.sweep import job_result
from compress.cli.sweep.composed import Composed
from compress.cli.sweep.job_result import JobResult
from compress.cli.sweep.own import HYDRAS, command_of, own_folders
from compress.cli.sweep.threads import training_threads
from compress.core.errors import InputError
from compress.core.secrets import masked
from compress.methods.training.processes import count
from compress.pipeline.preflight import check_files, check_order

Overrides = Sequence[str]
SHOWN_COMBINATIONS = 3


class Command:
    """What the user typed, with what Hydra made of it. folder: of the sweep, absolute. recipe: its name."""

    def __init__(self, context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self._context, self._task_function, self._config = context, task_function, config
        self.recipe = str(config.hydra.job.config_name)
        self.folder = Path(config.hydra.sweep.dir).resolve()
        # A job's process may have another working directory.
        self._place = in_quotes("hydra.sweep.dir", str(self.folder))
        self._composed = Composed(context.config_loader, config)

    @property
    def whole(self) -> str:
        """The shell command that the user typed."""
        return shlex.join(["compress", *sys.argv[1:]])

    def parse(self, arguments: Sequence[str]) -> list[Override]:
        """Hydra's overrides."""
        return self._composed.parse(arguments)

    def typed(self, overrides: Overrides) -> str:
        """The shell command that makes one job's run again, without the sweep."""
        return command_of(self._config.hydra, overrides)

    def check(self, jobs: Sequence[Overrides], shown: Sequence[str]) -> None:
        """Raise InputError where a job's settings cannot be used, for all of them together. shown: what tells each job
        from the others, in words. Looks at settings: composed, of the right kinds, in an order that works; and whether
        the files that they name are there."""
        if count() > 1:
            raise InputError(
                f"this is one of {count()} processes, which train one run together; the jobs of a sweep are placed by "
                "hydra/launcher. Leave out accelerate launch, or -m."
            )
        training_threads(OmegaConf.to_container(self._config.hydra.launcher, resolve=True))  # type: ignore[arg-type]
        wrong: dict[str, list[str]] = {}
        for job, words in zip(jobs, shown, strict=True):
            problem = self._problem(job)
            if problem is not None:
                wrong.setdefault(problem, []).append(words)
        if wrong:
            raise InputError(_told(wrong, len(jobs)))

    def _problem(self, overrides: Overrides) -> str | None:
        try:
            settings = self._composed.of((*overrides, self._place), 0)
            with read_write(settings), open_dict(settings):
                del settings["hydra"]
            recipe = build(settings, self.recipe)
            check_order(recipe)
            check_files(recipe)
        except InputError as error:
            return str(error)
        except (HydraException, OmegaConfBaseException) as error:
            return explain(error, [*own_folders(self._config.hydra), "-cn", self.recipe, *overrides])
        return None

    def folder_of(self, overrides: Overrides, number: int) -> Path:
        """Where Hydra puts a job's run."""
        settings = self._composed.of((*overrides, self._place), number)
        before = HydraConfig.instance().cfg
        try:
            HydraConfig.instance().set_config(settings)
            return self.folder / str(OmegaConf.select(settings, "hydra.sweep.subdir"))
        finally:
            HydraConfig.instance().cfg = before

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """The sweep's folder, made, and this command's alone."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / ".lock")
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"hydra.sweep.dir is {self.folder}, in use by a sweep that is still alive. Wait for it, or name "
                "another folder."
            ) from None
        except OSError as error:
            raise InputError(
                f"hydra.sweep.dir is {self.folder}, which cannot be written ({error.strerror}). Name another folder."
            ) from error
        try:
            yield
        finally:
            lock.release()
            self._leave_nothing_empty()

    def _leave_nothing_empty(self) -> None:
        """What was refused after all leaves no folder that holds nothing but its lock."""
        if [path.name for path in self.folder.iterdir()] == [".lock"]:
            (self.folder / ".lock").unlink()
            self.folder.rmdir()

    def launch(self, jobs: Sequence[Overrides], shown: Sequence[str], first: int) -> list[JobResult]:
        """Run jobs, numbered from `first`, and return how each ended. One that fails stops no other. shown: as in
        `check`.

        Raises InterruptedSweep with what is known where the user stops it.
        """
        folders = [self.folder_of(job, first + number) for number, job in enumerate(jobs)]
        for folder in folders:
            job_result.forget(folder)
        batches = [[number] for number in range(len(jobs))] if self._one_by_one else [list(range(len(jobs)))]
        found: list[JobResult] = []
        try:
            for batch in batches:
                if self._one_by_one:
                    print(f"\njob {first + batch[0]}: {masked(shown[batch[0]])}", flush=True)
                found += self._launch([jobs[number] for number in batch], first + batch[0], folders[batch[0] :])
        except KeyboardInterrupt:
            raise InterruptedSweep([job_result.read(folder) or _unfinished(folder) for folder in folders]) from None
        return found

    @property
    def _launcher(self) -> str:
        return str(self._config.hydra.launcher._target_)

    @property
    def _one_by_one(self) -> bool:
        """Whether jobs run one after another in this process."""
        return self._launcher.endswith(".BasicLauncher")

    def _launch(self, jobs: Sequence[Overrides], first: int, folders: Sequence[Path]) -> list[JobResult]:
        context = self._context
        if self._one_by_one:
            # It runs here, and would compose anew. Others take the loader along to processes of their own.
            loader: Any = _Remembered(context.config_loader, self._composed)
            context = HydraContext(config_loader=loader, callbacks=context.callbacks)
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=context, task_function=self._task_function, config=self._config
        )
        try:
            returned = launcher.launch([[*job, self._place] for job in jobs], initial_job_idx=first)
        except Exception as error:  # noqa: BLE001 - each launcher has types of its own.
            # A job returns whatever happens: what comes here is a process that died, or the launcher's own failure.
            return self._after_a_death(jobs, first, folders, error)
        return [job_result.read(folder) or _returned(value) for folder, value in zip(folders, returned, strict=False)]

    def _after_a_death(
        self, jobs: Sequence[Overrides], first: int, folders: Sequence[Path], error: Exception
    ) -> list[JobResult]:
        told = shorten(f"{type(error).__name__}: {error}", 200)
        found = [job_result.read(folder) for folder in folders[: len(jobs)]]
        # When one of joblib's processes dies it ends them all: what was not finished runs again, one at a time.
        if len(jobs) > 1 and self._launcher.endswith(".JoblibLauncher"):
            return [known or self._launch([jobs[i]], first + i, folders[i:])[0] for i, known in enumerate(found)]
        return [known or JobResult(ending="lost", reason=f"its process left no result ({told})") for known in found]


class _Remembered:
    """Hydra's loader, but for the settings of jobs, which are composed already."""

    def __init__(self, loader: Any, composed: Composed) -> None:
        self._loader, self._composed = loader, composed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """A job's settings, its number still to be written in."""
        return self._composed.of(sweep_overrides)


class InterruptedSweep(KeyboardInterrupt):
    """The user stopped a sweep. results: of every job that was to run."""

    def __init__(self, results: list[JobResult]) -> None:
        super().__init__()
        self.results = results


def _returned(job: JobReturn) -> JobResult:
    """What came back from a job that could not write its result."""
    if job.status == JobStatus.COMPLETED and isinstance(job.return_value, JobResult):
        return job.return_value
    return JobResult(ending="lost", reason="its process left no result")


def _unfinished(folder: Path) -> JobResult:
    if folder.exists():
        return JobResult(ending="interrupted", reason="the sweep was stopped")
    return JobResult(ending="not started", reason="the sweep was stopped before")


def _told(wrong: dict[str, list[str]], jobs: int) -> str:
    bad = sum(len(combinations) for combinations in wrong.values())
    if jobs == 1 or (len(wrong) == 1 and bad == jobs):
        return next(iter(wrong))
    lines = [f"{bad} of {jobs} combinations cannot be used, so none was started."]
    for problem, combinations in wrong.items():
        more = len(combinations) - SHOWN_COMBINATIONS
        named = "; ".join(combinations[:SHOWN_COMBINATIONS]) + (f"; and {more} more" if more > 0 else "")
        lines.append(f"  {named}: {problem}")
    return "\n".join(lines)


def values_of(overrides: Sequence[Override]) -> dict[str, Any]:
    """Settings by name, as plain values, without Hydra's own."""
    named = {override.get_key_element().lstrip("+~"): override.value() for override in overrides}
    return {name: value for name, value in named.items() if not name.startswith(HYDRAS)}
