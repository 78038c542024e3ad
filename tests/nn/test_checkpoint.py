"""Saved and loaded exactly; everything that is wrong with a folder is said, and nothing of it is loaded."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForSequenceClassification, GPT2Config, PreTrainedModel

import compress
from compress.core.content import INDEX
from compress.core.errors import InputError
from compress.core.manifest import write_manifest
from compress.core.structure import Structure
from compress.methods.teachers.folder import FolderTeacher
from compress.nn.checkpoint import (
    STRUCTURE,
    WEIGHTS,
    check_checkpoint,
    load_model,
    read_config,
    read_structure,
    save_model,
    settle,
)
from compress.nn.family import layers_of
from compress.nn.layers import Int4Embedding, Int8DynamicLinear, Int8Embedding, LowRankLinear, MaskedLinear
from compress.nn.structure import replace_module, structure_of
from compress.nn.surgery import keep_heads, keep_layers, keep_neurons, tell_config
from compress.nn.vocabulary import reads_tokens
from compress.tasks.text_classification import TextClassification


def saved(model: PreTrainedModel, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    save_model(model, folder)
    return folder


@torch.no_grad()
def logits(model: PreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
    return model(**batch).logits


def edit(model: PreTrainedModel, how: str) -> None:
    """Change a model in one of the ways that a plain loader cannot know."""
    layer = layers_of(model)[1]
    path = layer.path_of(layer.ffn_inputs[-1])
    dense = model.get_submodule(path)
    sizes = (dense.in_features, dense.out_features, 4)
    if how == "heads":
        keep_heads(model, layer, torch.arange(0, layer.heads, 2))
    elif how == "neurons":
        keep_neurons(model, layer, torch.arange(32))
    elif how == "low_rank":
        replace_module(model, path, LowRankLinear(*sizes, bias=True))
    elif how == "low_rank in int8":
        low_rank = LowRankLinear(*sizes, bias=True)
        replace_module(model, path, low_rank)
        for name in ("up", "down"):
            factor = getattr(low_rank, name)
            replace_module(model, f"{path}.{name}", Int8DynamicLinear.of(factor))
    elif how == "int8":
        replace_module(model, path, Int8DynamicLinear.of(dense))
    elif how in ("int8_embedding", "int4_embedding"):
        path = next(path for path, module in model.named_modules() if module is model.get_input_embeddings())
        kind = Int8Embedding if how == "int8_embedding" else Int4Embedding
        replace_module(model, path, kind.of(model.get_input_embeddings()))


def can_be(how: str, model: PreTrainedModel) -> bool:
    """Whether a model can be changed in this way."""
    if how == "heads":
        return layers_of(model)[1].heads > 1
    return reads_tokens(model) or not how.endswith("embedding")


EDITS = ("heads", "neurons", "low_rank", "low_rank in int8", "int8", "int8_embedding", "int4_embedding")


@pytest.mark.parametrize("how", EDITS)
def test_an_edited_model_comes_back_exactly(
    how: str, model_type: str, make_model: Callable, batch: dict[str, Tensor], tmp_path: Path
) -> None:
    model = make_model(model_type, layers=2)
    if not can_be(how, model):
        return
    edit(model, how)
    folder = saved(settle(model), tmp_path)
    again = load_model(folder)
    assert torch.equal(logits(again, batch), logits(model, batch))
    assert structure_of(again) == structure_of(model) == read_structure(folder)
    assert type(again) is type(model)
    assert not any(module.training for module in again.modules())
    assert {name: value.dtype for name, value in again.state_dict().items()} == {
        name: value.dtype for name, value in model.state_dict().items()
    }


@pytest.mark.parametrize("how", EDITS)
def test_a_plain_loader_stops_at_an_edited_model(
    how: str, model_type: str, make_model: Callable, tmp_path: Path
) -> None:
    model = make_model(model_type, layers=2)
    if not can_be(how, model):
        return
    edit(model, how)
    with pytest.raises(RuntimeError, match=r"(?s)mismatch|ignore_mismatched_sizes"):
        type(model).from_pretrained(saved(model, tmp_path))


def test_a_plain_loader_reads_a_uniform_model(
    model_type: str, make_model: Callable, batch: dict[str, Tensor], tmp_path: Path
) -> None:
    model = make_model(model_type)
    keep_layers(model, [0, 3])
    for layer in layers_of(model):
        keep_neurons(model, layer, torch.arange(0, 64, 2))
    tell_config(model)
    folder = saved(settle(model), tmp_path)
    assert read_structure(folder).is_plain
    plain = settle(type(model).from_pretrained(folder))
    assert torch.equal(logits(plain, batch), logits(model, batch))
    assert torch.equal(logits(load_model(folder), batch), logits(model, batch))


def test_a_plain_loader_reads_a_model_with_zeros(
    make_model: Callable, batch: dict[str, Tensor], tmp_path: Path
) -> None:
    model = make_model()
    dense = model.classifier
    replace_module(model, "classifier", MaskedLinear.of(dense, dense.weight > 0))
    folder = saved(settle(model), tmp_path)
    plain = settle(AutoModelForSequenceClassification.from_pretrained(folder))
    assert torch.equal(logits(plain, batch), logits(model, batch))
    assert isinstance(load_model(folder).classifier, MaskedLinear)


def test_a_folder_that_transformers_wrote(checkpoint: Path, make_model: Callable, batch: dict[str, Tensor]) -> None:
    assert read_structure(checkpoint) == Structure()
    assert torch.equal(logits(load_model(checkpoint), batch), logits(settle(make_model()), batch))


def test_half_precision_is_loaded_as_float32(make_model: Callable, tmp_path: Path) -> None:
    make_model().half().save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"of another shape or type"):
        load_model(tmp_path)


def test_labels_come_back(make_model: Callable, tmp_path: Path) -> None:
    assert load_model(saved(make_model(), tmp_path)).config.id2label == {0: "cold", 1: "warm"}


def test_settle_leaves_nothing_in_memory_of_others(make_model: Callable, tmp_path: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(saved(make_model(), tmp_path)).train()
    before = {name: value.data_ptr() for name, value in model.state_dict().items()}
    settle(model)
    assert not model.training
    assert all(value.data_ptr() != before[name] for name, value in model.state_dict().items())


# What is wrong with a folder.


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"which does not exist. Give the folder of a saved model"):
        check_checkpoint(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"a file. Give the folder"):
        check_checkpoint(tmp_path / "file")
    with pytest.raises(InputError, match=r"it has no config.json \(found: file\)"):
        check_checkpoint(tmp_path)


def test_no_weights(checkpoint: Path) -> None:
    (checkpoint / WEIGHTS).unlink()
    with pytest.raises(InputError, match=r"it has no model.safetensors"):
        load_model(checkpoint)


def test_only_a_pickle(checkpoint: Path) -> None:
    torch.save({}, checkpoint / "pytorch_model.bin")
    (checkpoint / WEIGHTS).unlink()
    with pytest.raises(InputError, match=r"weights are a pickle \(pytorch_model.bin\)"):
        load_model(checkpoint)


@pytest.mark.parametrize(
    "name", ["tf_model.h5", "tf_model-00001-of-00002.h5", "model.ckpt.index", "bert_model.ckpt.data-00000-of-00001"]
)
def test_a_checkpoint_of_tensorflow(name: str, checkpoint: Path) -> None:
    (checkpoint / name).write_bytes(b"not read")
    (checkpoint / WEIGHTS).unlink()
    with pytest.raises(InputError) as told:
        load_model(checkpoint)
    assert f"weights are TensorFlow's ({name})" in str(told.value)
    assert "from_tf=True" in str(told.value) and "pip install 'transformers<5'" in str(told.value)


@pytest.mark.parametrize("kept", [0, 4, 100, 0.5, -1])
def test_truncated_weights(checkpoint: Path, kept: float) -> None:
    path = checkpoint / WEIGHTS
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if 0 < kept < 1 else int(kept)])
    with pytest.raises(InputError, match=r"is damaged or incomplete"):
        load_model(checkpoint)


def test_a_flipped_bit_in_the_header_is_seen_or_harmless(
    make_model: Callable, batch: dict[str, Tensor], tmp_path: Path
) -> None:
    model = make_model(layers=1)
    path = saved(settle(model), tmp_path) / WEIGHTS
    content = path.read_bytes()
    end = 8 + struct.unpack("<Q", content[:8])[0]
    refused = 0
    for position in [*range(8), *range(8, end, 23)]:
        damaged = bytearray(content)
        damaged[position] ^= 1 << (position % 8)
        path.write_bytes(damaged)
        try:
            assert torch.equal(logits(load_model(tmp_path), batch), logits(model, batch))
        except InputError:
            refused += 1
    assert refused > 0.9 * (8 + (end - 8) / 23)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(make_model: Callable, tmp_path: Path, value: float) -> None:
    model = make_model()
    with torch.no_grad():
        model.classifier.weight[0, 3] = value
    with pytest.raises(InputError, match=r"the weight classifier.weight has values that are not finite"):
        load_model(saved(model, tmp_path))


def test_missing_surplus_and_reshaped_tensors(checkpoint: Path) -> None:
    tensors = load_file(checkpoint / WEIGHTS)
    tensors["extra"] = torch.zeros(1)
    del tensors["classifier.bias"]
    tensors["classifier.weight"] = torch.zeros(3, 32)
    save_file(tensors, checkpoint / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(
        InputError,
        match=r"missing: classifier.bias; not expected: extra; of another shape or type: classifier.weight",
    ):
        load_model(checkpoint)


def write_index(folder: Path, content: Any) -> None:
    (folder / WEIGHTS).rename(folder / "part.safetensors")
    (folder / INDEX).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def test_weights_in_parts(checkpoint: Path, make_model: Callable, batch: dict[str, Tensor]) -> None:
    tensors = load_file(checkpoint / WEIGHTS)
    (checkpoint / WEIGHTS).unlink()
    names = sorted(tensors)
    index = {}
    for number, part in enumerate((names[::2], names[1::2])):
        save_file({name: tensors[name] for name in part}, checkpoint / f"part-{number}.safetensors")
        index |= dict.fromkeys(part, f"part-{number}.safetensors")
    (checkpoint / INDEX).write_text(json.dumps({"weight_map": index}), encoding="utf-8")
    assert torch.equal(logits(load_model(checkpoint), batch), logits(settle(make_model()), batch))


@pytest.mark.parametrize("name", ["../part.safetensors", "/etc/passwd", "a/../../part.safetensors"])
def test_an_index_that_leaves_its_folder(checkpoint: Path, name: str) -> None:
    write_index(checkpoint, {"weight_map": {"classifier.weight": name}})
    with pytest.raises(InputError, match=r"which leaves its folder. Do not use this checkpoint"):
        load_model(checkpoint)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is malformed"),
        ([], "is malformed"),
        ({"weight_map": []}, "is malformed"),
        ({"weight_map": {"a": 3}}, "names 3, which leaves its folder"),
        ({"weight_map": {"a": 3, "b": "x"}}, "is malformed"),
        ({"weight_map": {"a": "other.safetensors"}}, "'other.safetensors', which does not exist"),
    ],
)
def test_a_malformed_index(checkpoint: Path, content: Any, message: str) -> None:
    write_index(checkpoint, content)
    with pytest.raises(InputError, match=message):
        load_model(checkpoint)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "config.json cannot be read"),
        (b"\xff\xfe\x00", "config.json cannot be read"),
        ("[]", "names no model_type"),
        ("{}", "names no model_type"),
        ('{"model_type": "nonsense"}', "of type 'nonsense'; supported are bert"),
        ('{"model_type": "bert", "hidden_size": "wide"}', "refused by Transformers"),
        ('{"model_type": 3}', "of type '3'; supported are bert"),
    ],
)
def test_a_configuration_that_is_none(checkpoint: Path, content: str | bytes, message: str) -> None:
    (checkpoint / "config.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message):
        read_config(checkpoint)


@pytest.mark.parametrize(
    "change", [{"hidden_act": "nonsense"}, {"hidden_size": 30}, {"num_attention_heads": 0}, {"vocab_size": 10**15}]
)
def test_a_configuration_that_builds_no_model(checkpoint: Path, change: dict[str, Any]) -> None:
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    (checkpoint / "config.json").write_text(json.dumps({**config, **change}), encoding="utf-8")
    with pytest.raises(InputError, match=r"no model can be built from config.json|refused by Transformers"):
        load_model(checkpoint)


def test_an_unsupported_family(tmp_path: Path) -> None:
    GPT2Config().save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"type 'gpt2'; supported are bert"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    "architectures",
    [["GPT2Model"], ["Trainer"], ["os.system"], ["DistilBertModel"], ["NoSuchModel"], [], None, ["PreTrainedModel"]],
)
def test_an_architecture_that_is_no_model_of_this_family(checkpoint: Path, architectures: Any) -> None:
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    (checkpoint / "config.json").write_text(json.dumps({**config, "architectures": architectures}), encoding="utf-8")
    with pytest.raises(InputError, match=r"no bert model of Transformers"):
        load_model(checkpoint)


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 1}', "null"])
def test_a_malformed_structure(checkpoint: Path, content: str) -> None:
    (checkpoint / STRUCTURE).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"is not JSON|is malformed"):
        load_model(checkpoint)


def test_weights_that_do_not_fit_the_structure(make_model: Callable, tmp_path: Path) -> None:
    model = make_model()
    keep_heads(model, layers_of(model)[0], torch.tensor([0, 1]))
    folder = saved(model, tmp_path)
    (folder / STRUCTURE).unlink()
    with pytest.raises(InputError, match=r"does not fit its own structure.json: of another shape or type: bert.enc"):
        load_model(folder)


@pytest.mark.timeout(60)
def test_shapes_are_compared_before_memory_is_taken(checkpoint: Path, make_model: Callable, tmp_path: Path) -> None:
    import resource

    folder = saved(make_model("bert", layers=2), tmp_path / "saved")
    large = {"kind": "linear", "sizes": {"inputs": 30_000, "outputs": 30_000, "bias": 1}}
    path = "bert.encoder.layer.0.intermediate.dense"
    text = json.dumps({"format": 1, "edits": {path: large}, "attributes": {}})
    (folder / STRUCTURE).write_text(text, encoding="utf-8")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=rf"of another shape or type: {path}\.bias, {path}\.weight"):
        load_model(folder)
    # The matrix would be 3.6 GB; kilobytes are counted here.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000


def test_a_bit_that_turned_over_in_the_weights_is_seen(make_model: Callable, tmp_path: Path) -> None:
    folder = saved(make_model("bert", layers=1), tmp_path / "saved")
    write_manifest(folder, {}, key="k")
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InputError, match=r"is damaged: model\.safetensors has changed"):
        compress.load(folder)
    assert compress.load(folder, verify=False) is not None
    with pytest.raises(InputError, match="is damaged"):
        FolderTeacher(path=str(folder)).look(TextClassification(text="text", label="label", max_length=8), None)


def test_links_lead_nowhere_else_but_in_the_hubs_cache(checkpoint: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("config.json", WEIGHTS, "tokenizer.json"):
        (checkpoint / name).rename(elsewhere / name)
        (checkpoint / name).symlink_to(elsewhere / name)
        with pytest.raises(InputError, match=rf"{name} is a link to .*elsewhere"):
            check_checkpoint(checkpoint)
        (checkpoint / name).unlink()
        (elsewhere / name).rename(checkpoint / name)
    snapshot = tmp_path / "models--a--b" / "snapshots" / "0123"
    shutil.copytree(checkpoint, snapshot)
    (tmp_path / "models--a--b" / "blobs").mkdir()
    for name in ("config.json", WEIGHTS):
        (snapshot / name).rename(tmp_path / "models--a--b" / "blobs" / name)
        (snapshot / name).symlink_to(Path("..") / ".." / "blobs" / name)
    check_checkpoint(snapshot)


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(checkpoint: Path) -> None:
    for name in ("config.json", WEIGHTS):
        kept = (checkpoint / name).read_bytes()
        (checkpoint / name).unlink()
        os.mkfifo(checkpoint / name)
        with pytest.raises(InputError):
            check_checkpoint(checkpoint)
        (checkpoint / name).unlink()
        (checkpoint / name).write_bytes(kept)


@pytest.mark.parametrize(
    ("model_type", "name"), [("qwen3_moe", "num_experts"), ("mixtral", "num_local_experts"), ("llama", "num_experts")]
)
def test_a_mixture_of_experts_is_refused_by_name(model_type: str, name: str, tmp_path: Path) -> None:
    settings = {"model_type": model_type, "architectures": [], name: 8}
    (tmp_path / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(InputError, match=f"{model_type} model with {name}=8: a mixture of experts"):
        read_config(tmp_path)
