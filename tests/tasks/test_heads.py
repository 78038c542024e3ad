"""A folder asks for something: all of it is loaded, or it is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file

from compress.core.content import hashes_of
from compress.core.errors import InputError
from compress.methods.teachers.folder import FolderTeacher
from compress.nn.checkpoint import read_config
from compress.tasks.text_classification import TextClassification

TASK = TextClassification(text="text", label="label", max_length=16)


def changed(folder: Path, weights: Callable[[dict[str, Any]], Any] | None = None, **settings: Any) -> Path:
    """The folder with other settings in config.json, and with its weights changed in place."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, **settings}), encoding="utf-8")
    if weights is not None:
        tensors = load_file(folder / "model.safetensors")
        weights(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def look(folder: Path) -> Any:
    teacher = FolderTeacher(path=str(folder))
    config, _ = teacher.read(TASK, Dataset.from_dict({}))
    return teacher.look(TASK, config)


def _distances(tensors: dict[str, Any]) -> None:
    for layer in range(4):
        tensors[f"bert.encoder.layer.{layer}.attention.self.distance_embedding.weight"] = torch.ones(79, 8)


def _integers(tensors: dict[str, Any]) -> None:
    tensors["classifier.weight"] = tensors["classifier.weight"].to(torch.int32)


def _more(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda tensors: tensors.update({name: torch.ones(2, 2)})


REFUSED = [
    (_distances, {"position_embedding_type": "relative_key"}, "position_embedding_type to 'relative_key'"),
    (_distances, {}, r"does not have \(bert\.encoder\.layer\.0\.attention\.self\.distance_embedding\.weight"),
    (None, {"num_hidden_layers": 3}, r"does not have \(bert\.encoder\.layer\.3"),
    (None, {"num_hidden_layers": 10**9}, "num_hidden_layers to 1000000000; with 73 tensors of weights"),
    (None, {"num_labels": 10**9}, "num_labels to 1000000000"),
    (None, {"is_decoder": True}, "is_decoder to True"),
    (None, {"add_cross_attention": True}, "add_cross_attention to True"),
    (None, {"pruned_heads": {"0": [1]}}, "pruned_heads"),
    (None, {"return_dict": False}, "return_dict to False"),
    (_integers, {}, r"weights of type I32 \(classifier\.weight\)"),
    (_more("extra.weight"), {}, r"does not have \(extra\.weight\)"),
    (_more("bert.extra.weight"), {}, r"does not have \(bert\.extra\.weight\)"),
    (None, {"architectures": ["BertForMultipleChoice"]}, "would load it as a BertForSequenceClassification"),
    (None, {"architectures": ["RobertaForSequenceClassification"]}, "no bert model of Transformers"),
    (None, {"architectures": ["MyBertForSequenceClassification"]}, "no bert model of Transformers"),
    (None, {"auto_map": {"AutoModel": "mine.Mine"}}, "auto_map to .*have code run"),
    (None, {"trust_remote_code": True}, "trust_remote_code to True"),
    (None, {"_attn_implementation": "someone/kernel"}, "_attn_implementation to 'someone/kernel'"),
    (None, {"attn_implementation": {"": "someone/kernel"}}, "attn_implementation to 'someone/kernel'"),
    (None, {"attn_implementation": "flash_attention_2"}, "none of eager and sdpa"),
    (None, {"_experts_implementation": "a/b"}, "_experts_implementation to 'a/b'"),
    (None, {"quantization_config": {"quant_method": "gptq", "bits": 4}}, "quantization_config to .*gptq"),
]


@pytest.mark.parametrize(("weights", "settings", "told"), REFUSED, ids=[case[2] for case in REFUSED])
def test_what_a_loader_would_drop_or_run_is_refused(
    checkpoint: Path, weights: Any, settings: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        look(changed(checkpoint, weights, **settings))


def test_packages_that_a_configuration_names_are_not_imported(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("kernels", "flash_attn", "gptqmodel", "peft", "mine"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'trace')!r}, 'a')", encoding="utf-8")
    (checkpoint / "mine.py").write_text(f"open({str(tmp_path / 'trace')!r}, 'a')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for _, settings, _told in REFUSED[-7:]:
        kept = (checkpoint / "config.json").read_text(encoding="utf-8")
        with pytest.raises(InputError):
            look(changed(checkpoint, None, **settings))
        (checkpoint / "config.json").write_text(kept, encoding="utf-8")
    assert not (tmp_path / "trace").exists()


def test_an_adapter_is_refused_by_its_name(checkpoint: Path) -> None:
    (checkpoint / "adapter_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match=r"holds an adapter \(adapter_config\.json\).*merge_and_unload"):
        look(checkpoint)


def test_what_no_function_depends_on_is_read_over(checkpoint: Path) -> None:
    before = look(checkpoint).state_dict()

    def add(tensors: dict[str, Any]) -> None:
        tensors["bert.embeddings.position_ids"] = torch.arange(40)[None]
        tensors["cls.predictions.bias"] = torch.ones(34)

    kept = {"position_embedding_type": "absolute", "gradient_checkpointing": True, "attn_implementation": "eager"}
    after = look(changed(checkpoint, add, **kept)).state_dict()
    teacher = FolderTeacher(path=str(checkpoint))
    assert teacher.doubts() == []
    changed(checkpoint, None, my_own_scale=2.0)
    assert teacher.doubts() == [
        f"{checkpoint}: config.json sets what the library does not read, so it has no effect here: my_own_scale"
    ]
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def test_an_encoder_to_fine_tune_is_whole(tmp_path: Path, make_model: Callable[..., Any]) -> None:
    folder = tmp_path / "encoder"
    make_model(layers=2).bert.save_pretrained(folder)
    config = read_config(folder)
    assert TASK.load_pretrained(folder, config).bert.encoder.layer[1] is not None
    changed(folder, lambda tensors: tensors.pop("encoder.layer.1.output.dense.weight"))
    with pytest.raises(InputError, match=r"incomplete \(missing: bert\.encoder\.layer\.1\.output\.dense\.weight\)"):
        TASK.load_pretrained(folder, read_config(folder))
    changed(folder, _more("encoder.layer.2.output.dense.weight"))
    with pytest.raises(InputError, match=r"does not have \(.*encoder\.layer\.2\.output\.dense\.weight\)"):
        TASK.load_pretrained(folder, read_config(folder))


def test_a_teacher_whose_weights_lie_below_its_folder_is_known_by_them(checkpoint: Path) -> None:
    tensors = load_file(checkpoint / "model.safetensors")
    (checkpoint / "model.safetensors").unlink()
    (checkpoint / "parts").mkdir()
    index = {"metadata": {}, "weight_map": dict.fromkeys(tensors, "parts/one.safetensors")}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    save_file(tensors, checkpoint / "parts" / "one.safetensors", metadata={"format": "pt"})
    before = FolderTeacher(path=str(checkpoint)).identity()
    tensors["classifier.bias"] += 1
    save_file(tensors, checkpoint / "parts" / "one.safetensors", metadata={"format": "pt"})
    assert FolderTeacher(path=str(checkpoint)).identity() != before
    assert "parts/one.safetensors" in hashes_of(checkpoint)
