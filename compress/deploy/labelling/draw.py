"""Drawing the texts to label: at random from those that teacher and student answer differently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from compress.core.errors import InputError
from compress.core.recipe import Recipe
from compress.deploy.labelling.answered import Answered, answered, group_of
from compress.deploy.labelling.reading import read_texts
from compress.deploy.labelling.sheet import TABLE, Drawn, write_sheet
from compress.measure.drawn_labels import Pool, half_width, labels_alone, labels_for, pool_of

# Texts without a single different answer say something too, from so many on.
FEWEST_TEXTS = 100


def draw(
    run: Path,
    recipe: Recipe,
    summary: Mapping[str, Any],
    texts: Path,
    out: Path,
    *,
    labels: int | None,
    group: str | None,
    tell: Callable[[str], None],
    seed: int = 0,
) -> None:
    """Have both models answer the texts, draw those to label, and write the folder `out`.

    recipe, summary: of the run, which exported a model. labels: how many to label; None: as many as decide, where the
    student is worth what its teacher is. group: a column of the texts; those of one value are drawn together; None:
    see `answered`. tell: is given sentences as they come up. Raises InputError for what cannot be used.
    """
    given = read_texts(texts, group)
    if len(given) < FEWEST_TEXTS:
        raise InputError(f"--texts is {texts}, which holds {len(given)}; it takes {FEWEST_TEXTS}, better thousands.")
    # Before either model is asked.
    group_of(run, recipe, given, group)
    tell(_announced(len(given), summary))
    found = answered(run, recipe, summary, given, group)
    if len(found.groups) < FEWEST_TEXTS:
        raise InputError(
            f"--texts is {texts}, of which the run has not seen {len(found.groups)}; it takes {FEWEST_TEXTS}. The "
            "others are in its train, unlabelled, validation or test split."
        )
    gate = recipe.gates[str(summary["exported"]["stage"])]
    pool = pool_of(found.teacher != found.student, found.groups)
    count = labels_for(pool, gate.max_accuracy_drop, gate.confidence) if labels is None else min(labels, pool.differing)
    groups = _drawn_groups(found, count, np.random.default_rng(seed))
    rows = [(number, row) for number, of_group in enumerate(groups) for row in of_group]
    sizes = Counter(found.groups)
    drawn = Drawn(
        run=str(run.resolve()),
        artifact=str(summary["exported"]["artifact"]),
        texts=str(texts),
        seen=found.seen,
        pool=pool,
        groups=[number for number, _ in rows],
        sizes=[sizes[found.groups[of_group[0]]] for of_group in groups],
        teacher=[found.names[found.teacher[row]] for _, row in rows],
        student=[found.names[found.student[row]] for _, row in rows],
        names=list(found.names),
        margin=gate.max_accuracy_drop,
        confidence=gate.confidence,
    )
    chosen = found.examples.select([row for _, row in rows])
    write_sheet(out, drawn, {name: chosen[name][:] for name in chosen.column_names})
    for line in _told(found, pool, drawn, out):
        tell(line)


def _announced(texts: int, summary: Mapping[str, Any]) -> str:
    """What is going to be done, and how long it takes by the latencies of the run, where there are any."""
    each = [summary[model].get("latency_ms_p50") for model in ("teacher", "student")]
    told = f"both models answer {texts:,} texts, one at a time, where they have not yet"
    return told if None in each else f"{told}: {max(1.0, texts * sum(each) / 1000):,.0f} s or so"


def _drawn_groups(found: Answered, count: int, generator: np.random.Generator) -> list[list[int]]:
    """The rows that are answered differently, by group, of so many groups in a random order."""
    of_group: dict[int, list[int]] = {}
    for row in np.flatnonzero(found.teacher != found.student).tolist():
        of_group.setdefault(found.groups[row], []).append(row)
    places = list(of_group)
    return [of_group[places[place]] for place in generator.permutation(len(places))[:count]]


def _told(found: Answered, pool: Pool, drawn: Drawn, out: Path) -> list[str]:
    share = pool.different / pool.texts
    lines = [f"{pool.texts:,} texts that the run has not seen{_left_out(found.seen)}", *found.notes]
    if pool.different == 0:
        return [
            *lines,
            f"teacher and student answer all of them alike: nothing is to be labelled. compress-label {out}",
        ]
    lines.append(f"teacher and student answer {pool.different:,} of them differently ({share:.1%})")
    half = half_width(pool, len(drawn.sizes), drawn.confidence)
    alone = labels_alone(half, share, drawn.confidence)
    count = len(drawn.teacher)
    which = "all" if count == pool.different else f"{count:,}, drawn at random,"
    lines.append(f"{which} are in {out / TABLE}; fill in the column label, then: compress-label {out}")
    lines.append(
        f"to be expected: {100 * half:.2f} points on each side, the limit is {100 * drawn.margin:.2f}; as much takes "
        f"{alone:,} labels where every text that is drawn has to be labelled"
    )
    return lines


def _left_out(seen: int) -> str:
    return f"; {seen:,} are left out, as it learned or chose by them" if seen else ""
