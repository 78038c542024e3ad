"""Latency tables: measured once for all runs, and again where other work ran beside.

A table decides what a stage makes, and nothing judges it but the speed-up at the end, most of an hour later.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from compress.core.errors import InputError
from compress.core.json_file import parse_json, read_regular
from compress.core.latency_table import LatencyTable
from compress.core.manifest import CHECKSUM, checksum_of
from compress.core.spent import spending
from compress.core.whole import write_whole
from compress.measure.bystanders import disturbance
from compress.measure.latency_table import measure_low_rank, measure_table
from compress.measure.worker import load_batches
from compress.nn.checkpoint import load_model
from compress.nn.fusion import LayerSizes
from compress.nn.head import PROBED, positions_read
from compress.nn.layers.fused_layer import FusedLayerSizes
from compress.pipeline.keys import latency_table_key, precision_of
from compress.pipeline.loaded_recipe import LoadedRecipe
from compress.pipeline.made.batches import timed_batches_of, timed_lengths
from compress.pipeline.made.exports import export_of
from compress.pipeline.make_or_find import BEGUN_WITH, Facts, Work, make_or_find, the_entry
from compress.pipeline.preflight import foreseen
from compress.pipeline.store import Entry, Store

KIND = "latency-tables"
# What a table says of others' doings while it was measured.
COMPANY = ("foreign_share", "disturbed")


def latency_table(
    loaded: LoadedRecipe,
    store: Store,
    teacher: Entry,
    sizes: FusedLayerSizes | LayerSizes,
    *,
    low_rank: bool = False,
    again: bool,
) -> LatencyTable:
    """What layers of these sizes cost on this machine, and with `low_rank` their products as two thin ones, each
    measured once. again: once more where an earlier run was disturbed at it; see `quietest`."""
    shape, threads = dataclasses.asdict(sizes), loaded.recipe.runtime.threads
    find = partial(quietest, store, processors=threads, timed=loaded.timed, again=again)
    key = key_of_table(loaded, teacher, shape)
    with spending("latency table", whole=True):
        facts = find(key, lambda: _measured(loaded, store, teacher, sizes), what="the latency table")
    if low_rank:
        # An entry of its own: what has no use for ranks shares the rest of the table.
        key = key_of_table(loaded, teacher, shape | {"low_rank": 1})
        with spending("latency table", whole=True):
            more = find(key, lambda: _measured_ranks(loaded, store, teacher, sizes), what="the latency of low ranks")
        noisier = max(facts, more, key=_how_disturbed)
        facts = {**facts, "low_rank": more["low_rank"], **{name: noisier.get(name) for name in COMPANY}}
    return LatencyTable.from_json(facts)


def key_of_table(loaded: LoadedRecipe, teacher: Entry, sizes: dict[str, int]) -> str:
    """The key of the table for layers of these sizes; with none, of what all of a recipe's tables depend on."""
    decoding = loaded.signature.decoding
    if decoding is None:
        return latency_table_key(loaded.recipe, teacher.key, timed_lengths(loaded, teacher), sizes)
    request = {"prompt_tokens": decoding.prompt_tokens, "new_tokens": decoding.new_tokens}
    return latency_table_key(loaded.recipe, teacher.key, [], {**sizes, **request})


def quietest(
    store: Store,
    key: str,
    measure: Callable[[], Facts],
    *,
    what: str,
    processors: int,
    timed: set[str],
    again: bool,
) -> Facts:
    """What `measure` found, with what others did meanwhile: the `foreign_share` that they took of the processors, and
    whether the rounds were `disturbed`.

    Where nobody knows of the rounds, and the share is much of the `processors`, how many the timed sessions use, it
    measures twice and the quieter of the two is kept; where rounds are known, `measure` has taken disturbed ones again
    itself. timed: the keys of what this run has measured. again: what an earlier run left disturbed is measured once
    more, once a run, and the quieter kept.
    """

    def is_quiet(facts: Facts) -> bool:
        known = facts.get("disturbed")
        return disturbance(_share(facts), processors, "") is None if known is None else not known

    def make(store: Store, folder: Path) -> Facts:
        timed.add(key)
        first = measure()
        once = first.get("disturbed") is not None or is_quiet(first)
        return first if once else min(first, measure(), key=_how_disturbed)

    entry = make_or_find(store, Work(kind=KIND, key=key, make=make, read=the_entry, what=what))
    if not again or key in timed or is_quiet(entry.facts):
        return entry.facts
    timed.add(key)
    return store.replace(KIND, entry, lambda folder: min(entry.facts, measure(), key=_how_disturbed), what=what).facts


