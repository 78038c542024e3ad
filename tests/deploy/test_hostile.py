"""Exports from strangers, whose manifest fits what they hold: served as they are, or refused by an error of ours."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compress.core.errors import InputError
from compress.core.manifest import MANIFEST, write_manifest
from compress.deploy.predictor import Predictor

from .conftest import Made


def changed(made: Made, folder: Path, name: str, change: Callable[[Any], Any]) -> Path:
    """A copy with one JSON file changed, and a manifest that says so. change: is given what the file says."""
    shutil.copytree(made.folder, folder)
    said = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    facts = said["facts"]
    if name == MANIFEST:
        facts = change(facts)
    else:
        path = folder / name
        told = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        path.write_text(json.dumps(change(told)), encoding="utf-8")
    (folder / MANIFEST).unlink()
    write_manifest(folder, facts, key=said["key"])
    return folder


def replaced(name: str, value: Any) -> Callable[[Any], Any]:
    return lambda told: {**told, name: value}


def serving(name: str, value: Any) -> Callable[[Any], Any]:
    return lambda facts: {**facts, "serving": {**facts["serving"], name: value}}


EFFECT = {"rows": 1, "batch": 1, "largest_difference": "x", "changed": 0}


@pytest.mark.parametrize(
    ("file", "change", "told"),
    [
        ("tokenizer_config.json", replaced("pad_token", {}), "names no padding token"),
        ("tokenizer_config.json", replaced("pad_token", {"content": 7}), "names no padding token"),
        ("tokenizer.json", replaced("truncation", None), "truncates nothing"),
        ("tokenizer.json", replaced("model", {"type": "WordLevel", "vocab": {"a": -1}}), "cannot be read"),
        ("tokenizer.json", replaced("post_processor", {"type": "TemplateProcessing"}), "cannot be read"),
        ("config.json", replaced("id2label", ["cold", "warm"]), "no names for labels"),
        (MANIFEST, serving("batch_effect", EFFECT), "manifest.json is malformed"),
        (MANIFEST, serving("batch_effect", [1, 2]), "manifest.json is malformed"),
        (MANIFEST, serving("pipeline_tag", "os.system"), "which is not served"),
        (MANIFEST, replaced("runtime", {"_target_": "os.system"}), "which is not served"),
        (MANIFEST, replaced("task", None), "manifest.json is malformed"),
    ],
)
def test_what_a_strangers_export_says(
    classifier: Made, tmp_path: Path, file: str, change: Callable[[Any], Any], told: str
) -> None:
    folder = changed(classifier, tmp_path / "export", file, change)
    with pytest.raises(InputError, match=told):
        Predictor(folder)


@pytest.mark.parametrize("mask", ["nothing", 5, ["attention_mask"]])
def test_a_mask_that_is_no_input(classifier: Made, tmp_path: Path, mask: Any) -> None:
    def change(facts: Any) -> Any:
        signature = {**facts["serving"]["signature"], "mask": mask}
        return {**facts, "serving": {**facts["serving"], "signature": signature}}

    with pytest.raises(InputError, match=r"manifest\.json is malformed .*is none of the inputs"):
        Predictor(changed(classifier, tmp_path / "export", MANIFEST, change))


def test_a_graph_that_takes_or_gives_something_else(classifier: Made, tmp_path: Path) -> None:
    def change(facts: Any) -> Any:
        signature = facts["serving"]["signature"]
        signature = {**signature, "output": {**signature["output"], "name": "scores"}}
        return {**facts, "serving": {**facts["serving"], "signature": signature}}

    with pytest.raises(InputError, match=r"gives logits; the folder's manifest says .* and scores"):
        Predictor(changed(classifier, tmp_path / "export", MANIFEST, change))


def test_a_tagger_without_a_stride(tagger: Made, tmp_path: Path) -> None:
    def change(facts: Any) -> Any:
        return {**facts, "task": {name: value for name, value in facts["task"].items() if name != "stride"}}

    with pytest.raises(InputError, match="is no whole export"):
        Predictor(changed(tagger, tmp_path / "export", MANIFEST, change))


@pytest.mark.parametrize("prompts", [["kas"], "kas", 5])
def test_prompts_that_are_no_names_with_texts(encoder: Made, tmp_path: Path, prompts: Any) -> None:
    folder = changed(encoder, tmp_path / "export", "config.json", replaced("sentence_encoder", {"prompts": prompts}))
    with pytest.raises(InputError, match="is no whole export"):
        Predictor(folder)


@pytest.mark.parametrize(
    ("step", "value"),
    [
        ("pillow_size", [10**9, 10**9]),
        ("pillow_size", "16"),
        ("pillow_size", [16]),
        ("pillow_box", [0, 0, 10**9, 16]),
        ("pillow_mode", "CMYK"),
        ("pillow_mode", ["RGB"]),
        ("resample", 99),
        ("rescale_factor", "0.1"),
        ("image_mean", [0.5]),
        ("image_mean", 0.5),
        ("image_std", [0.5, 0.0, 0.5]),
    ],
)
def test_steps_by_which_no_image_is_prepared(image_classifier: Made, tmp_path: Path, step: str, value: Any) -> None:
    folder = changed(image_classifier, tmp_path / "export", "preprocessor_config.json", replaced(step, value))
    with pytest.raises(InputError, match=f"preprocessor_config.json sets {step} to "):
        Predictor(folder)


TUNED = {
    "format": 1,
    "export": "a key",
    "runtime": "onnxruntime",
    "session": {"threads": 1, "inter_op_threads": 1, "spinning": True, "pinned": False, "memory_arena": True,
                "memory_pattern": True},
    "batching": {"batch_size": 4, "padding": "longest"},
    "batch_effect": {"rows": 8, "batch": 4, "largest_difference": 0.0, "changed": 0},
    "record": {},
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("record", None),
        ("record", 5),
        ("batch_effect", {"rows": 8, "batch": 4, "largest_difference": "0", "changed": 0}),
        ("batch_effect", [8, 4, 0.0, 0]),
        ("session", {"threads": "many"}),
        ("session", []),
        ("batching", {"batch_size": -1, "padding": "longest"}),
        ("batching", None),
        ("runtime", ["onnxruntime"]),
        ("runtime", "os"),
        ("format", {}),
    ],
)
def test_a_strangers_tuning(export_copy: Path, name: str, value: Any) -> None:
    (export_copy / "runtime.json").write_text(json.dumps(TUNED), encoding="utf-8")
    assert Predictor(export_copy).settings.batching.batch_size == 4
    (export_copy / "runtime.json").write_text(json.dumps({**TUNED, name: value}), encoding="utf-8")
    with pytest.raises(InputError):
        Predictor(export_copy)


@pytest.mark.parametrize("name", ["runtime.json", "tokenizer.json", "config.json", "model.onnx", MANIFEST])
def test_a_link_out_of_an_export(export_copy: Path, tmp_path: Path, name: str) -> None:
    (export_copy / "runtime.json").write_text(json.dumps(TUNED), encoding="utf-8")
    (export_copy / name).rename(tmp_path / "elsewhere")
    (export_copy / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"is a link to .*outside its folder"):
        Predictor(export_copy)


@pytest.mark.parametrize("name", ["runtime.json", "tokenizer.json", "config.json", "model.onnx", MANIFEST])
def test_a_pipe_in_an_export_is_not_waited_for(export_copy: Path, name: str) -> None:
    (export_copy / name).unlink(missing_ok=True)
    os.mkfifo(export_copy / name)
    with pytest.raises(InputError):
        Predictor(export_copy)


def test_a_manifest_that_names_files_elsewhere(export_copy: Path) -> None:
    told = json.loads((export_copy / MANIFEST).read_text(encoding="utf-8"))
    told["files"]["../secret"] = {"bytes": 7, "sha256": "0" * 64, "xxh3_128": "0" * 32}
    (export_copy / MANIFEST).write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(InputError, match=r"names '\.\./secret', which leaves its folder"):
        Predictor(export_copy)
