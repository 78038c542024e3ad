"""What judges beside labels, and what is refused."""

import dataclasses
import re

import numpy as np
import pytest

from compress.core.evaluation import Evaluation
from compress.measure.spare_text import SpareRows, SpareText, with_spare_text
from compress.measure.statistics import compare, estimate, examples_to_decide
from compress.tasks.metrics.accuracy import Accuracy


def drawn(count: int, draw: np.random.Generator, *, ease: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, and the logits of two models that see what speaks for each of two classes: the second with much larger
    errors, so that the first is often sure where the second is wrong."""
    speaks = ease * draw.normal(0, 2, (count, 2))
    labels = (draw.random(count) < 1 / (1 + np.exp(speaks[:, 0] - speaks[:, 1]))).astype(int)
    return labels, speaks + draw.normal(0, 0.3, (count, 2)), speaks + draw.normal(0, 2.0, (count, 2))


def spare_text(seed: int = 0, count: int = 400, texts: int = 3000, *, ease: float = 1.0) -> SpareText:
    draw = np.random.default_rng(seed)
    labels, teacher, student = drawn(count, draw)
    _, teacher_texts, student_texts = drawn(texts, draw, ease=ease)
    rows = SpareRows(
        usable=[True] * count,
        groups=range(count, count + texts),
        lengths=draw.integers(5, 20, count).tolist(),
        text_lengths=draw.integers(5, 20, texts).tolist(),
        unit="tokens",
    )
    return SpareText(rows, labels.tolist(), ["cold", "warm"], teacher, student, teacher_texts, student_texts)


def evaluations(spare: SpareText) -> tuple[Evaluation, Evaluation]:
    found = []
    for name, logits in (("teacher", spare.teacher), ("student", spare.student)):
        right = (logits.argmax(axis=1) == np.array(spare.labels)).astype(float)
        found.append(
            Evaluation(
                artifact=name,
                split="validation",
                metric="accuracy",
                statistics=tuple((score, 1.0) for score in right.tolist()),
                value=float(right.mean()),
                figures={},
                groups=tuple(range(len(right))),
                latency=None,
                size=None,
                proof=None,
                torch_ratio=None,
                environment={},
            )
        )
    return found[0], found[1]


def test_texts_judge_and_both_intervals_are_told() -> None:
    spare = spare_text()
    teacher, student = evaluations(spare)
    alone = compare(teacher, student, Accuracy(), confidence=0.95, margin=0.01)
    found = compare(teacher, student, Accuracy(), confidence=0.95, margin=0.01, spare=spare)
    told = found.prediction_powered
    assert alone.prediction_powered is None and told is not None and told.refused is None
    assert (told.texts, told.labels) == (3000, 400)
    assert (told.labels_difference, told.labels_interval) == (alone.score_difference, alone.score_interval)
    assert told.weight is not None and 0 < told.weight <= 1
    halves = [(high - low) / 2 for low, high in (alone.score_interval, found.score_interval)]
    assert halves[1] < halves[0]
    assert told.worth == round(400 * (halves[0] / halves[1]) ** 2) > 400
    # The student is worse by the labels, and the texts do not turn that around.
    assert alone.score_difference < -0.05 and abs(found.score_difference - alone.score_difference) < halves[0]
    # More labels are what a user would add: how many decide is said of the interval that labels alone give.
    assert found.examples == 400
    assert found.examples_to_decide == examples_to_decide(found.score_difference, alone.score_interval, 0.01, 400, 0.95)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"text_lengths": [30] * 3000}, r"mean length 30\.0 tokens against 1\d\.\d"),
        ({"text_lengths": range(3000)}, r"mean length 1499\.5 tokens against"),
    ],
)
def test_texts_of_another_length_are_refused(change: dict, sentence: str) -> None:
    spare = spare_text()
    spare = dataclasses.replace(spare, rows=dataclasses.replace(spare.rows, **change))
    teacher, student = evaluations(spare)
    found = compare(teacher, student, Accuracy(), confidence=0.95, margin=0.01, spare=spare)
    alone = compare(teacher, student, Accuracy(), confidence=0.95, margin=0.01)
    assert found.score_interval == alone.score_interval
    told = found.prediction_powered
    assert told is not None and told.refused is not None and told.worth is None
    assert told.refused.startswith("they are unlike the labelled examples: ")
    assert re.search(sentence, told.refused)


def test_harder_texts_are_refused_by_what_the_models_make_of_them() -> None:
    spare = spare_text(ease=0.5)
    differences = np.zeros(400)
    alone = estimate(*(np.ones((400, 2)) for _ in range(2)), range(400), Accuracy())
    found, told = with_spare_text(alone, differences, range(400), spare, 0.95)
    assert found is alone
    assert told.refused is not None and "unlike" in told.refused and "%" in told.refused


def test_no_label_decides_on_whether_texts_judge() -> None:
    spare = spare_text()
    other = dataclasses.replace(spare, labels=[1 - label for label in spare.labels])
    alone = estimate(*(np.ones((400, 2)) for _ in range(2)), range(400), Accuracy())
    for given in (spare, other):
        assert with_spare_text(alone, np.zeros(400), range(400), given, 0.95)[1].refused is None


def test_a_handful_of_texts_is_refused() -> None:
    spare = spare_text(texts=19)
    alone = estimate(*(np.ones((400, 2)) for _ in range(2)), range(400), Accuracy())
    found, told = with_spare_text(alone, np.zeros(400), range(400), spare, 0.95)
    assert found is alone and told.refused is not None and told.refused.startswith("too few to compare")
