"""A run that trims a language model's vocabulary and rounds its weights: another tokenizer, the same text judged."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

import compress
from compress.cli.commands.run import main

WORDS = [f"{a}{b}" for a in ("ka", "lo", "mi", "nu", "pe", "ra") for b in ("s", "t", "n", "m", "r")]
# In texts that only the tokenizer has seen, and in some that judge.
FOREIGN = ["vixen", "wizard", "queue"]
QUICK = (
    "workload.prompt_tokens=4",
    "workload.new_tokens=3",
    "data.max_length=12",
    "order=[vocabulary,quantize]",
    "+stage/prune@stages.vocabulary=vocabulary",
    "gate.on_failure=warn",
    "measurement.launches=1",
    "measurement.rounds=2",
    "measurement.examples=2",
    "runtime.threads=1",
    "blame_seconds=4",
    "device=cpu",
)


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory,
    make_byte_level: Callable[..., PreTrainedTokenizerFast],
    make_decoder: Callable[..., PreTrainedModel],
) -> Path:
    place = tmp_path_factory.mktemp("trimmed")
    draw = np.random.default_rng(0)
    texts = [" ".join(draw.choice(WORDS, size=draw.integers(5, 30))) for _ in range(40)]
    tokenizer = make_byte_level([*texts, " ".join(FOREIGN * 20)], 400)
    tokenizer.save_pretrained(place / "model")
    size = len(tokenizer)
    model = make_decoder(
        "qwen3", vocab_size=size + 7, tie_word_embeddings=True, eos_token_id=0, bos_token_id=size - 1, pad_token_id=0
    )
    model.save_pretrained(place / "model")
    judging = texts[30:36] + [f"{text} {' '.join(draw.choice(FOREIGN, size=3))} {WORDS[0]}" for text in texts[36:]]
    (place / "train.txt").write_text("\n\n".join(texts[:30]), encoding="utf-8")
    (place / "validation.txt").write_text("\n\n".join(judging), encoding="utf-8")
    (place / "alike.txt").write_text("\n\n".join(texts[:20]), encoding="utf-8")
    return place


def _run(place: Path, folder: str, *more: str) -> Path:
    files = [f"data.{name}={name}.txt" for name in ("train", "validation")]
    told = [f"hydra.run.dir={folder}", f"store={place / 'store'}", "model.path=model", *files]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(sys, "argv", ["compress", "-cn", "causal_lm", *told, *QUICK, *more])
        with pytest.raises(SystemExit) as stopped:
            main()
    if stopped.value.code:
        raise stopped.value
    return place / folder


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    return _run(place, "run")


def _rows(run: Path) -> list[Any]:
    return [json.loads(line) for line in (run / "ledger.jsonl").read_text(encoding="utf-8").splitlines()]


def test_the_same_text_is_judged(run: Path) -> None:
    teacher, trimmed, quantized = _rows(run)
    assert [row["stage"] for row in (teacher, trimmed, quantized)] == ["teacher", "vocabulary", "quantize"]
    assert "tokens_against_teacher" not in teacher["figures"]
    # The foreign words are spelled letter by letter: more tokens for as many bytes.
    assert 1.05 < trimmed["figures"]["tokens_against_teacher"] < 2
    bits = [row["figures"]["bits_per_byte"] / -row["log_likelihood"] for row in (teacher, trimmed, quantized)]
    assert bits == pytest.approx([bits[0]] * 3)
    assert 0 < trimmed["figures"]["kl_divergence"] < 0.5 and 0.5 < trimmed["figures"]["same_top_token"] <= 1
    assert trimmed["parameters"] < teacher["parameters"]
    assert any("tokens kept" in note for note in trimmed["notes"])


def test_the_export_reads_and_writes_any_text(run: Path) -> None:
    export = run / "export"
    tokenizer, before = AutoTokenizer.from_pretrained(export), AutoTokenizer.from_pretrained(run.parent / "model")
    config = json.loads((export / "config.json").read_text(encoding="utf-8"))
    assert config["vocab_size"] == len(tokenizer) < len(before)
    # What the configuration names has another number now.
    named = before.convert_ids_to_tokens(len(before) - 1)
    assert tokenizer.convert_ids_to_tokens(config["bos_token_id"]) == named
    genai = json.loads((export / "genai_config.json").read_text(encoding="utf-8"))["model"]
    assert (genai["vocab_size"], genai["bos_token_id"]) == (len(tokenizer), config["bos_token_id"])
    text = "kas vixen \u00e9\U0001f600"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    alone = tokenizers.Tokenizer.from_file(str(export / "tokenizer.json"))
    assert alone.encode(text).ids == tokenizer(text)["input_ids"]
    model = compress.load(export)
    with torch.no_grad():
        assert model(input_ids=torch.tensor([alone.encode(text).ids])).logits.shape[-1] == len(tokenizer)


def test_lines_of_the_card_go_on_with_a_text(run: Path) -> None:
    export = run / "export"
    (lines,) = re.findall(r"```python\n(.*?)```", (export / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = lines.replace("Put the beginning of a text here.", "kas vixen")
    done = subprocess.run([sys.executable, "-c", lines], cwd=export, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("kas vixen")


def test_a_text_that_uses_no_removed_token_is_read_alike(place: Path) -> None:
    _, trimmed = _rows(_run(place, "alike", "data.validation=alike.txt", "order=[vocabulary]", "data.repeated=keep"))
    assert "tokens_against_teacher" not in trimmed["figures"]


def test_llama_cpp_gets_the_new_tokens(run: Path) -> None:
    gguf = pytest.importorskip("gguf", reason="the package gguf is not installed: pip install '.[gguf]'")
    from compress.runtimes.gguf.form import GgufForm
    from compress.runtimes.gguf.vocabulary import gguf_vocabulary

    tokenizer = AutoTokenizer.from_pretrained(run / "export")
    assert gguf is not None and GgufForm.name == "gguf"
    told = gguf_vocabulary(tokenizer, len(tokenizer))
    assert list(told.tokens) == tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    known = set(told.tokens)
    assert all({left, right, left + right} <= known for left, right in (merge.split(" ") for merge in told.merges))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("order=[vocabulary,distill,quantize] stages.distill.layers=2", "puts distill after vocabulary: it learns"),
        ("stages.quantize.recovery_epochs=1", "puts quantize after vocabulary: it learns from the teacher"),
        ("order=[quantize,vocabulary]", "puts vocabulary after quantize: rows of int8 embeddings are not cut"),
        ("stages.vocabulary.keep_characters=false", "keep_characters is false"),
        ("stages.vocabulary.most_tokens=100", "most_tokens is 100; special tokens, single characters, and what"),
    ],
)
def test_bad_input_exits_2(place: Path, settings: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        _run(place, "refused", *settings.split())
    assert stopped.value.code == 2
    assert told in capsys.readouterr().err
