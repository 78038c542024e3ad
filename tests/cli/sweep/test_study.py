"""A search's memory: what was finished is not repeated, what was killed is taken up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna", reason="Optuna's extra is not installed")

from optuna.distributions import FloatDistribution

from compress.cli.sweep.job_result import JobResult
from compress.cli.sweep.study import Search, Study, result_of
from compress.core.errors import InputError

SPACE = {"heads": FloatDistribution(0.0, 1.0)}
IDENTITY = {"recipe": "mine", "settings": ["seed=0"]}


def settings(tmp_path: Path, **changes: Any) -> Search:
    given = {"trials": 4, "at_once": 1, "objectives": ("accuracy_difference", "speedup", "size_bytes"), "seed": 0}
    return Search(**{**given, "storage": str(tmp_path / "study.db"), **changes})


def exported(accuracy: float, speedup: float, size: int) -> JobResult:
    return JobResult(ending="exported", difference=accuracy, speedup=speedup, size_bytes=size, shortfall=0.0)


def test_the_front_is_what_passed_and_nothing_beats(tmp_path: Path) -> None:
    study = Study(settings(tmp_path), SPACE, IDENTITY)
    found = [
        exported(-0.01, 8.0, 100),
        exported(-0.02, 7.0, 120),  # Worse than the first in everything.
        exported(0.0, 2.0, 400),
        # Better than all, and did not pass its gate.
        JobResult(ending="nothing passed", difference=0.1, speedup=99.0, size_bytes=1, shortfall=0.0, reason="x"),
    ]
    for batch, result in zip(study.batches(), found, strict=True):
        study.tell(batch[0], result)
    assert study.front() == [0, 2]
    again = Study(settings(tmp_path), SPACE, IDENTITY)
    assert again.front() == [0, 2] and list(again.batches()) == []
    assert [result_of(trial) for trial in again.trials()] == found


def test_more_trials_go_on_and_draw_nothing_again(tmp_path: Path) -> None:
    first = Study(settings(tmp_path, trials=2), SPACE, IDENTITY)
    for batch in first.batches():
        first.tell(batch[0], exported(0.0, 2.0, 10))
    second = Study(settings(tmp_path, trials=4), SPACE, IDENTITY)
    for batch in second.batches():
        second.tell(batch[0], exported(0.0, 2.0, 10))
    values = [trial.params["heads"] for trial in second.trials()]
    assert len(values) == len(set(values)) == 4


def test_what_was_killed_is_taken_up_first_with_its_number_and_settings(tmp_path: Path) -> None:
    killed = Study(settings(tmp_path, at_once=3), SPACE, IDENTITY)
    batch = next(killed.batches())
    killed.tell(batch[1], JobResult(ending="broken", reason="the stage broke"))
    killed.tell(batch[2], JobResult(ending="interrupted"))
    again = Study(settings(tmp_path, at_once=3), SPACE, IDENTITY)
    batches = [[(trial.number, trial.params) for trial in taken] for taken in _told(again)]
    # 0 and 2 do not follow each other, and a launcher numbers its jobs in sequence.
    assert batches[:2] == [[(0, batch[0].params)], [(2, batch[2].params)]]
    assert [number for taken in batches[2:] for number, _ in taken] == [3]


def test_a_trial_on_a_busy_machine_is_neither_lost_nor_failed(tmp_path: Path) -> None:
    busy = JobResult(ending="exported", difference=0.0, size_bytes=10, shortfall=0.0, busy=True)
    study = Study(settings(tmp_path, trials=2), SPACE, IDENTITY)
    for batch, found in zip(study.batches(), (busy, exported(0.0, 2.0, 10)), strict=True):
        study.tell(batch[0], found)
    assert study.front() == [1] and result_of(study.trials()[0]) == busy
    again = Study(settings(tmp_path, trials=2), SPACE, IDENTITY)
    taken = [[trial.number for trial in batch] for batch in again.batches()]
    assert taken == [[0]]
    # Nobody asked for speed: then nothing is open.
    other = Study(settings(tmp_path, trials=1, objectives=("size_bytes",), storage=str(tmp_path / "o.db")), SPACE, {})
    for batch in other.batches():
        other.tell(batch[0], busy)
    assert other.front() == [0]


def test_trials_chosen_together_are_different(tmp_path: Path) -> None:
    study = Study(settings(tmp_path, at_once=3), SPACE, IDENTITY)
    sizes = [(len(batch), len({trial.params["heads"] for trial in batch})) for batch in _told(study)]
    assert sizes == [(3, 3), (1, 1)]


def test_the_storage_of_another_search_is_refused(tmp_path: Path) -> None:
    Study(settings(tmp_path), SPACE, IDENTITY)
    with pytest.raises(InputError, match=r"its settings had seed=0, where this one has seed=1\. Name another folder"):
        Study(settings(tmp_path), SPACE, {**IDENTITY, "settings": ["seed=1"]})
    with pytest.raises(InputError, match="its space had heads="):
        Study(settings(tmp_path), {"heads": FloatDistribution(0.5, 1.0)}, IDENTITY)
    with pytest.raises(InputError, match=r"its objectives had accuracy_difference, size_bytes"):
        Study(settings(tmp_path, objectives=("speedup",)), SPACE, IDENTITY)


def test_a_file_that_is_no_study_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("not a database, but long enough to be read as one\n" * 20, encoding="utf-8")
    with pytest.raises(InputError, match=r"study\.db, which cannot be used .*file is not a database.*Name another"):
        Study(settings(tmp_path), SPACE, IDENTITY)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"trials": 0}, "hydra.sweeper.trials is 0"),
        ({"at_once": 1.5}, "hydra.sweeper.at_once is 1.5"),
        ({"objectives": ()}, "must name at least one of accuracy_difference, metric_difference, speedup, size_bytes"),
        ({"objectives": ("speedup", "speedup")}, "each once"),
        ({"objectives": ("speed",)}, "Did you mean 'speedup'"),
        ({"storage": ""}, "hydra.sweeper.storage is ''"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        settings(tmp_path, **wrong)


def _told(study: Study) -> Any:
    for batch in study.batches():
        yield batch
        for trial in batch:
            study.tell(trial, exported(0.0, 2.0, 10))