def latency_checks(loaded: LoadedRecipe, store: Store, teacher: Entry) -> Iterator[tuple[str, Callable[[], None]]]:
    """For each stage its name, and a call that raises InputError where nothing would be as fast as the stage is asked
    for. The first that asks for the latency table measures it."""

    def check(name: str, model: Any) -> None:
        stage, table = loaded.recipe.stages[name], partial(latency_table, loaded, store, teacher)
        try:
            stage.check_latency(model, partial(table, again=loaded.recipe.measurement.again))
        except InputError:
            # Not for the sake of a table that an earlier run measured beside other work.
            stage.check_latency(model, partial(table, again=True))

    for name, model in foreseen(loaded.recipe, loaded.inputs.shape):
        yield name, partial(check, name, model)


def begun_with(folder: Path, find: Callable[[], LatencyTable], warn: Callable[[str], None]) -> LatencyTable:
    """The table that the unfinished work in `folder` was begun with, or what `find` finds now, for work that begins:
    a resumed stage must choose what it chose before, though the table has been measured again since. Where the table is
    damaged nobody knows what was chosen: the unfinished work is removed, and `warn` is told."""
    path = folder / BEGUN_WITH
    if path.exists():
        begun = _whole(path)
        if begun is not None:
            return begun
        warn(f"the latency table that unfinished work was begun with is damaged ({path}): the work begins anew")
        shutil.rmtree(folder)
        folder.mkdir()
    table = find()
    told = json.loads(json.dumps(table.to_json()))
    # Whole or not at all: the process may be killed at any moment.
    write_whole(path, json.dumps({"table": told, CHECKSUM: checksum_of(told)}))
    return table


def _whole(path: Path) -> LatencyTable | None:
    """The table in a file, or None where its checksum says otherwise."""
    try:
        told = parse_json(read_regular(path))
        if told[CHECKSUM] == checksum_of(told["table"]):
            return LatencyTable.from_json(told["table"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def doubt(table: LatencyTable, processors: int) -> str | None:
    """What to say of a table that was measured beside other work. processors: how many the timed sessions used."""
    found = disturbance(table.foreign_share, processors, "layers were timed")
    if table.disturbed is not None:
        found = (found or "while layers were timed, other processes made them wait") if table.disturbed else None
    way_out = "the sizes chosen may miss the objective; the next run that needs them times them again"
    return None if found is None else f"{found}: {way_out}"


def _measured(loaded: LoadedRecipe, store: Store, teacher: Entry, sizes: FusedLayerSizes | LayerSizes) -> Facts:
    encoded, exported = loaded.encoded(teacher), make_or_find(store, export_of(loaded, teacher)).folder
    assert exported is not None
    model, train = load_model(teacher.folder), encoded.split("train")
    few = list(train.select(range(min(PROBED, len(train)))))
    # Of a decoder all positions matter: what a layer gives is kept for the tokens to come.
    decodes = loaded.signature.decoding is not None
    reads = "all" if decodes else positions_read(model, loaded.signature, encoded.collate(few))
    return measure_table(
        loaded.recipe.runtime, teacher=exported, model=model, reads=reads, **_timed(loaded, store, teacher, sizes)
    ).to_json()


def _measured_ranks(loaded: LoadedRecipe, store: Store, teacher: Entry, sizes: FusedLayerSizes | LayerSizes) -> Facts:
    model, timed = load_model(teacher.folder), _timed(loaded, store, teacher, sizes)
    grids, company = measure_low_rank(loaded.recipe.runtime, model=model, **timed)
    return {"low_rank": grids, **company}


def _timed(loaded: LoadedRecipe, store: Store, teacher: Entry, sizes: FusedLayerSizes | LayerSizes) -> dict[str, Any]:
    (batches,), lengths = timed_batches_of(loaded, teacher)
    return {
        "signature": loaded.signature,
        "batches": load_batches(make_or_find(store, batches)),
        "lengths": lengths,
        "layer": sizes,
        "precision": precision_of(loaded.recipe),
        "retry_seconds": loaded.recipe.measurement.retry_seconds,
    }


def _how_disturbed(facts: Facts) -> tuple[bool, float]:
    return bool(facts.get("disturbed")), _share(facts)


def _share(facts: Facts) -> float:
    return facts["foreign_share"] or 0.0
