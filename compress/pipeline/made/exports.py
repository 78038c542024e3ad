"""An artifact's export for the recipe's runtime, with the proof that the artifact is the same when loaded again."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from compress.core.errors import ReloadError
from compress.core.evaluation import Proof
from compress.core.spent import spending
from compress.measure.prove import prove
from compress.pipeline.keys import export_key
from compress.pipeline.loaded_recipe import LoadedRecipe
from compress.pipeline.make_or_find import Facts, Work, room_for
from compress.pipeline.store import Entry, Store, bytes_in


@dataclass(frozen=True)
class Export:
    """folder: with the runtime's form of an artifact; None where it runs the artifact itself."""

    folder: Path | None
    proof: Proof


def export_of(loaded: LoadedRecipe, artifact: Entry) -> Work[Export]:
    """Making it raises ReloadError, and sets the artifact aside, where the reloaded artifact is not the same; what else
    may go wrong is not its fault, and it stays."""
    runtime, task = loaded.recipe.runtime, loaded.recipe.task

    def make(store: Store, folder: Path) -> Facts:
        try:
            with spending("export and proof"):
                return dataclasses.asdict(prove(artifact.folder, folder if runtime.form else None, task, runtime))
        except ReloadError as error:
            store.set_aside(artifact, str(error))
            raise

    def read(entry: Entry) -> Export:
        shapes = tuple(tuple(shape) for shape in entry.facts["shapes"])
        return Export(entry.folder if runtime.form else None, Proof(**{**entry.facts, "shapes": shapes}))

    return Work(
        kind="exports",
        key=export_key(loaded.recipe, artifact.key),
        make=make,
        read=read,
        what="a model's export",
        needed_bytes=room_for(bytes_in(artifact.folder)),
    )
