"""An export that gives its vectors in fewer bytes too: with an output for each form, proven and scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from compress.core.kept_vectors import FLOAT, KeptVectors, VectorForm, port_of
from compress.core.spent import spending
from compress.measure.evaluate import candidate_of
from compress.measure.prove import PROBE
from compress.measure.vectors import bytes_per_million, form_statistics, prove_forms, with_forms
from compress.pipeline.keys import vectors_key
from compress.pipeline.loaded_recipe import LoadedRecipe
from compress.pipeline.made.batches import batch_file_of
from compress.pipeline.made.exports import export_of
from compress.pipeline.make_or_find import Facts, Work, make_or_find, room_for
from compress.pipeline.store import Entry, Store, bytes_in

FOLDER = "export"


def kept_vectors_of(loaded: LoadedRecipe, artifact: Entry) -> Work[KeptVectors]:
    """Made of the artifact's own export. Making it raises StageError where an output is not what it has to be."""
    recipe, encoded = loaded.recipe, loaded.encoded(artifact)
    exported, forms = export_of(loaded, artifact), recipe.vectors
    splits = [name for name in ("validation", "test") if name in loaded.examples]

    def make(store: Store, folder: Path) -> Facts:
        (folder / FOLDER).mkdir()
        before = candidate_of(recipe.runtime, artifact.folder, make_or_find(store, exported).folder, loaded.signature)
        after = candidate_of(recipe.runtime, artifact.folder, folder / FOLDER, loaded.signature)
        with spending("vectors in fewer bytes"):
            ranges = with_forms(
                before, forms, encoded.split("train"), recipe.task, encoded.processor, folder / FOLDER, recipe.seed
            )
            prove_forms(before, after, forms, ranges, artifact.folder / PROBE)
            for split in splits:
                batches = make_or_find(store, batch_file_of(loaded, artifact, split))
                found = form_statistics(after, forms, ranges, encoded.split(split), batches, recipe.task)
                np.savez(folder / f"{split}.npz", **found)  # type: ignore[arg-type]
        return {"dimensions": ranges.shape[1]}

    def read(entry: Entry) -> KeptVectors:
        arrays = {}
        for split in splits:
            with np.load(entry.folder / f"{split}.npz", allow_pickle=False) as file:
                arrays[split] = dict(file)
        output, dimensions = loaded.signature.output, int(entry.facts["dimensions"])
        found = [VectorForm(FLOAT, output.name, bytes_per_million(FLOAT, dimensions), {})]
        for form in forms:
            statistics: dict[str, np.ndarray] = {str(split): of_split[form] for split, of_split in arrays.items()}
            size = bytes_per_million(form, dimensions)
            found.append(VectorForm(form, port_of(output, form).name, size, statistics))
        return KeptVectors(entry.folder / FOLDER, tuple(found))

    return Work(
        kind="exports",
        key=vectors_key(recipe, artifact.key, [encoded.fingerprint(split) for split in ("train", *splits)]),
        make=make,
        read=read,
        what="a model's export with vectors in fewer bytes",
        needed_bytes=room_for(bytes_in(artifact.folder)),
        needs=(exported,),
    )
