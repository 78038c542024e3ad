"""Thousands of damaged runs and exports whose manifests fit what they hold, as a stranger would send them: another form
is written of each, whole, or it is refused by an error of ours, and nothing is left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from compress.core.errors import CompressError, StageError
from compress.core.manifest import MANIFEST, require_undamaged, write_manifest
from compress.deploy.forms.write import write_form
from compress.measure import accuracy
from compress.measure.prove import PROBE
from compress.measure.worker import save_batches
from compress.nn.checkpoint import save_model
from compress.runtimes.onnxruntime.runtime import OnnxRuntime
from compress.tasks.causal_lm import CausalLanguageModel
from compress.tasks.text_classification import TextClassification

from .harness import RefusedError, as_before, counted, draws, fuzz
from .mutations import mutated, with_another_value

KEY = "a key"
TEXTS = ("kas lon", "mit", "los kat kan", "nus")
CARD = "---\nlibrary_name: onnxruntime\n---\n\n## Use\n\nas the run exported it\n\n## Evidence\n\nrows\n"
ONE = TextClassification(text="text", label="label", max_length=16)
LANGUAGE = CausalLanguageModel(text="text", max_length=12, prompt_tokens=4, new_tokens=3)


@dataclass(frozen=True)
class Told:
    """A worker's runs in this process: what is no error of ours ends a worker, which is told by one."""

    worker: Any

    def __enter__(self) -> Told:
        return self

    def __exit__(self, *reason: object) -> None:
        pass

    def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        return told(lambda: self.worker.ask(command))


def told(action: Callable[[], Any]) -> Any:
    try:
        return action()
    except CompressError:
        raise
    except Exception as error:
        raise StageError(f"the measuring process ended by itself: {error}") from error


@pytest.fixture(scope="module", autouse=True)
def workers_that_tell(all_in_this_process: None) -> Iterator[None]:
    here = accuracy.Worker
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accuracy, "Worker", lambda *arguments: Told(told(lambda: here(*arguments))))
        yield


def _export(folder: Path, task: Any, model: Any, tokenizer: Any, facts: dict[str, Any]) -> None:
    kind = type(task)
    save_model(model, folder)
    task.save_processor(tokenizer, folder)
    (folder / "README.md").write_text(CARD, encoding="utf-8")
    facts = {"task": {"_target_": f"{kind.__module__}.{kind.__name__}", **asdict(task)}, **facts}
    write_manifest(folder, facts, key=KEY)


@pytest.fixture(scope="module")
def classifier(
    tmp_path_factory: pytest.TempPathFactory,
    make_tokenizer: Callable[[], Any],
    make_any_model: Callable[..., Any],
) -> Path:
    """A run's folder, with its store in it."""
    run = tmp_path_factory.mktemp("classifier")
    export, artifact = run / "export", run / "store" / "artifacts" / KEY
    export.mkdir()
    artifact.mkdir(parents=True)
    model, tokenizer, runtime = make_any_model("bert", layers=1), make_tokenizer(), OnnxRuntime(threads=1)
    signature = ONE.signature(model.config)
    rows = [dict(tokenizer(text), labels=-1, length=5, group=0) for text in TEXTS]
    batches = [ONE.collate(part, tokenizer) for part in ([rows[0]], [rows[1]], rows)]
    batches = [{name: batch[name] for name in signature.names} for batch in batches]
    runtime.export(model, signature, batches[-1], export)
    described = {"_target_": f"{OnnxRuntime.__module__}.{OnnxRuntime.__name__}", **vars(runtime)}
    _export(export, ONE, model, tokenizer, {"runtime": described})
    save_batches([{name: values.numpy() for name, values in batch.items()} for batch in batches], artifact / PROBE)
    write_manifest(artifact, {}, key=KEY)
    (run / "summary.json").write_text(json.dumps({"settings": {"store": "store"}}), encoding="utf-8")
    return run


@pytest.fixture(scope="module")
def language_model(
    tmp_path_factory: pytest.TempPathFactory,
    make_byte_level: Callable[..., Any],
    make_decoder: Callable[..., Any],
) -> Path:
    """A run's folder, of which GGUF is made without any examples."""
    run = tmp_path_factory.mktemp("language_model")
    (run / "export").mkdir()
    tokenizer = make_byte_level(["the lazy dog and the other lazy dog"] * 3, 262)
    tokenizer.model_max_length = 12
    model = make_decoder("llama", vocab_size=262, num_hidden_layers=1, tie_word_embeddings=True, eos_token_id=0)
    _export(run / "export", LANGUAGE, model, tokenizer, {})
    return run


def strangers(whole: Path, draw: Any, place: Path) -> Path:
    """A copy of a run with one thing changed in it, and manifests that say what is there."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(whole, place)
    if (place / "summary.json").exists():
        told = {"settings": {"store": str(place / "store")}}
        (place / "summary.json").write_text(json.dumps(told), encoding="utf-8")
    said = {}
    for path in sorted(place.rglob(MANIFEST)):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        said[path] = {name: manifest[name] for name in ("facts", "key")}
    path = draw.choice(sorted(path for path in place.rglob("*") if path.is_file()))
    path.write_bytes(mutated(path.read_bytes(), draw, text=path.suffix == ".json"))
    if draw.random() < 0.1:
        # A transfer's fault, of which the manifest knows nothing.
        return place
    for manifest, before in said.items():
        if path == manifest:
            before = json.loads(with_another_value(json.dumps(before).encode(), draw))
        facts = before.get("facts")
        manifest.unlink(missing_ok=True)
        write_manifest(manifest.parent, facts if isinstance(facts, dict) else {}, key=before.get("key"))
    return place


@pytest.mark.parametrize(("run", "form"), [("classifier", "transformers"), ("language_model", "gguf")])
@fuzz
@given(draws)
def test_a_form_is_written_whole_or_refused(
    run: str, form: str, tmp_path: Path, request: pytest.FixtureRequest, draw: Any
) -> None:
    if form == "gguf":
        pytest.importorskip("gguf", reason="the package gguf is not installed: pip install '.[gguf]'")
    folder = strangers(request.getfixturevalue(run), draw, tmp_path / "run")
    out = tmp_path / "out"
    shutil.rmtree(out, ignore_errors=True)
    kind = f"runs to be written as {form}"
    try:
        with counted(kind):
            write_form(folder, form, out, None)
    except RefusedError as error:
        with as_before(kind):
            assert len(str(error)) > 20, error
            assert sorted(path.name for path in tmp_path.iterdir()) == ["run"], error
        return
    with as_before(kind):
        require_undamaged(out)


@pytest.mark.parametrize(("run", "form"), [("classifier", "transformers"), ("language_model", "gguf")])
def test_each_run_is_written_while_it_is_whole(
    run: str, form: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if form == "gguf":
        pytest.importorskip("gguf", reason="the package gguf is not installed: pip install '.[gguf]'")
    shutil.copytree(request.getfixturevalue(run), tmp_path / "run")
    told = {"settings": {"store": str(tmp_path / "run" / "store")}}
    (tmp_path / "run" / "summary.json").write_text(json.dumps(told), encoding="utf-8")
    assert write_form(tmp_path / "run", form, tmp_path / "out", None)[-1] == f"written: {tmp_path / 'out'}"
