"""What happens to an artifact whose export cannot be made."""

from __future__ import annotations

from pathlib import Path

import pytest

import compress
from compress.core.errors import ReloadError, StageError
from compress.pipeline.loaded_recipe import load
from compress.pipeline.made.artifacts import teacher_artifact
from compress.pipeline.made.exports import export_of
from compress.pipeline.make_or_find import make_or_find


@pytest.mark.parametrize("error", [ReloadError("its logits changed"), StageError("the runtime finds no memory")])
def test_only_what_is_another_on_reload_leaves_the_store(
    checkpoint: Path, examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: StageError
) -> None:
    def prove(*given: object) -> None:
        raise error

    given = (f"model.path={checkpoint}", f"data.train={examples}", f"store={tmp_path / 'store'}", "device=cpu")
    recipe = compress.recipe("text_classification", *given, "data.max_length=16", "runtime.threads=1")
    loaded, store = load(recipe, warn=print, check=lambda model, processor: None)
    entry = make_or_find(store, teacher_artifact(loaded))
    monkeypatch.setattr("compress.pipeline.made.exports.prove", prove)
    with pytest.raises(StageError, match=str(error)):
        make_or_find(store, export_of(loaded, entry))
    assert entry.folder.exists() == (not isinstance(error, ReloadError))
