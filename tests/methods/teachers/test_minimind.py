"""minimind's own checkpoints, read as the models of Transformers that they are."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from compress.core.errors import InputError
from compress.methods.teachers.converted import plain_folder
from compress.methods.teachers.folder import FolderTeacher
from compress.methods.teachers.minimind import plain_settings
from compress.tasks.causal_lm import CausalLanguageModel

TASK = CausalLanguageModel(text="text", max_length=12, prompt_tokens=4, new_tokens=3)
# As minimind's third release writes them.
SETTINGS = {
    "model_type": "minimind",
    "architectures": ["MiniMindForCausalLM"],
    "auto_map": {"AutoModelForCausalLM": "model_minimind.MiniMindForCausalLM"},
    "dropout": 0.0,
    "flash_attn": True,
    "hidden_act": "silu",
    "hidden_size": 32,
    "intermediate_size": 64,
    "inference_rope_scaling": False,
    "rope_scaling": None,
    "max_position_embeddings": 64,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "use_moe": False,
    "vocab_size": 34,
    "bos_token_id": 2,
    "eos_token_id": 3,
}
SHARED = {name: value for name, value in SETTINGS.items() if name not in ("model_type", "architectures", "auto_map")}
TEMPLATE = "{% for turn in messages %}<{{ turn.role }}>{{ turn.content }}{% endfor %}"


def _checkpoint(folder: Path, model_type: str, make_tokenizer: Callable, **settings: Any) -> PreTrainedModel:
    """A folder as minimind leaves it, and the model of Transformers that it is."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, head_dim=8, tie_word_embeddings=True, **SHARED)
    model = AutoModelForCausalLM.from_config(config).eval()
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink()
    (folder / "config.json").write_text(json.dumps({**SETTINGS, **settings}), encoding="utf-8")
    (folder / "model_minimind.py").write_text("raise SystemExit('the code of the checkpoint was run')\n")
    tokenizer = make_tokenizer()
    tokenizer.eos_token, tokenizer.chat_template = "[SEP]", TEMPLATE
    tokenizer.save_pretrained(folder)
    return model


@pytest.mark.parametrize("model_type", ["qwen3", "llama"])
def test_it_is_the_model_of_transformers(model_type: str, tmp_path: Path, make_tokenizer: Callable) -> None:
    expected = _checkpoint(tmp_path, model_type, make_tokenizer)
    teacher = FolderTeacher(path=str(tmp_path))
    config, processor = teacher.read(TASK, Dataset.from_dict({"text": []}))
    assert (config.model_type, config.num_key_value_heads, config.head_dim) == (model_type, 2, 8)
    found = teacher.look(TASK, config)
    tokens = torch.tensor([[5, 9, 20, 33, 7]])
    with torch.no_grad():
        assert torch.equal(found(tokens).logits, expected(tokens).logits)
    # The template, and the tokens that are special, are kept.
    assert (processor.chat_template, processor.eos_token_id) == (TEMPLATE, 3)
    # What was there is left as it was.
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["model_type"] == "minimind"


def test_the_same_folder_is_the_same_model_in_another_process(tmp_path: Path, make_tokenizer: Callable) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        _checkpoint(folder, "qwen3", make_tokenizer)
    found = [FolderTeacher(path=str(folder)) for folder in (one, other)]
    assert found[0].folder != found[1].folder and found[0].identity() == found[1].identity()
    # It is written once.
    assert found[0].folder == found[0].folder
    _checkpoint(one, "qwen3", make_tokenizer, rope_theta=10000.0)
    assert found[0].identity() != found[1].identity()


def test_what_is_wrong_with_it_is_told_by_its_own_name(tmp_path: Path, make_tokenizer: Callable) -> None:
    _checkpoint(tmp_path, "qwen3", make_tokenizer)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).unlink()
    with pytest.raises(InputError, match="tokenizer") as refused:
        FolderTeacher(path=str(tmp_path)).read(TASK, Dataset.from_dict({"text": []}))
    assert str(tmp_path) in str(refused.value) and "compress-model-" not in str(refused.value)


def test_what_a_release_does_not_say_is_as_it_computes() -> None:
    weights = ["model.layers.0.self_attn.q_proj.weight"]
    plain = plain_settings(SETTINGS, weights, Path("DIR"))
    # 32 wide, 4 heads.
    assert (plain["head_dim"], plain["tie_word_embeddings"], plain["model_type"]) == (8, True, "llama")
    assert "use_moe" not in plain and "auto_map" not in plain
    normed = [*weights, "model.layers.0.self_attn.q_norm.weight"]
    assert plain_settings({**SETTINGS, "head_dim": 16}, normed, Path("DIR"))["head_dim"] == 16


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"use_moe": True}, "a mixture of experts"),
        ({"inference_rope_scaling": True}, "stretches positions"),
        ({"num_attention_heads": 0}, "sets num_attention_heads to 0; it is a whole number"),
        ({"hidden_size": "32"}, "sets hidden_size to '32'"),
        ({"hidden_size": [32]}, r"sets hidden_size to \[32\]"),
        ({"num_key_value_heads": None}, "does not say num_key_value_heads"),
    ],
)
def test_what_cannot_be_told_otherwise_is_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        plain_settings({**SETTINGS, **settings}, [], Path("DIR"))


@pytest.mark.parametrize("by_folder", [False, True])
def test_the_two_lines_convert_a_pickle(by_folder: bool, tmp_path: Path, make_tokenizer: Callable) -> None:
    expected = _checkpoint(tmp_path / "DIR", "qwen3", make_tokenizer)
    (tmp_path / "trained").mkdir()
    pickle = tmp_path / "trained" / "full_sft_32.pth"
    torch.save(expected.state_dict(), pickle)
    (tmp_path / "DIR" / "config.json").rename(tmp_path / "trained" / "config.json")
    (tmp_path / "DIR" / "model.safetensors").unlink()
    with pytest.raises(InputError, match="pickles can run code") as refused:
        plain_folder(pickle.parent if by_folder else pickle)
    first, second, *lines = re.findall("`(.*?)`", str(refused.value))
    assert len(lines) == 2
    lines = [line.replace("DIR/", f"{tmp_path}/DIR/") for line in lines]
    exec("\n".join([first, second, *lines]), {})
    found = load_file(tmp_path / "DIR" / "model.safetensors")
    assert torch.equal(found["model.layers.1.mlp.up_proj.weight"], expected.model.layers[1].mlp.up_proj.weight)
