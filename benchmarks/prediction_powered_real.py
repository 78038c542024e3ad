"""What examples without labels are worth on real data, where all labels are known and few of them are shown.

python -m benchmarks.prediction_powered_real TEACHER EXPORT FILE [FILE ...] --data clothes [--labels 500] [--draws 300]

TEACHER: a run's teacher, a folder. EXPORT: what the run exported. FILE: labelled examples that neither has learned
from. Both models answer all of them once. Then, many times, some keep their labels, the rest have none, and the
interval of the difference is looked at: whether it holds the difference over all, and how wide it is. Its two ends are
one-sided bounds at 95%, so at least 90% of intervals should hold it. Adds a row to
benchmarks/results/prediction_powered.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.prediction_powered import CONFIDENCE, RESULTS
from compress.measure.spare_text import SpareRows, SpareText, with_spare_text
from compress.measure.statistics import estimate
from compress.tasks.metrics.accuracy import Accuracy

SEED = 29
BATCH = 64


def main() -> int:
    """Write a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teacher", type=Path)
    parser.add_argument("export", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--data", required=True, help="what the texts are, for the table")
    parser.add_argument("--labels", type=int, default=500)
    parser.add_argument("--draws", type=int, default=300)
    arguments = parser.parse_args()
    answers = answered(arguments.teacher, arguments.export, arguments.files)
    row = resampled(*answers, labels_shown=arguments.labels, draws=arguments.draws)
    facts = json.loads(RESULTS.read_text(encoding="utf-8"))
    kept = [
        other
        for other in facts.get("real") or ()
        if other["data"] != arguments.data or other["labels"] != row["labels"]
    ]
    facts["real"] = [*kept, {"data": arguments.data, **row}]
    RESULTS.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(facts["real"][-1], indent=1))
    return 0


def answered(
    teacher: Path, export: Path, files: Sequence[Path]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Labels (rows,), logits of teacher and student (rows, classes), and lengths (rows,)."""
    import torch
    from datasets import concatenate_datasets

    from compress.core.json_file import read_json
    from compress.core.manifest import MANIFEST
    from compress.data.assemble import with_class_names
    from compress.data.formats import read_file
    from compress.data.image_bytes import with_image_bytes
    from compress.nn.checkpoint import load_model
    from compress.nn.forward import forward
    from compress.pipeline.described import task_of

    task = task_of(export, read_json(export / MANIFEST)["facts"], {})
    models = task.load_model(teacher), load_model(export)
    config, processor = models[0].config, task.load_processor(export)
    raw = concatenate_datasets([with_image_bytes(with_class_names(read_file("data", str(file)))) for file in files])
    rows = task.encode(raw, processor, config, "data")
    labels, lengths = task.classes(rows), np.array(rows["length"][:])
    assert labels is not None
    found = [np.zeros((len(rows), len(config.id2label)), dtype=np.float32) for _ in models]
    order = np.argsort(lengths, kind="stable")
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        batch = task.collate([rows[int(row)] for row in chosen], processor)
        for model, logits in zip(models, found, strict=True):
            with torch.inference_mode():
                logits[chosen] = forward(model.eval(), task.signature(config), batch).output.numpy()
    return np.array(labels), found[0], found[1], lengths


def resampled(
    labels: np.ndarray,
    teacher: np.ndarray,
    student: np.ndarray,
    lengths: np.ndarray,
    *,
    labels_shown: int,
    draws: int,
) -> dict[str, Any]:
    """How often the intervals hold the difference over all rows, at each end, and how wide they are."""
    generator = np.random.default_rng(SEED)
    before, after = (
        np.stack([logits.argmax(axis=1) == labels, np.ones(len(labels))], axis=1).astype(float)
        for logits in (teacher, student)
    )
    differences = after[:, 0] - before[:, 0]
    truth, seen = float(differences.mean()), []
    for _ in range(draws):
        order = generator.permutation(len(labels))
        shown, others = order[:labels_shown], order[labels_shown:]
        rows = SpareRows(
            usable=[True] * labels_shown,
            groups=range(labels_shown, len(labels)),
            lengths=lengths[shown].tolist(),
            text_lengths=lengths[others].tolist(),
            unit="in length",
        )
        spare = SpareText(
            rows=rows,
            labels=labels[shown].tolist(),
            names=[str(number) for number in range(teacher.shape[1])],
            teacher=teacher[shown],
            student=student[shown],
            teacher_texts=teacher[others],
            student_texts=student[others],
        )
        alone = estimate(before[shown], after[shown], range(labels_shown), Accuracy())
        found, told = with_spare_text(alone, differences[shown], range(labels_shown), spare, CONFIDENCE)
        ends = [one.interval(CONFIDENCE) for one in (alone, found)]
        covered = [low <= truth <= high for low, high in ends]
        widths = [high - low for low, high in ends]
        seen.append((*covered, told.refused is not None, widths[1] / widths[0], told.weight or 0.0))
    table = np.array(seen, dtype=float)
    judged = table[table[:, 2] == 0]
    return {
        "labels": labels_shown,
        "texts": len(labels) - labels_shown,
        "draws": draws,
        "teacher": float(before[:, 0].mean()),
        "student": float(after[:, 0].mean()),
        "answered_otherwise": float((teacher.argmax(axis=1) != student.argmax(axis=1)).mean()),
        "covered_alone": float(table[:, 0].mean()),
        "covered": float(table[:, 1].mean()),
        "refused": float(table[:, 2].mean()),
        "width": float(np.median(judged[:, 3])),
        "worth": float(np.median(judged[:, 3]) ** -2),
        "weight": float(np.median(judged[:, 4])),
    }


if __name__ == "__main__":
    sys.exit(main())
