from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, processors
from transformers import BertTokenizer, PreTrainedTokenizerFast

from compress.core.errors import InputError
from compress.tasks.text_classification import TextClassification
from compress.tasks.vocabulary.tokenizer import TokenizerVocabulary

# A word of the sentences, a part of one, letters that were seen, or anything.
WORDS = ["the", "striker", "scored", "shares", "forecasts", "forecasting", "profit", "company", "second", "rising"]
WORD = st.one_of(
    st.sampled_from(WORDS),
    st.sampled_from(["scor", "profi", "forecaster", "compan", "secondly", "thestriker", "riseres"]),
    st.text(alphabet="abcdefghilmnoprstw", min_size=1, max_size=8),
    st.text(min_size=1, max_size=4),
)
TEXT = st.lists(WORD, min_size=1, max_size=8).map(" ".join)


def names_of(tokenizer: Any, text: str | Sequence[str]) -> list[str]:
    ids = tokenizer(text)["input_ids"] if isinstance(text, str) else tokenizer(*text)["input_ids"]
    return tokenizer.convert_ids_to_tokens(ids)


def spelled(tokens: Sequence[str]) -> str:
    return "".join(token.removeprefix("##") for token in tokens)


@cache
def trimmed_to(original: Any, texts: tuple[str, ...], characters: bool = True) -> tuple[frozenset[int], Any]:
    """What is kept of a vocabulary for some texts, and the tokenizer that remains."""
    vocabulary = TokenizerVocabulary(original)
    seen = {number for text in texts for number in original(text)["input_ids"]}
    kept = vocabulary.with_parts(vocabulary.required(characters=characters) | seen)
    return kept, vocabulary.keep(sorted(kept))


@pytest.fixture
def halved(original: Any, sentences: tuple[str, ...]) -> tuple[frozenset[int], Any]:
    """The vocabulary of the first two sentences."""
    return trimmed_to(original, sentences[:2])


def test_something_leaves(original: Any, halved: tuple[frozenset[int], Any]) -> None:
    kept, trimmed = halved
    assert len(trimmed) == len(kept) < len(original)


def test_texts_that_were_kept_for_read_as_before(
    original: Any, halved: tuple[frozenset[int], Any], sentences: tuple[str, ...]
) -> None:
    for text in sentences[:2]:
        assert names_of(halved[1], text) == names_of(original, text)
    changed = [text for text in sentences[2:] if names_of(halved[1], text) != names_of(original, text)]
    assert changed


# The fixtures never change.
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXT)
def test_tokens_that_were_kept_are_found_again_and_others_are_spelled(
    algorithm: str, original: Any, halved: tuple[frozenset[int], Any], text: str
) -> None:
    kept, trimmed = halved
    before, after = names_of(original, text), names_of(trimmed, text)
    if set(original(text)["input_ids"]) <= kept:
        assert after == before
    elif algorithm == "WordLevel":
        # Word by word: what is left is the same word, or unknown.
        assert all(new in (old, "[UNK]") for old, new in zip(before, after, strict=True))
    elif original.unk_token not in before:
        assert spelled(after) == spelled(before)
        assert trimmed.unk_token not in after


def test_special_tokens_stand_where_they_stood(original: Any, halved: tuple[frozenset[int], Any]) -> None:
    trimmed = halved[1]
    for name in ("pad_token", "unk_token", "cls_token", "sep_token"):
        assert getattr(trimmed, name) == getattr(original, name)
        assert trimmed.convert_ids_to_tokens(getattr(trimmed, f"{name}_id")) == getattr(original, name)
    pair = ("the striker", "scored twice")
    assert names_of(trimmed, pair) == names_of(original, pair)
    assert names_of(trimmed, "the")[0] == names_of(original, "the")[0]


def test_a_saved_one_reads_the_same_in_transformers_and_without(
    halved: tuple[frozenset[int], Any], sentences: tuple[str, ...], tmp_path: Path
) -> None:
    task, trimmed = TextClassification(text="text", label="label", max_length=64), halved[1]
    task.save_processor(trimmed, tmp_path)
    loaded = task.load_processor(tmp_path)
    plain = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert len(loaded) == len(trimmed) == plain.get_vocab_size()
    for text in (*sentences, "naïve ☃ 漢字"):
        expected = trimmed(text)["input_ids"]
        assert loaded(text)["input_ids"] == expected
        assert plain.encode(text).ids == expected
        assert max(expected) < len(trimmed)
    for path in tmp_path.iterdir():
        assert "/tmp" not in path.read_text(encoding="utf-8")


