"""A search's memory: an Optuna study on the disk, in which a trial is a job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.exceptions import OptunaError
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from compress.cli.sweep.job_result import JobResult, from_json
from compress.core.checks import require_choice, require_integer
from compress.core.errors import InputError

DIRECTIONS: Mapping[str, Literal["maximize", "minimize"]] = {
    # Of the task's metric, whatever it is; the second name says so.
    "accuracy_difference": "maximize",
    "metric_difference": "maximize",
    "speedup": "maximize",
    "size_bytes": "minimize",
}
IDENTITY, OUTCOME = "identity", "outcome"
# How far a trial is from what is allowed. A model that did not pass is not allowed, however little it missed.
LEAST_VIOLATION = 1e-6


@dataclass(frozen=True, kw_only=True)
class Search:
    """Settings of `hydra.sweeper`. trials: in all. at_once: chosen together. objectives: of DIRECTIONS. storage: a
    file, or a URL that Optuna knows. seed: of the choices."""

    trials: int
    at_once: int
    objectives: tuple[str, ...]
    storage: str
    seed: int

    def __post_init__(self) -> None:
        require_integer("hydra.sweeper.trials", self.trials, 1, "Use 20, for example.")
        require_integer("hydra.sweeper.at_once", self.at_once, 1, "Use 1, or as many as the launcher runs at once.")
        require_integer("hydra.sweeper.seed", self.seed, 0, "Use 0, for example.")
        for name in self.objectives:
            require_choice("hydra.sweeper.objectives", name, DIRECTIONS)
        if not self.objectives or len(set(self.objectives)) < len(self.objectives):
            raise InputError(
                f"hydra.sweeper.objectives is [{','.join(self.objectives)}]; it must name at least one of "
                f"{', '.join(DIRECTIONS)}, each once."
            )
        if not isinstance(self.storage, str) or not self.storage.strip():
            raise InputError(f"hydra.sweeper.storage is {self.storage!r}; it must be a file. Use search/study.db.")


class Study:
    """The trials of one search, found again by the same command. Raises InputError where the storage holds another."""

    def __init__(self, settings: Search, space: Mapping[str, BaseDistribution], identity: Mapping[str, Any]) -> None:
        self._settings, self._space = settings, dict(space)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        url = settings.storage if "://" in settings.storage else f"sqlite:///{settings.storage}"
        try:
            self._study = optuna.create_study(
                study_name="search",
                storage=optuna.storages.RDBStorage(url),
                directions=[DIRECTIONS[name] for name in settings.objectives],
                load_if_exists=True,
            )
        except (SQLAlchemyError, OptunaError, ValueError, RuntimeError) as error:
            told = str(error).strip().splitlines()[0]
            raise InputError(
                f"hydra.sweeper.storage is {settings.storage}, which cannot be used ({told}). Name another file."
            ) from error
        described = {
            **identity,
            "objectives": list(settings.objectives),
            "space": {name: distribution_to_json(found) for name, found in space.items()},
        }
        self._require_same(described)
        # A resumed search must not draw the numbers of its beginning again.
        seed = settings.seed + len(self._study.trials)
        self._study.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=settings.at_once > 1)

    def _require_same(self, described: Mapping[str, Any]) -> None:
        known = self._study.user_attrs.get(IDENTITY)
        if known is None:
            self._study.set_user_attr(IDENTITY, dict(described))
            return
        differing = [name for name in described if described[name] != known.get(name)]
        if differing:
            name = differing[0]
            theirs, ours = _only(known.get(name), described[name]), _only(described[name], known.get(name))
            raise InputError(
                f"hydra.sweeper.storage is {self._settings.storage}, which holds another search: its {name} had "
                f"{theirs}, where this one has {ours}. Name another folder (hydra.sweep.dir=DIR), or give the same "
                "settings."
            )

    def trials(self) -> list[FrozenTrial]:
        """Every trial whose settings were chosen."""
        return [trial for trial in self._study.trials if trial.params.keys() == self._space.keys()]

    def batches(self) -> Iterator[list[Trial]]:
        """What is to run next, numbered in sequence: first what an earlier command left unfinished, then new trials."""
        left = [trial for trial in self.trials() if trial.state == TrialState.RUNNING]
        for _, group in groupby(enumerate(left), key=lambda pair: pair[1].number - pair[0]):
            yield [Trial(self._study, trial._trial_id) for _, trial in group]
        while (missing := self._settings.trials - len(self.trials())) > 0:
            yield [self._study.ask(self._space) for _ in range(min(missing, self._settings.at_once))]

    def tell(self, trial: Trial, found: JobResult) -> None:
        """Record how a trial ended. One that was stopped, or whose speed a busy machine kept from being measured, is
        left to be taken up; a model that did not pass its gate is recorded with what was measured, as not allowed; what
        measured nothing has failed."""
        if found.ending in ("interrupted", "not started"):
            return
        trial.set_user_attr(OUTCOME, found.to_json())
        if found.busy and "speedup" in self._settings.objectives:
            return
        values = [_measured(found, name) for name in self._settings.objectives]
        known = [value for value in values if value is not None]
        if found.ending not in ("exported", "nothing passed") or len(known) < len(values):
            self._study.tell(trial, state=TrialState.FAIL)
            return
        passed = found.ending == "exported"
        trial.set_constraint("gate", 0.0 if passed else max(found.shortfall or 0.0, LEAST_VIOLATION))
        self._study.tell(trial, known)

    def front(self) -> list[int]:
        """The numbers of the trials that passed and that no other one beats in one objective without losing in
        another."""
        return [trial.number for trial in self._study.best_trials if all(v <= 0 for v in trial.constraints.values())]


def _measured(found: JobResult, objective: str) -> float | None:
    return found.difference if objective.endswith("_difference") else getattr(found, objective)


def _only(some: Any, others: Any) -> str:
    """What is in `some` and not in `others`, in words."""
    if isinstance(some, Mapping) and isinstance(others, Mapping):
        some, others = list(some.items()), list(others.items())
    if not isinstance(some, list):
        return str(some)
    left = [item for item in some if item not in others]
    return ", ".join(item if isinstance(item, str) else "=".join(map(str, item)) for item in left) or "nothing more"


def result_of(trial: FrozenTrial) -> JobResult:
    """How a trial ended, as it was told."""
    told = trial.user_attrs.get(OUTCOME)
    return JobResult(ending="interrupted", reason="the search was stopped") if told is None else from_json(told)
