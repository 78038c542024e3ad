"""A tiny language model cut to layers of one size: plain loaders, GGUF and GenAI take it, and refuse an uneven one."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

import compress
from compress.cli.commands import export
from compress.cli.commands.run import main
from compress.core.structure import Structure
from compress.measure import decoder_table
from compress.measure.bystanders import Company
from compress.measure.decoder_table import Request
from compress.nn.family import layers_of

from .quick import LANGUAGE_MODEL

TEXT = "the quick brown fox jumps over the lazy dog and packs a box with five dozen liquor jugs"
QUICK = (*LANGUAGE_MODEL, "objective.speedup=3", "order=[prune,quantize]")


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory,
    make_decoder: Callable[..., PreTrainedModel],
    make_byte_level: Callable[..., PreTrainedTokenizerFast],
) -> Path:
    """A Llama with four layers, 4 heads of 16 that share 2 keys and values, 96 neurons, whose last layer does little;
    and a corpus."""
    place = tmp_path_factory.mktemp("uniform")
    tokenizer = make_byte_level([TEXT], 320)
    model = make_decoder(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        head_dim=16,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        initializer_range=0.1,
    )
    with torch.no_grad():
        # So that layers matter unequally, and the best cut is uneven.
        for number, layer in enumerate(layers_of(model)):
            layer.part("ffn_out").weight.mul_((0.2, 2.0, 0.05, 1.0)[number])
            layer.part("attention_output").weight.mul_((2.0, 0.2, 0.05, 1.0)[number])
    model.save_pretrained(place / "model")
    tokenizer.save_pretrained(place / "model")
    draw = np.random.default_rng(0)
    texts = [" ".join(draw.choice(TEXT.split(), size=draw.integers(8, 30))) for _ in range(40)]
    (place / "corpus.txt").write_text("\n\n".join(texts), encoding="utf-8")
    return place


def _priced(
    runtime: Any, parts: Iterator[tuple[Any, PreTrainedModel]], teacher: Path, signature: Any, retry_seconds: float
) -> tuple[dict[Any, Request], Company]:
    """A machine on which each layer takes 1 ms for each group of keys and values and 1 for its neurons; FP32: twice."""

    def request(layers: Sequence[tuple[int, int]], times: int) -> Request:
        work = times * sum(groups + neurons / 96 for groups, neurons in layers)
        return Request(1 + 0.25 * work, 0.75 * work)

    found = {("teacher", 0): request([(2, 96)] * 4, 2)}
    for key, part in parts:
        found[key] = request([(layer.heads, layer.neurons) for layer in layers_of(part)], 1)
    return found, {"foreign_share": None, "disturbed": None}


def _run(place: Path, folder: str, *more: str) -> Path:
    told = [f"hydra.run.dir={folder}", f"store={place / 'store'}", "model.path=model", "data.train=corpus.txt"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoder_table, "_time", _priced)
        patch.chdir(place)
        patch.setattr(sys, "argv", ["compress", "-cn", "causal_lm", *told, *QUICK, *more])
        with pytest.raises(SystemExit) as stopped:
            main()
    assert not stopped.value.code
    return place / folder


@pytest.fixture(scope="module")
def uniform(place: Path) -> Path:
    return _run(place, "uniform", "stages.prune.uniform=true")


@pytest.fixture(scope="module")
def uneven(place: Path) -> Path:
    return _run(place, "uneven")


def _sizes(model: PreTrainedModel) -> list[tuple[int, int]]:
    return [(layer.query_heads, layer.neurons) for layer in layers_of(model)]


def test_the_configuration_says_all_of_it(uniform: Path) -> None:
    sizes = _sizes(compress.load(uniform / "export"))
    assert len(set(sizes)) == 1 and (len(sizes) < 4 or sizes[0] != (4, 96))
    config = json.loads((uniform / "export" / "config.json").read_text(encoding="utf-8"))
    told = [config[name] for name in ("num_attention_heads", "intermediate_size", "num_hidden_layers", "head_dim")]
    assert told == [*sizes[0], len(sizes), 16]
    genai = json.loads((uniform / "export" / "genai_config.json").read_text(encoding="utf-8"))["model"]["decoder"]
    assert genai["num_key_value_heads"] == config["num_key_value_heads"] == sizes[0][0] // 2


def test_it_becomes_gguf_and_a_plain_folder(uniform: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gguf", reason="the package gguf is not installed: pip install '.[gguf]'")
    export.main([str(uniform), "--to", "gguf", "--out", str(tmp_path / "gguf")])
    assert "equal byte for byte" in capsys.readouterr().out
    # Compared, by the command, with what was judged.
    export.main([str(uniform), "--to", "transformers", "--out", str(tmp_path / "plain")])
    assert "scaled back to FP32" in capsys.readouterr().out
    assert "generate(" in (tmp_path / "plain" / "README.md").read_text(encoding="utf-8")
    plain, told = LlamaForCausalLM.from_pretrained(tmp_path / "plain", output_loading_info=True)
    assert not told["missing_keys"] and not told["unexpected_keys"]
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    with torch.no_grad():
        ours, theirs = compress.load(uniform / "export")(ids).logits, plain(ids).logits
    # Integers are the same ones.
    torch.testing.assert_close(ours, theirs, rtol=0.05, atol=0.02)


def test_in_float_the_export_itself_is_plain(place: Path) -> None:
    folder = _run(place, "float", "stages.prune.uniform=true", "order=[prune]") / "export"
    assert Structure.from_json(json.loads((folder / "structure.json").read_text(encoding="utf-8"))).is_plain
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    with torch.no_grad():
        ours, theirs = (
            model(ids).logits for model in (compress.load(folder), LlamaForCausalLM.from_pretrained(folder))
        )
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("form", ["gguf", "transformers"])
def test_what_is_uneven_is_refused_with_the_way_out(
    uneven: Path, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(set(_sizes(compress.load(uneven / "export")))) > 1
    if form == "gguf":
        pytest.importorskip("gguf", reason="the package gguf is not installed: pip install '.[gguf]'")
    with pytest.raises(SystemExit) as stopped:
        export.main([str(uneven), "--to", form, "--out", str(tmp_path / "out")])
    assert stopped.value.code == 2
    assert "stages.prune.uniform=true" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_run_tells_of_uneven_layers(uneven: Path, uniform: Path) -> None:
    notes = {
        folder: json.loads((folder / "ledger.jsonl").read_text(encoding="utf-8").splitlines()[1])["notes"]
        for folder in (uneven, uniform)
    }
    genai = (uneven / "export" / "genai_config.json").exists()
    refused = "from_pretrained and GGUF refuse them"
    if not genai:
        refused = "from_pretrained, GGUF and ONNX Runtime GenAI refuse them (there is no genai_config.json)"
    assert any(f"left: {refused}; stages.prune.uniform=true" in note for note in notes[uneven])
    assert not any("different sizes" in note for note in notes[uniform])
