"""`compress-export`: an exported folder as GGUF, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from compress.cli.commands.export import main
from compress.core.errors import StageError
from compress.core.manifest import require_undamaged, write_manifest
from compress.nn.checkpoint import save_model
from compress.nn.family import layers_of
from compress.nn.surgery import keep_neurons
from compress.runtimes.gguf.form import require_written
from compress.tasks.text import save_tokenizer

gguf = pytest.importorskip("gguf", reason="the package gguf is not installed: pip install '.[gguf]'")


def exported(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> Path:
    """A run's folder with an export of this model."""
    export = folder / "run" / "export"
    export.mkdir(parents=True)
    tokenizer.pad_token = tokenizer.eos_token
    save_model(model, export)
    save_tokenizer(tokenizer, export, max_length=64)
    write_manifest(export, {}, key="k")
    return folder / "run"


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("model_type", ["llama", "qwen3"])
def test_a_run_becomes_a_file_with_its_integers(
    model_type: str,
    make_decoder: Callable[..., PreTrainedModel],
    quantize_in_blocks: Callable[[PreTrainedModel], PreTrainedModel],
    byte_level: PreTrainedTokenizerFast,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = quantize_in_blocks(make_decoder(model_type))
    run = exported(model, byte_level, tmp_path)
    main([str(run), "--to", "gguf", "--out", str(tmp_path / "out")])
    told = capsys.readouterr().out
    assert "equal byte for byte" in told and "in Q8_0" in told and "in Q4_0" in told
    require_undamaged(tmp_path / "out")
    found = {tensor.name: tensor for tensor in gguf.GGUFReader(tmp_path / "out" / "model.gguf").tensors}
    weight = layers_of(model)[0].part("value").weight
    assert isinstance(weight, torch.Tensor)
    again = gguf.dequantize(found["blk.0.attn_v.weight"].data, found["blk.0.attn_v.weight"].tensor_type)
    assert (again == weight.numpy()).all()


def test_a_file_that_holds_another_weight_is_found_out(
    make_decoder: Callable[..., PreTrainedModel],
    quantize_in_blocks: Callable[[PreTrainedModel], PreTrainedModel],
    byte_level: PreTrainedTokenizerFast,
    tmp_path: Path,
) -> None:
    model = quantize_in_blocks(make_decoder("llama"))
    main([str(exported(model, byte_level, tmp_path)), "--to", "gguf", "--out", str(tmp_path / "out")])
    path = tmp_path / "out" / "model.gguf"
    assert require_written(model, path)
    last = max(gguf.GGUFReader(path).tensors, key=lambda tensor: tensor.data_offset)
    data = bytearray(path.read_bytes())
    data[last.data_offset] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(StageError, match="is not the one that was written"):
        require_written(model, path)


def test_what_cannot_have_the_form_leaves_nothing(
    make_decoder: Callable[..., PreTrainedModel],
    byte_level: PreTrainedTokenizerFast,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = make_decoder("llama")
    keep_neurons(model, layers_of(model)[0], torch.arange(32))
    run = exported(model, byte_level, tmp_path)
    assert refusal([str(run), "--to", "gguf", "--out", str(tmp_path / "out")], capsys)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_bad_input(
    make_decoder: Callable[..., PreTrainedModel],
    byte_level: PreTrainedTokenizerFast,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = exported(make_decoder("llama"), byte_level, tmp_path)
    out = str(tmp_path / "out")
    assert "--to is 'ggfu'" in refusal([str(run), "--to", "ggfu", "--out", out], capsys)
    assert "no run with an export" in refusal([str(tmp_path), "--to", "gguf", "--out", out], capsys)
    assert "is there already" in refusal([str(run), "--to", "gguf", "--out", str(run)], capsys)
    assert "a folder that is not there" in refusal([str(run), "--to", "gguf", "--out", f"{out}/a/b"], capsys)
    weights = run / "export" / "model.safetensors"
    data = np.fromfile(weights, dtype=np.uint8)
    data[-1] ^= 1
    data.tofile(weights)
    assert "model.safetensors" in refusal([str(run), "--to", "gguf", "--out", out], capsys)
