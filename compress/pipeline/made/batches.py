"""What the workers of a measurement read: each example of a split as a batch of its own, without padding."""

from __future__ import annotations

from pathlib import Path

from compress.measure.accuracy import batches_of, write_batches
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
