"""What the workers of a measurement read: each example of a split as a batch of its own, without padding; and batches
of many, where those are timed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from compress.measure.accuracy import batches_of, write_batches
from compress.measure.latency import alike
from compress.measure.worker import save_batches
from compress.nn.forward import numpy_batch
from compress.pipeline.keys import batches_key
from compress.pipeline.loaded_recipe import LoadedRecipe
from compress.pipeline.make_or_find import Facts, Work
from compress.pipeline.store import FEW_BYTES, Entry, Store

FILE = "batches.npz"


def batch_file_of(loaded: LoadedRecipe, artifact: Entry, split: str) -> Work[Path]:
    """The file, as the artifact's own processor makes them."""
    recipe, encoded = loaded.recipe, loaded.encoded(artifact)
    rows, signature = encoded.split(split), recipe.task.signature(encoded.config)

    def make(store: Store, folder: Path) -> Facts:
        write_batches(rows, recipe.task, encoded.processor, signature, folder / FILE)
        return {"rows": len(rows)}

    lengths = rows["length"][:]
    longest = rows.select([lengths.index(max(lengths))])
    (largest,) = batches_of(longest, recipe.task, encoded.processor, signature)
    # Rows say what an image is, and the processor what becomes of it.
    processor = artifact.facts["processor"] or loaded.teacher_key
    return Work(
        kind="batches",
        key=batches_key(recipe, encoded.fingerprint(split), processor),
        make=make,
        read=lambda entry: entry.folder / FILE,
        what="the batches to measure on",
        needed_bytes=FEW_BYTES + len(rows) * sum(values.nbytes for values in largest.values()),
    )


def timed_batches_of(loaded: LoadedRecipe, *artifacts: Entry) -> tuple[list[Work[Path]], list[int]]:
    """For each artifact the file of what is timed, as its own processor makes it, and the length of each batch as that
    of the first one makes them: the examples of a batch are the same for all.

    In bulk they are all rows of the validation split, documents that judge nothing too: those are what is many.
    """
    if loaded.recipe.objective.at_once == 1:
        works = [batch_file_of(loaded, artifact, "validation") for artifact in artifacts]
    else:
        _, chosen = _chosen(loaded, artifacts)
        works = [_together(loaded, artifact, chosen) for artifact in artifacts]
    return works, timed_lengths(loaded, *artifacts)


def timed_lengths(loaded: LoadedRecipe, *artifacts: Entry) -> list[int]:
    """The length of each batch of `timed_batches_of`."""
    if loaded.recipe.objective.at_once == 1:
        return loaded.encoded(artifacts[0]).timed_lengths("validation")
    lengths, chosen = _chosen(loaded, artifacts)
    return [lengths[part[-1]] for part in chosen]


def _chosen(loaded: LoadedRecipe, artifacts: Sequence[Entry]) -> tuple[list[int], list[list[int]]]:
    """The rows' lengths as the first artifact's processor makes them, and which rows are together in a batch."""
    splits = [loaded.encoded(artifact).split("validation") for artifact in artifacts]
    lengths = splits[0]["length"][: min(len(rows) for rows in splits)]
    return lengths, alike(lengths, loaded.recipe.objective.at_once)


def _together(loaded: LoadedRecipe, artifact: Entry, chosen: Sequence[Sequence[int]]) -> Work[Path]:
    """The file of batches of these rows of the validation split."""
    recipe, encoded = loaded.recipe, loaded.encoded(artifact)
    signature, rows = recipe.task.signature(encoded.config), encoded.split("validation")

    def make(store: Store, folder: Path) -> Facts:
        parts = ([rows[row] for row in part] for part in chosen)
        batches = (numpy_batch(signature, recipe.task.collate(part, encoded.processor)) for part in parts)
        save_batches(batches, folder / FILE)
        return {"rows": len(chosen)}

    alone = batch_file_of(loaded, artifact, "validation")
    key = batches_key(
        recipe, encoded.fingerprint("validation"), artifact.facts["processor"] or loaded.teacher_key, chosen
    )
    return replace(alone, key=key, make=make)
