"""What stays of a language model's vocabulary, and which are refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from compress.core.errors import InputError
from compress.tasks.vocabulary.byte_level import ByteLevelVocabulary

TEXTS = ["the cat sat on the mat and the catalogue was there", "user and assistant are other words"]
CHAT = "{% for turn in messages %}{{ '<|end|>' + turn.role + ' ' + turn.content }}{% endfor %}"


@pytest.fixture(scope="module")
def original(make_byte_level: Callable[..., PreTrainedTokenizerFast]) -> PreTrainedTokenizerFast:
    return make_byte_level(TEXTS, 320)


@pytest.fixture(scope="module")
def trimmed(original: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    vocabulary = ByteLevelVocabulary(original)
    kept = vocabulary.required(characters=True) | vocabulary.with_parts(original("the cat")["input_ids"])
    return vocabulary.keep(sorted(kept))


def test_tokens_stay_with_what_they_are_merged_from(trimmed: PreTrainedTokenizerFast) -> None:
    # After the end and 256 bytes: th, the; at, and of " cat" what it was merged from.
    names = trimmed.convert_ids_to_tokens(list(range(257, len(trimmed))))
    assert {"the", "\u0120cat"} <= set(names) and len(names) <= 6
    assert trimmed.convert_ids_to_tokens(trimmed("the cat sat")["input_ids"]) == [
        "the",
        "\u0120cat",
        "\u0120",
        "s",
        "at",
    ]


@given(text=st.text(max_size=40))
@settings(deadline=None, max_examples=60)
def test_every_text_can_still_be_written(
    text: str, original: PreTrainedTokenizerFast, trimmed: PreTrainedTokenizerFast
) -> None:
    ids = trimmed(text, add_special_tokens=False)["input_ids"]
    assert trimmed.backend_tokenizer.decode(ids, skip_special_tokens=False) == text
    same = original.convert_ids_to_tokens(original(text)["input_ids"])
    if set(same) <= trimmed.get_vocab().keys():
        assert trimmed.convert_ids_to_tokens(ids) == same


def test_nothing_stays_for_the_number_of_the_padding(original: PreTrainedTokenizerFast) -> None:
    last = original.add_tokens(["<|pad|>"]) and original.convert_tokens_to_ids("<|pad|>")
    before = original.pad_token
    original.pad_token = "<|pad|>"
    try:
        assert last == len(original) - 1
        assert len(ByteLevelVocabulary(original).required(characters=True)) == 258
    finally:
        original.pad_token = before


def test_what_a_template_writes_stays(make_byte_level: Callable[..., PreTrainedTokenizerFast]) -> None:
    tokenizer = make_byte_level(TEXTS * 3, 330)
    assert len(ByteLevelVocabulary(tokenizer).required(characters=True)) == 257
    tokenizer.chat_template = CHAT
    names = tokenizer.convert_ids_to_tokens(sorted(ByteLevelVocabulary(tokenizer).required(characters=True)))
    assert "user" in names and "\u0120cat" not in names
    tokenizer.chat_template = "{{ raise_exception('never') }}"
    assert len(ByteLevelVocabulary(tokenizer).required(characters=True)) == 257


def test_other_tokenizers_are_refused_by_name(original: PreTrainedTokenizerFast) -> None:
    with pytest.raises(InputError, match=r"keep_characters is false; .* Use true"):
        ByteLevelVocabulary(original).required(characters=False)
    whole = Tokenizer(models.WordLevel({"<unk>": 0}, "<unk>"))
    with pytest.raises(InputError, match=r"the tokenizer is WordLevel; .* byte-level BPE"):
        ByteLevelVocabulary(PreTrainedTokenizerFast(tokenizer_object=whole, pad_token="<unk>"))
    sentence_piece = Tokenizer(models.BPE({"a": 0, "<0x00>": 1}, [], byte_fallback=True))
    with pytest.raises(InputError, match=r"BPE with byte_fallback, as of SentencePiece \(Gemma, Llama 2\)"):
        ByteLevelVocabulary(PreTrainedTokenizerFast(tokenizer_object=sentence_piece))
    plain = Tokenizer(models.BPE({"a": 0}, []))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(InputError, match="byte-level BPE"):
        ByteLevelVocabulary(PreTrainedTokenizerFast(tokenizer_object=plain))
