"""What labels are worth where only texts that two models answer differently get them, and that nothing false is proven.

python -m benchmarks.drawn_labels [--trials 1000]

Simulated: texts of which a share is answered differently, in groups or alone; of these so many are drawn at random and
labelled, as `compress-label` has it. How often a student that is exactly at the margin passes, which should be at most
5% at confidence 0.95; how often an equal one passes; how wide the interval is; and how many labels of texts drawn from
all would give one as narrow. Writes benchmarks/results/drawn_labels.json, and keeps what `--real` has found there.

python -m benchmarks.drawn_labels --real FOLDER --truth FILE --data NAME

FOLDER: one that `compress-label` wrote, of texts whose labels are all known: FILE, in the columns `text` and `label`.
Draws again and again as many of them as FOLDER has, and counts how often the interval holds the difference over all.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import RESULTS, keep, simulated_facts
from compress.data.formats import read_file
from compress.deploy.labelling.judge import sums_of
from compress.deploy.labelling.sheet import TABLE, read_drawn
from compress.measure.drawn_labels import estimate_drawn, labels_alone, labels_for, pool_of

CONFIDENCE, MARGIN, SEED = 0.95, 0.01, 23


@dataclass(frozen=True)
class Case:
    """texts, in groups of `together`. share: of them that are answered differently. labels: how many groups are drawn;
    None: as many as `compress-label` asks for. lumped: texts of one group are won or lost together."""

    texts: int
    share: float
    labels: int | None = None
    together: int = 1
    lumped: bool = False


CASES = (
    Case(20_000, 0.04),
    Case(20_000, 0.04, 60),
    Case(20_000, 0.012, 30),
    Case(5_000, 0.02),
    Case(5_000, 0.1),
    Case(50_000, 0.07),
    Case(5_000, 0.05, 60, together=5, lumped=True),
    Case(5_000, 0.05, 40, together=50),
)


def outcomes(
    case: Case, loss: float, trials: int, generator: np.random.Generator
) -> Iterator[tuple[float, float, int]]:
    """Of each drawing the interval's two ends and how many labels there were. loss: the student's, on all texts."""
    less = loss / case.share
    # Where neither is right: in a tenth of them, or as many as are left.
    lost = (max(less, 0.9) + less) / 2
    groups = np.arange(case.texts) // case.together
    for _ in range(trials):
        differ = generator.random(case.texts) < case.share
        chance = generator.random(int(groups.max()) + 1)[groups] if case.lumped else generator.random(case.texts)
        values = np.where(chance < lost, -1.0, np.where(chance < 2 * lost - less, 1.0, 0.0)) * differ
        pool = pool_of(differ, groups.tolist())
        sums, sizes = np.bincount(groups, weights=values), np.bincount(groups)
        among = np.flatnonzero(np.bincount(groups, weights=differ) > 0)
        wanted = labels_for(pool, MARGIN, CONFIDENCE) if case.labels is None else case.labels
        drawn = generator.permutation(among)[:wanted]
        low, high = estimate_drawn(pool, sums[drawn].tolist(), sizes[drawn].tolist()).interval(CONFIDENCE)
        yield low, high, int(np.bincount(groups, weights=differ)[drawn].sum())


def row_of(case: Case, trials: int, seed: int) -> Mapping[str, Any]:
    """One line of the results."""
    generator = np.random.default_rng(seed)
    at = [low > -MARGIN for low, _, _ in outcomes(case, MARGIN, trials, generator)]
    equal = list(outcomes(case, 0.0, trials, generator))
    half = float(np.mean([(high - low) / 2 for low, high, _ in equal]))
    row = {
        "texts": case.texts,
        "together": case.together,
        "share": case.share,
        "labels": float(np.mean([labels for _, _, labels in equal])),
        "passed_at_margin": float(np.mean(at)),
        "passed_equal": float(np.mean([low > -MARGIN for low, _, _ in equal])),
        "half_width": half,
        "labels_alone": labels_alone(half, case.share, CONFIDENCE),
    }
    print(json.dumps(row), flush=True)
    return row


def main() -> int:
    """Print a line for each case and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--truth", type=Path)
    parser.add_argument("--data")
    arguments = parser.parse_args()
    path = RESULTS / "drawn_labels.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if arguments.real is not None:
        row = {"data": arguments.data, **real(arguments.real, arguments.truth, arguments.trials)}
        others = [other for other in before.get("real") or () if other["data"] != arguments.data]
        keep({**before, "real": [*others, row]}, "drawn_labels")
        print(json.dumps(row))
        return 0
    began = time.process_time()
    rows = [row_of(case, arguments.trials, SEED + number) for number, case in enumerate(CASES)]
    facts = simulated_facts("drawn_labels", SEED, trials=arguments.trials, confidence=CONFIDENCE, margin=MARGIN)
    seconds = round(time.process_time() - began, 1)
    keep({**facts, "processor_seconds": seconds, "rows": rows, "real": before.get("real")}, "drawn_labels")
    return 0


def real(folder: Path, truth: Path, trials: int) -> Mapping[str, Any]:
    """Of a folder with every text that is answered differently: what labels of some of them say, and all of them.

    truth: examples whose `text` and `label` are known. Raises SystemExit where not every differing group is in it.
    """
    drawn, rows = read_drawn(folder), read_file("FOLDER", str(folder / TABLE))
    if len(drawn.sizes) != drawn.pool.differing:
        raise SystemExit(f"{folder} holds {len(drawn.sizes)} of {drawn.pool.differing} that differ; draw all of them.")
    examples = read_file("--truth", str(truth))
    known = dict(zip(examples["text"], examples["label"], strict=True))
    labels = [known[text] for text in rows["text"]]
    sums = sums_of(drawn, labels)
    found, generator = estimate_drawn(drawn.pool, sums, drawn.sizes), np.random.default_rng(SEED)
    count, halves, held = labels_for(drawn.pool, drawn.margin, drawn.confidence), [], 0
    for _ in range(trials):
        chosen = generator.permutation(len(sums))[:count]
        estimate = estimate_drawn(drawn.pool, [sums[i] for i in chosen], [drawn.sizes[i] for i in chosen])
        low, high = estimate.interval(drawn.confidence)
        held += low <= found.difference <= high
        halves.append((high - low) / 2)
    half, share = float(np.mean(halves)), len(labels) / drawn.pool.texts
    return {
        "texts": drawn.pool.texts,
        "groups": drawn.pool.groups,
        "differing": len(labels),
        "difference": found.difference,
        "interval_of_all": found.interval(drawn.confidence),
        "labels": round(count * len(labels) / len(sums)),
        "draws": trials,
        "holds": held / trials,
        "half_width": half,
        "labels_alone": labels_alone(half, share, drawn.confidence),
    }


if __name__ == "__main__":
    sys.exit(main())
