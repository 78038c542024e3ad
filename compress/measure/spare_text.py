"""Two models judged by labelled examples and by texts without labels: what both answer, and what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compress.core.evaluation import PredictionPowered
from compress.measure.alike import features, unlike
from compress.measure.calibration import cross_fitted
from compress.measure.estimate import Estimate
from compress.measure.prediction_powered import Predictions, powered, worth

# Fewer say nothing about whether texts are like the examples.
FEWEST = 20


@dataclass(frozen=True)
class SpareRows:
    """Which of the labelled examples the texts without labels stand beside, and what belongs together.

    usable: of each labelled example, whether training, or the test split, holds neither its text nor its group: the
    texts are those of which that is true. groups: of each text, numbered as the labelled examples' groups are. lengths,
    text_lengths: of labelled examples and of texts, as the teacher reads them. unit: what lengths count.
    """

    usable: Sequence[bool]
    groups: Sequence[int]
    lengths: Sequence[int]
    text_lengths: Sequence[int]
    unit: str


@dataclass(frozen=True)
class SpareText:
    """What teacher and student answer to the labelled examples and to the texts.

    labels: of the labelled examples, numbers of classes. names: of classes. teacher, student: logits of both,
    (examples, classes). teacher_texts, student_texts: likewise of the texts.
    """

    rows: SpareRows
    labels: Sequence[int]
    names: Sequence[str]
    teacher: np.ndarray
    student: np.ndarray
    teacher_texts: np.ndarray
    student_texts: np.ndarray


def with_spare_text(
    alone: Estimate, differences: np.ndarray, groups: Sequence[int], spare: SpareText, confidence: float
) -> tuple[Estimate, PredictionPowered]:
    """The estimate that judges, and what the texts did to it. alone: what the labels alone say. differences,
    groups: of the labelled examples, (examples,) each: the student's score less the teacher's.

    The rule is the same whatever comes out: texts that are not shown to be unlike the labelled examples judge too, and
    their interval counts, be it narrower or not. Nothing of what decides on that looks at a label.
    """
    rows, usable = spare.rows, np.asarray(spare.rows.usable, dtype=bool)
    texts, labels = len(rows.groups), len(spare.labels)
    if min(int(usable.sum()), texts) < FEWEST:
        few = f"it takes {FEWEST} texts, and as many labelled examples that training has not seen"
        return alone, PredictionPowered(texts, labels, refused=f"too few to compare: {few}")
    refused = _unlike(spare, groups)
    if refused is not None:
        return alone, PredictionPowered(texts, labels, refused=refused)
    models, of_models = (spare.teacher, spare.student), (spare.teacher_texts, spare.student_texts)
    predicted, of_texts, scales = cross_fitted(models, of_models, spare.labels, groups)
    found, weight = powered(differences, groups, Predictions(predicted, usable, of_texts, rows.groups))
    return found, PredictionPowered(
        texts=texts,
        labels=labels,
        weight=weight,
        scales=(float(scales[0]), float(scales[1])),
        labels_difference=alone.difference,
        labels_interval=alone.interval(confidence),
        worth=worth(labels, alone, found, confidence),
    )


def _unlike(spare: SpareText, groups: Sequence[int]) -> str | None:
    """How the texts differ from the labelled examples that they should be like, in words; None where they are not shown
    to differ."""
    rows, usable = spare.rows, np.asarray(spare.rows.usable, dtype=bool)
    labelled = features(spare.teacher, spare.student, rows.lengths)
    texts = features(spare.teacher_texts, spare.student_texts, rows.text_lengths)
    found = unlike(
        {name: values[usable] for name, values in labelled.items()},
        texts,
        np.asarray(groups)[usable].tolist(),
        rows.groups,
    )
    if found is None:
        return None
    name, of_labelled, of_text = found
    if name == "length":
        told = f"{of_text:.1f} {rows.unit} against {of_labelled:.1f}"
    elif name == "predicted difference":
        told = f"{100 * of_text:.1f} points against {100 * of_labelled:.1f}"
    else:
        told = f"{of_text:.1%} against {of_labelled:.1%}"
    if name.startswith("share of class"):
        name = f"share of class {spare.names[int(name.rpartition(' ')[2])]}"
    return f"they are unlike the labelled examples: mean {name} {told}"
