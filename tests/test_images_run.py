"""A tiny ViT through the whole command: folders of images in, an export that Pillow, numpy and the runtime read out."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

import compress
from compress.cli.commands.run import main
from compress.pipeline.spine import RunResult

from .quick import BRIEF, kept

NAMES = ("bright", "dark", "striped")
QUICK = (
    *(*BRIEF, "measurement.examples=2", "objective.speedup=null", "model=fine_tuned", "model.epochs=10"),
    *("order=[prune,fuse,quantize]", "stage/prune@stages.prune=structured", "stages.prune.recovery_epochs=0"),
    *kept("prune", "fuse", "quantize"),
)


def write_images(folder: Path, count: int, seed: int) -> Path:
    """So many photographs of each class, 20 x 24, in colour."""
    draw = np.random.default_rng(seed)
    for name in NAMES:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = draw.integers(60, size=(20, 24, 3)) + (180 if name == "bright" else 0)
            if name == "striped":
                pixels[::4] += 180
            PIL.Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


def write_model(folder: Path) -> Path:
    torch.manual_seed(0)
    config = ViTConfig(
        image_size=16,
        patch_size=4,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        id2label={0: "one", 1: "other"},
    )
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for seed, (split, count) in enumerate({"train": 20, "validation": 12, "test": 8}.items()):
        write_images(folder / split, count, seed)
    write_model(folder / "model")
    return folder


def settings(place: Path) -> list[str]:
    files = [f"data.{split}={place / split}" for split in ("train", "validation", "test")]
    return [f"model.path={place / 'model'}", *files, f"store={place}/store"]


@pytest.fixture(scope="module")
def result(place: Path) -> RunResult:
    return compress.run(compress.recipe("image_classification", *QUICK, *settings(place)), place / "run")


def test_every_stage_is_judged_by_accuracy(result: RunResult) -> None:
    rows = [json.loads(line) for line in (result.folder / "ledger.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["stage"] for row in rows] == ["teacher", "prune", "fuse", "quantize"]
    assert all(row["metric"] == "accuracy" for row in rows)
    assert rows[0]["accuracy"] > 0.6  # one third by chance
    assert result.summary["student"]["proof"]["torch_exact"] is True


def test_the_usage_runs_word_for_word_and_says_what_was_measured(result: RunResult, place: Path) -> None:
    """For each of three images that were measured: what the snippet prints is the measured answer."""
    assert result.export is not None
    card = (result.export / "README.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert found is not None and len(found.group(1).strip().splitlines()) == 6
    model = compress.load(result.export)
    task = compress.recipe("image_classification", *settings(place)).task
    processor = task.load_processor(result.export)
    forbid = "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
    for name in NAMES:
        image = place / "test" / name / "0.png"
        snippet = found.group(1).replace("Put the name of an image file here.", str(image))
        done = subprocess.run(
            [sys.executable, "-c", forbid + snippet], cwd=result.export, capture_output=True, text=True, check=True
        )
        batch = task.collate([{"image": image.read_bytes(), "labels": 0}], processor)
        with torch.inference_mode():
            answer = model(pixel_values=batch["pixel_values"]).logits.argmax().item()
        assert done.stdout.strip() == model.config.id2label[answer]


def test_evaluate_takes_a_folder(result: RunResult, place: Path) -> None:
    assert result.export is not None
    measured = compress.evaluate(result.export, place / "test", threads=1)
    assert measured.value == pytest.approx(result.summary["student"]["test"]["accuracy"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("broken", r"example \d+ of data.train \(dark/x.png\) cannot be opened as an image"),
        ("one class", r"data.train is '.*'; it holds one folder \('dark'\)"),
        ("unknown", r"has the label 'brite', which the model does not know .* Did you mean 'bright'\?"),
        ("text model", r"a BertForSequenceClassification: .* use -cn text_classification"),
    ],
)
def test_what_is_refused_before_any_work(
    place: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    change: str,
    message: str,
) -> None:
    train = write_images(tmp_path / "train", 4, 9)
    model = write_model(tmp_path / "model")
    learns = ["model=fine_tuned"] if change == "broken" else []
    if change == "broken":
        (train / "dark" / "x.png").write_bytes((train / "dark" / "1.png").read_bytes()[:200])
    elif change == "one class":
        for name in ("bright", "striped"):
            shutil.rmtree(train / name)
    elif change == "unknown":
        (train / "bright").rename(train / "brite")
        config = json.loads((model / "config.json").read_text())
        (model / "config.json").write_text(json.dumps({**config, "id2label": {"0": "bright", "1": "dark"}}))
    else:
        from transformers import BertConfig, BertForSequenceClassification

        BertForSequenceClassification(
            BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=9)
        ).save_pretrained(model)
    given = [f"data.train={train}", f"data.validation={place / 'validation'}", f"model.path={model}"]
    places = [f"store={tmp_path}/store", f"hydra.run.dir={tmp_path}/run"]
    monkeypatch.setattr(sys, "argv", ["compress", "-cn", "image_classification", *learns, *given, *places])
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "store").exists()