def bert(*pieces: str) -> BertTokenizer:
    names = ("[PAD]", "[unused]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces)
    return BertTokenizer(vocab={name: number for number, name in enumerate(names)})


def test_numbers_worked_out_by_hand() -> None:
    # 0 PAD, 1 unused, 2 UNK, 3 CLS, 4 SEP, 5 MASK, 6 play, 7 ##ing, 8 ##in, 9 ##g, 10 dog
    vocabulary = TokenizerVocabulary(bert("play", "##ing", "##in", "##g", "dog"))
    assert vocabulary.size == 11
    assert vocabulary.required(characters=False) == {0, 2, 3, 4, 5}
    # `##g` is one character; each of the others has a letter that no piece spells.
    assert vocabulary.required(characters=True) == set(range(11))
    trimmed = vocabulary.keep([0, 2, 3, 4, 5, 6, 8, 9])
    assert trimmed("playing dog")["input_ids"] == [2, 5, 6, 7, 1, 3]
    assert trimmed.tokenize("playing dog") == ["play", "##in", "##g", "[UNK]"]


def test_numbers_up_to_paddings_stay() -> None:
    tokenizer = bert("a")
    tokenizer.pad_token = "[CLS]"
    assert TokenizerVocabulary(tokenizer).required(characters=False) >= {0, 1, 2, 3}


def test_added_tokens_stay_whole() -> None:
    tokenizer = bert("a", "##a", "b", "##b", "<", "name", ">")
    tokenizer.add_tokens(["<name>"])
    vocabulary = TokenizerVocabulary(tokenizer)
    assert vocabulary.size == 14
    kept = sorted(vocabulary.required(characters=False) | {6})
    assert kept == [0, 2, 3, 4, 5, 6, 13]
    trimmed = vocabulary.keep(kept)
    assert trimmed.tokenize("a <name> a b") == ["a", "<name>", "a", "[UNK]"]
    assert trimmed("<name>")["input_ids"] == [2, 6, 3]


def plain_tokenizer(model: Any, **parts: Any) -> PreTrainedTokenizerFast:
    backend = Tokenizer(model)
    for name, part in parts.items():
        setattr(backend, name, part)
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="p", unk_token="u")


def test_nested_post_processors_are_renumbered() -> None:
    words = {"u": 0, "p": 1, "x": 2, "y": 3, "end": 4}
    template = processors.TemplateProcessing(single="$A end", special_tokens=[("end", 4)])
    both = processors.Sequence([processors.ByteLevel(), template])
    tokenizer = plain_tokenizer(models.WordLevel(words, unk_token="u"), post_processor=both)
    vocabulary = TokenizerVocabulary(tokenizer)
    assert vocabulary.required(characters=True) == {0, 1, 4}
    assert vocabulary.keep([0, 1, 3, 4])("y")["input_ids"] == [2, 3]


def test_what_cannot_be_taken_apart_is_refused() -> None:
    with pytest.raises(InputError, match=r"no tokenizer\.json.*out of order"):
        TokenizerVocabulary(SimpleNamespace(is_fast=False))
    random = plain_tokenizer(models.BPE(vocab={"u": 0, "p": 1}, merges=[], dropout=0.1))
    with pytest.raises(InputError, match=r"drops merges at random \(dropout=0\.1\).*to null"):
        TokenizerVocabulary(random)
    for change, message in (
        ({"model": {"type": "Telepathy"}}, "algorithm is Telepathy; .* for BPE, Unigram, WordLevel, WordPiece"),
        ({"post_processor": {"type": "Poem"}}, "post-processor of type 'Poem'"),
    ):
        description = json.loads(bert("a").backend_tokenizer.to_str()) | change
        backend = SimpleNamespace(to_str=lambda description=description: json.dumps(description))
        with pytest.raises(InputError, match=message):
            TokenizerVocabulary(SimpleNamespace(is_fast=True, backend_tokenizer=backend))


def test_a_class_with_numbers_of_its_own_is_refused() -> None:
    class Stubborn(BertTokenizer):
        def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
            return list(reversed(super().convert_ids_to_tokens(ids, skip_special_tokens)))

    tokenizer = Stubborn(vocab=bert("a", "b").get_vocab())
    with pytest.raises(InputError, match="a Stubborn, which numbers its tokens in a way of its own"):
        TokenizerVocabulary(tokenizer).keep([0, 1, 2, 3, 4, 5, 6])
