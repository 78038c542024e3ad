"""`compress-export`: every form, whole or not at all, and compared with what was judged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import PreTrainedModel

from compress.cli.commands.export import main
from compress.core.errors import InputError, StageError
from compress.core.manifest import MANIFEST, require_undamaged, write_manifest
from compress.core.signature import Signature
from compress.deploy.forms.known import form_named, known_forms
from compress.deploy.forms.write import write_form
from compress.measure.prove import PROBE
from compress.measure.worker import save_batches
from compress.nn.family import layers_of
from compress.nn.surgery import keep_neurons
from compress.runtimes.transformers.form import TransformersForm

pytestmark = pytest.mark.usefixtures("in_this_process")
OPENED = [name for name, kind in known_forms().items() if kind.opens and find_spec(kind.package[0]) is not None]


def rows_of(made: Any, texts: Path) -> Dataset:
    lines = texts.read_text(encoding="utf-8").splitlines()
    return made.task.encode_unlabelled(Dataset.from_dict({"text": lines}), made.processor, made.model.config)


def answers_of(name: str, folder: Path, made: Any, rows: Dataset, signature: Signature) -> list[np.ndarray]:
    """What the form's own session gives for each row, alone."""
    session = form_named(name, 1).open(folder, signature)
    found = []
    for row in rows:
        batch = made.task.collate([row], made.processor)
        found.append(np.array(session.run({name: batch[name].numpy() for name in signature.names})[0]))
    return found


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("kind", ["classifier", "encoder"])
@pytest.mark.parametrize("name", OPENED)
def test_a_form_gives_the_answers_of_the_model(
    name: str, kind: str, run_of: Callable[..., Path], texts: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    made = request.getfixturevalue(kind)
    out = tmp_path / "out"
    lines = write_form(run_of(made), name, out, texts)
    require_undamaged(out)
    rows = rows_of(made, texts)
    signature = made.task.signature(made.model.config)
    for found, expected in zip(answers_of(name, out, made, rows, signature), made.outputs(rows), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    # Ten alone, then eight and two.
    assert any("20 rows of real examples, in batches of 1 to 8" in line for line in lines)
    manifest = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["facts"]["form"] == name and manifest["facts"]["proof"]["rows"] == 20
    card = (out / "README.md").read_text(encoding="utf-8")
    assert f"library_name: {name}" in card and f"compress-export --to {name}" in card
    assert "as the run exported it" not in card and card.endswith("rows\n") and "largest difference" in card
    assert (out / "tokenizer.json").is_file()


@pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed: pip install '.[openvino]'")
def test_images(image_classifier: Any, run_of: Callable[..., Path], tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "some").mkdir()
    (pictures / "others").mkdir()
    for number in range(3):
        place = pictures / ("some" if number else "others")
        shutil.copyfile(image_classifier.folder.parent / f"{number}.png", place / f"{number}.png")
    run = run_of(image_classifier)
    for name in ("openvino", "torch_export", "transformers"):
        lines = write_form(run, name, tmp_path / name, pictures)
        assert any(line.startswith("same class: 100") for line in lines), lines


@pytest.mark.parametrize("name", ["torch_export", "transformers"])
def test_integers(
    name: str,
    classifier: Any,
    in_int8: Callable[[PreTrainedModel], None],
    run_of: Callable[..., Path],
    texts: Path,
    tmp_path: Path,
) -> None:
    lines = write_form(run_of(classifier, in_int8), name, tmp_path / "out", texts)
    proof = json.loads((tmp_path / "out" / MANIFEST).read_text(encoding="utf-8"))["facts"]["proof"]
    # torch's integers are ONNX Runtime's; scaled back, inputs are rounded no more.
    assert proof["max_difference"] < (1e-5 if name == "torch_export" else 0.05), lines
    assert proof["max_difference"] > 0 or name == "torch_export"


def test_what_answers_otherwise_is_no_form(
    classifier: Any,
    run_of: Callable[..., Path],
    texts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Another(TransformersForm):
        def write(self, exported: Any, folder: Path) -> Any:
            with torch.no_grad():
                exported.model.classifier.weight.mul_(1.5)
            return super().write(exported, folder)

    monkeypatch.setitem(known_forms(), "transformers", Another)
    with pytest.raises(StageError, match="outputs differ from the judged ones by"):
        write_form(run_of(classifier), "transformers", tmp_path / "out", texts)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "texts.txt"]


@pytest.mark.parametrize(
    ("raised", "expected", "told"),
    [
        (
            KeyError("rope_theta"),
            InputError,
            "export cannot be written as transformers .*rope_theta.* Export the model",
        ),
        (StageError("differs"), StageError, "^differs$"),
        (OSError(28, "No space left on device"), OSError, "No space left"),
    ],
)
def test_what_fails_in_a_library_leaves_nothing(
    raised: Exception,
    expected: type[Exception],
    told: str,
    classifier: Any,
    run_of: Callable[..., Path],
    texts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Another(TransformersForm):
        def write(self, exported: Any, folder: Path) -> Any:
            raise raised

    monkeypatch.setitem(known_forms(), "transformers", Another)
    with pytest.raises(expected, match=told):
        write_form(run_of(classifier), "transformers", tmp_path / "out", texts)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "texts.txt"]


def test_a_card_with_a_damaged_byte(classifier: Any, run_of: Callable[..., Path], texts: Path, tmp_path: Path) -> None:
    run = run_of(classifier)
    card = run / "export" / "README.md"
    card.write_bytes(card.read_bytes().replace(b"rows", b"r\xffws"))
    manifest = json.loads((run / "export" / MANIFEST).read_text(encoding="utf-8"))
    (run / "export" / MANIFEST).unlink()
    write_manifest(run / "export", manifest["facts"], key=manifest["key"])
    write_form(run, "transformers", tmp_path / "out", texts)
    assert (tmp_path / "out" / "README.md").read_text(encoding="utf-8").endswith("r\ufffdws\n")


def test_the_examples_of_the_runs_own_proof(
    classifier: Any, run_of: Callable[..., Path], texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(classifier)
    arguments = [str(run), "--to", "torch_export", "--out", str(tmp_path / "out")]
    assert "has no examples beside it" in refusal(arguments, capsys)
    (run / "summary.json").write_text(json.dumps({"settings": {"store": str(tmp_path / "store")}}))
    assert "has none now. Give some: --examples FILE" in refusal(arguments, capsys)
    artifact = tmp_path / "store" / "artifacts" / "a key"
    artifact.mkdir(parents=True)
    batches = [classifier.task.collate([row], classifier.processor) for row in rows_of(classifier, texts)]
    together = classifier.task.collate(list(rows_of(classifier, texts))[:3], classifier.processor)
    names = classifier.task.signature(classifier.model.config).names
    save_batches([{name: batch[name].numpy() for name in names} for batch in (*batches, together)], artifact / PROBE)
    write_manifest(artifact, {}, key="a key")
    main(arguments)
    assert "13 rows of real examples, in batches of 1 to 3" in capsys.readouterr().out


def test_what_cannot_have_the_form_leaves_nothing(
    classifier: Any,
    in_int8: Callable[[PreTrainedModel], None],
    run_of: Callable[..., Path],
    texts: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = run_of(classifier, in_int8)

    def told(name: str) -> str:
        out = str(tmp_path / "out")
        return refusal([str(run), "--to", name, "--out", out, "--examples", str(texts)], capsys)

    for name in {"openvino", "tensorrt"} & set(OPENED):
        message = told(name)
        assert "of the kind int8_dynamic_linear" in message and "stage/quantize@stages.quantize=static" in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "texts.txt"]


def test_layers_of_different_sizes(
    classifier: Any,
    run_of: Callable[..., Path],
    texts: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = run_of(classifier, lambda model: keep_neurons(model, layers_of(model)[1], torch.arange(32)))
    arguments = [str(run), "--to", "transformers", "--out", str(tmp_path / "out"), "--examples", str(texts)]
    message = refusal(arguments, capsys)
    assert "bert.encoder.layer.1.intermediate.dense is a linear (" in message and "outputs=32" in message
    assert "stages.prune.uniform=true" in message
    assert not (tmp_path / "out").exists()


def test_a_full_disk(
    classifier: Any,
    run_of: Callable[..., Path],
    texts: Path,
    small_disk: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, disk = str(run_of(classifier)), small_disk("size=8k")
    arguments = [run, "--to", "transformers", "--examples", str(texts), "--out", str(disk / "out")]
    assert "the disk is full" in refusal(arguments, capsys)
    assert list(disk.iterdir()) == []


def test_bad_input(
    classifier: Any,
    run_of: Callable[..., Path],
    texts: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, out = str(run_of(classifier)), str(tmp_path / "out")
    to = ["--to", "transformers", "--out"]
    assert "Did you mean 'openvino'?" in refusal([run, "--to", "opnvino", "--out", out], capsys)
    nowhere = refusal([str(tmp_path / "no"), *to, out], capsys)
    assert f"FOLDER is {tmp_path}/no, which is no folder here. Give the folder of a finished run" in nowhere
    assert "no run with an export" in refusal([str(tmp_path), *to, out], capsys)
    assert "is there already" in refusal([run, *to, run, "--examples", str(texts)], capsys)
    assert "Make" in refusal([run, *to, f"{out}/a/b", "--examples", str(texts)], capsys)
    assert "--examples" in refusal([run, *to, out, "--examples", str(tmp_path / "none.txt")], capsys)
    (tmp_path / "one.txt").write_text("kas")
    assert "holds a single example" in refusal([run, *to, out, "--examples", str(tmp_path / "one.txt")], capsys)
    write_form(Path(run), "transformers", tmp_path / "form", texts)
    again = refusal([str(tmp_path / "form"), *to, out, "--examples", str(texts)], capsys)
    assert "is a form already, transformers" in again
    monkeypatch.setattr(TransformersForm, "package", ("not_there_at_all", "not-there"))
    assert "pip install not-there" in refusal([run, *to, out, "--examples", str(texts)], capsys)
    assert not Path(out).exists()
