"""What a case says of the evaluations alone."""

from __future__ import annotations

from types import SimpleNamespace

from compress.core.blame import Blame
from compress.core.evaluation import Evaluation, Latency
from compress.pipeline.blame.case import Case
from compress.tasks.metrics.accuracy import Accuracy


def evaluation(artifact: str, wrong: int, milliseconds: tuple[float, float]) -> Evaluation:
    """Of 400 examples, the first `wrong` are wrong; timed in turns with a baseline."""
    baseline, own = milliseconds
    return Evaluation(
        artifact=artifact,
        split="validation",
        metric="accuracy",
        statistics=((0.0, 1.0),) * wrong + ((1.0, 1.0),) * (400 - wrong),
        value=1 - wrong / 400,
        figures={},
        groups=tuple(range(400)),
        latency=Latency(rounds=((own,),) * 3, baseline_rounds=((baseline,),) * 3),
        size=None,
        proof=None,
        torch_ratio=3.0,
        environment={},
    )


def case(before: Evaluation, after: Evaluation, drop: float) -> Case:
    gate = SimpleNamespace(max_accuracy_drop=drop, confidence=0.95)
    recipe = SimpleNamespace(gates={"cut": gate}, task=SimpleNamespace(metric=lambda config: Accuracy()))
    # The teacher was timed against plain PyTorch, three times as slow.
    return Case(recipe, "cut", evaluation("teacher", 0, (6.0, 2.0)), before, after, None)


def test_speedups_against_the_teacher() -> None:
    first = case(evaluation("teacher", 0, (6.0, 2.0)), evaluation("small", 20, (2.0, 0.5)), 0.01)
    later = case(evaluation("half", 0, (2.0, 1.0)), evaluation("small", 20, (2.0, 0.5)), 0.01)
    assert first.speedups == (1.0, 4.0)
    assert later.speedups == (2.0, 4.0)


def test_slices_of_the_names_given_and_what_the_stage_is_not_to_blame_for() -> None:
    names = {"class": ["a"] * 100 + ["b"] * 300}
    passing, failing = evaluation("half", 0, (2.0, 1.0)), evaluation("half", 12, (2.0, 1.0))
    after = evaluation("small", 20, (2.0, 0.5))
    found = case(passing, after, 0.01).with_slices(Blame(), names)
    assert [(entry.name, entry.difference, entry.shown) for entry in found.slices] == [
        ("a", -0.2, True),
        ("b", 0.0, False),
    ]
    assert found.compared == 2
    assert found.notes == ()
    (note,) = case(failing, after, 0.01).with_slices(Blame(), names).notes
    assert note.startswith("the model before it does not pass this limit either: accuracy -0.0300 [")
    teacher = evaluation("teacher", 0, (6.0, 2.0))
    (note,) = case(teacher, after, 0.001).with_slices(Blame(), names).notes
    assert note.startswith("so few examples cannot prove this limit even for the teacher against itself: accuracy +0.0")
