"""What texts without labels are worth on real text, where all labels are known and few of them are shown.

python -m benchmarks.prediction_powered_real RUN FILE --data "movie reviews" [--labels 500] [--draws 500]

RUN: the folder of a finished text-classification run. FILE: labelled texts that it has not learned from, .jsonl. The
run's teacher and student answer all of them once. Then, many times, some keep their labels, the rest are texts without,
and the interval of the difference is looked at: whether it holds the difference over all of FILE, and how wide it is.
Adds a row to benchmarks/results/prediction_powered.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.prediction_powered import CONFIDENCE, RESULTS
from compress.measure.spare_text import SpareRows, SpareText, with_spare_text
from compress.measure.statistics import estimate
from compress.tasks.metrics.accuracy import Accuracy

SEED = 29
BATCH = 32


def main() -> int:
    """Write a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--data", required=True, help="what the texts are, for the table")
    parser.add_argument("--labels", type=int, default=500)
    parser.add_argument("--draws", type=int, default=500)
    arguments = parser.parse_args()
    answers = answered(arguments.run, arguments.file)
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


def answered(run: Path, file: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Labels (rows,), logits of teacher and student (rows, classes), and lengths in tokens (rows,)."""
    import torch

    from compress.nn.checkpoint import load_model
    from compress.tasks.text import load_tokenizer

    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    store = Path(summary["settings"]["store"]) / "artifacts"
    folders = [store / summary[name]["artifact"] for name in ("teacher", "student")]
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    data, found = summary["settings"]["data"], []
    for folder in folders:
        model, tokenizer = load_model(folder), load_tokenizer(folder)
        texts = [row[data["text"]] for row in rows]
        ids = tokenizer(texts, truncation=True, max_length=data["max_length"])["input_ids"]
        lengths = np.array([len(one) for one in ids])
        logits = np.zeros((len(rows), len(model.config.id2label)), dtype=np.float32)
        order = np.argsort(lengths, kind="stable")
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            batch = tokenizer.pad({"input_ids": [ids[row] for row in chosen]}, return_tensors="pt")
            with torch.inference_mode():
                logits[chosen] = model(**batch).logits.numpy()
        found.append(logits)
        labels = np.array([model.config.label2id[str(row[data["label"]])] for row in rows])
    return labels, found[0], found[1], lengths


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
            unit="tokens",
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
