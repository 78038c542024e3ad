"""What an export's tokenizer.json gives, read by the library `tokenizers` alone, is what was measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, normalizers

from compress.core.errors import InputError
from compress.tasks.text import load_tokenizer, save_tokenizer

LONG = "kas kat kan kam kar los lot lon"


def stock(tokenizer: Any, folder: Path, max_length: int = 6) -> Tokenizer:
    folder.mkdir(exist_ok=True)
    save_tokenizer(tokenizer, folder, max_length=max_length)
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


@pytest.mark.parametrize(("side", "kept"), [("right", "kas kat kan kam"), ("left", "kar los lot lon")])
def test_texts_are_cut_on_the_side_that_was_measured(tokenizer: Any, tmp_path: Path, side: str, kept: str) -> None:
    tokenizer.truncation_side = side
    saved = stock(tokenizer, tmp_path / "saved")
    assert saved.encode(LONG).tokens == ["[CLS]", *kept.split(), "[SEP]"]
    assert saved.encode(LONG).ids == tokenizer(LONG, truncation=True, max_length=6)["input_ids"]
    # A stage that reads it back, and saves it once more, keeps it so.
    again = load_tokenizer(tmp_path / "saved")
    assert stock(again, tmp_path / "again").encode(LONG).ids == saved.encode(LONG).ids


def test_a_stride_a_length_and_padding_of_its_own_are_not_what_is_measured(tokenizer: Any, tmp_path: Path) -> None:
    tokenizer.backend_tokenizer.enable_truncation(5, stride=2, strategy="only_first", direction="left")
    tokenizer.backend_tokenizer.enable_padding(length=40)
    tokenizer.padding_side = "left"
    saved = stock(tokenizer, tmp_path / "saved")
    assert saved.encode("kas").tokens == ["[CLS]", "kas", "[SEP]"]
    assert saved.encode(LONG, LONG).tokens == ["[CLS]", "kas", "[SEP]", "kas", "kat", "[SEP]"]
    assert saved.truncation["stride"] == 0 and saved.padding is None
    assert load_tokenizer(tmp_path / "saved").padding_side == "left"


def test_flags_of_added_tokens_and_what_is_done_to_letters_survive(tokenizer: Any, tmp_path: Path) -> None:
    tokenizer.add_tokens([AddedToken("<x>", lstrip=True, rstrip=False, single_word=True, normalized=False)])
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.StripAccents()])
    saved = stock(tokenizer, tmp_path / "saved")
    text = "KAS <x> k<x> <X>"
    assert saved.encode(text).ids == tokenizer(text, truncation=True, max_length=6)["input_ids"]
    assert saved.encode(text).ids == [2, 4, 34, 1, 1, 3]


def test_what_tokenizer_json_cannot_say_is_refused_by_name(
    make_tokenizer: Callable[[], Any], checkpoint: Path, tmp_path: Path
) -> None:
    tokenizer = make_tokenizer()
    tokenizer.split_special_tokens = True
    with pytest.raises(InputError, match=r"\[PAD\].* gives other tokens .*split_special_tokens=True"):
        stock(tokenizer, tmp_path / "saved")
    # Before any work, from a folder of the user's.
    path = checkpoint / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**settings, "split_special_tokens": True}), encoding="utf-8")
    with pytest.raises(InputError, match="split_special_tokens=True"):
        load_tokenizer(checkpoint)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("tokenizer.json", "{", "tokenizer.json is malformed: line 1"),
        ("tokenizer.json", '{"version": "1.0"}', "tokenizer cannot be loaded"),
        ("tokenizer.json", '{"a":' * 5000 + "1" + "}" * 5000, "nested deeper than 64"),
        (
            "tokenizer_config.json",
            '{"auto_map": {"AutoTokenizer": ["mine.Mine", null]}}',
            "auto_map to .*have code run",
        ),
        ("tokenizer_config.json", '{"tokenizer_class": ["a"]}', "tokenizer cannot be loaded"),
        ("tokenizer_config.json", '{"pad_token": "\\ud800"}', "half of a character"),
        ("tokenizer_config.json", '{"truncation_side": "up", "pad_token": "[PAD]"}', "tokenizer cannot be loaded"),
        ("tokenizer_config.json", '{"model_max_length": "x", "pad_token": "[PAD]"}', "tokenizer cannot read a text"),
        ("special_tokens_map.json", "[1]", "special_tokens_map.json is malformed"),
    ],
)
def test_a_tokenizer_that_is_none_is_refused(checkpoint: Path, name: str, content: str, told: str) -> None:
    (checkpoint / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=told):
        load_tokenizer(checkpoint)


def test_a_tokenizer_elsewhere_is_not_followed(checkpoint: Path, tmp_path: Path) -> None:
    (checkpoint / "tokenizer.json").rename(tmp_path / "elsewhere.json")
    (checkpoint / "tokenizer.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(InputError, match=r"tokenizer\.json is a link to .*elsewhere\.json"):
        load_tokenizer(checkpoint)


@pytest.mark.parametrize("how", ["normalizer", "post_processor", "pre_tokenizer"])
def test_what_a_tokenizer_does_not_survive_is_told_by_the_folder(checkpoint: Path, how: str) -> None:
    path = checkpoint / "tokenizer.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    parts = {
        "normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"},
        "post_processor": {"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {"x": 1}},
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(("}, "behavior": "Isolated", "invert": False},
    }
    path.write_text(json.dumps({**settings, how: parts[how]}), encoding="utf-8")
    with pytest.raises(InputError, match=r"teacher, whose tokenizer cannot"):
        load_tokenizer(checkpoint)
