"""What an artifact answers to the validation examples, and to the texts without labels that judge beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compress.data.assemble import SPARE
from compress.measure.accuracy import logits_of
from compress.measure.evaluate import candidate_of
from compress.measure.spare_text import SpareText
from compress.pipeline.keys import outputs_key
from compress.pipeline.loaded_recipe import LoadedRecipe
from compress.pipeline.made.batches import batch_file_of
from compress.pipeline.made.exports import export_of
from compress.pipeline.make_or_find import Facts, Work, find, make_or_find
from compress.pipeline.store import FEW_BYTES, Entry, Store

FILE = "outputs.npz"
# Both in one piece of work: what is compared between them must be the same function, on the same processor.
SPLITS = ("validation", SPARE)


@dataclass(frozen=True)
class Outputs:
    """Logits, (rows, classes) each: of the labelled validation examples, and of the texts."""

    labelled: np.ndarray
    texts: np.ndarray


def outputs_of(loaded: LoadedRecipe, artifact: Entry) -> Work[Outputs]:
    """One row at a time, as they are judged. Only where there are texts."""
    recipe, encoded = loaded.recipe, loaded.encoded(artifact)
    exported = export_of(loaded, artifact)

    def make(store: Store, folder: Path) -> Facts:
        form = make_or_find(store, exported).folder
        candidate = candidate_of(recipe.runtime, artifact.folder, form, loaded.signature)
        labelled, texts = (
            np.concatenate(logits_of(candidate, make_or_find(store, batch_file_of(loaded, artifact, split))))
            for split in SPLITS
        )
        np.savez(folder / FILE, labelled=labelled.astype(np.float32), texts=texts.astype(np.float32))
        return {"artifact": artifact.key}

    def read(entry: Entry) -> Outputs:
        with np.load(entry.folder / FILE, allow_pickle=False) as arrays:
            return Outputs(arrays["labelled"], arrays["texts"])

    rows = sum(len(encoded.split(split)) for split in SPLITS)
    return Work(
        kind="outputs",
        key=outputs_key(recipe, artifact.key, [encoded.fingerprint(split) for split in SPLITS]),
        make=make,
        read=read,
        what="the answers to texts without labels",
        needed_bytes=FEW_BYTES + 4 * rows * len(loaded.config.id2label),
        needs=(exported,),
    )


def spare_text(loaded: LoadedRecipe, store: Store, teacher: Entry, artifact: Entry) -> SpareText | None:
    """What both answer, made or found; None where there are no texts that judge without labels."""
    if loaded.teacher_encoded.spare is None:
        return None
    return _of(loaded, *(make_or_find(store, outputs_of(loaded, entry)) for entry in (teacher, artifact)))


def found_spare_text(loaded: LoadedRecipe, root: Path, teacher: Entry, artifact: Entry) -> SpareText | None:
    """The same where the store `root` has it, and None where it has to be made."""
    found = [find(root, outputs_of(loaded, entry)) for entry in (teacher, artifact)]
    answers = [outputs for outputs in found if outputs is not None]
    return _of(loaded, *answers) if len(answers) == len(found) else None


def _of(loaded: LoadedRecipe, teacher: Outputs, student: Outputs) -> SpareText:
    rows, encoded = loaded.teacher_encoded.spare, loaded.teacher_encoded
    labels = loaded.recipe.task.classes(encoded.split("validation"))
    assert rows is not None and labels is not None
    return SpareText(
        rows=rows,
        labels=labels,
        names=[str(name) for _, name in sorted(loaded.config.id2label.items())],
        teacher=teacher.labelled,
        student=student.labelled,
        teacher_texts=teacher.texts,
        student_texts=student.texts,
    )
