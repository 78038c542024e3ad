"""A beginning, or an end, gives the tokens of the whole text, whatever takes it apart."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from compress.core.errors import InputError
from compress.tasks import beginnings as module
from compress.tasks.beginnings import beginning, beginnings, ending

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "<|im_start|>"]
CORPUS = [
    "low lower newest widest 12 345 6789 été naïve Straße",
    "日本語の文 こんにちは",
    "a-b! c? ((x)) it's don't\n\nnew  line",
] * 3
# The second groups digits from the end of a number, as some large models' do.
PATTERNS = (
    r"'s|'t|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))|[^\r\n\p{L}\p{N}]?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+",
)


def word_piece() -> Tokenizer:
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=120, special_tokens=SPECIAL))
    return made


def byte_level(pattern: str | None = None) -> Tokenizer:
    made = Tokenizer(models.BPE())
    if pattern is None:
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    else:
        split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
        made.normalizer = normalizers.NFC()
        made.pre_tokenizer = pre_tokenizers.Sequence(
            [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        )
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=330, special_tokens=SPECIAL, initial_alphabet=alphabet)
    )
    return made


def unigram(split: bool) -> Tokenizer:
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    made.pre_tokenizer = pre_tokenizers.Metaspace(split=split)
    made.train_from_iterator(CORPUS, trainers.UnigramTrainer(vocab_size=90, special_tokens=SPECIAL, unk_token="[UNK]"))
    return made


TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {
    "word pieces": word_piece,
    "bytes": byte_level,
    "bytes, split by a pattern": lambda: byte_level(PATTERNS[0]),
    "bytes, digits from the end": lambda: byte_level(PATTERNS[1]),
    "unigram": lambda: unigram(True),
    "unigram without words": lambda: unigram(False),
}


@pytest.fixture(scope="module", params=TOKENIZERS)
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    backend = TOKENIZERS[request.param]()
    backend.add_special_tokens([AddedToken("<|im_start|>", lstrip=True, rstrip=True)])
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[(name, backend.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]")


@pytest.fixture(autouse=True)
def cut_on_the_right(tokenizer: PreTrainedTokenizerFast) -> None:
    """A test may have changed the side."""
    tokenizer.truncation_side = "right"


# With marks that belong to the letter before, characters without spaces between them, and added tokens, whole and cut.
PARTS = [
    *("low", "lower ", " newest", "  ", "\n\n", "\r\n", "\u3000", "12345", "6", " 7", "e\u0301", "\u0301", "x" * 40),
    *(
        "\u65e5\u672c\u8a9e",
        "\u3002",
        "<|im_start|>",
        "<|im",
        "[SEP]",
        "[SE",
        "!!",
        "'s",
        "-",
        "\ufb01",
        "\xc9",
        "\0",
        "\xb2",
    ),
    *("\U0001f600", "\U0001f469\u200d\U0001f469\u200d\U0001f467"),
]
parts = st.sampled_from(PARTS)
texts = st.lists(parts, min_size=1, max_size=60).map("".join)


def cut(tokenizer: PreTrainedTokenizerFast, *given: str, max_length: int) -> list[int]:
    return tokenizer(*given, truncation=True, max_length=max_length)["input_ids"]


sides = st.sampled_from(["right", "left"])


@settings(deadline=None, max_examples=150)
@given(text=texts, max_length=st.integers(3, 24), characters=st.integers(1, 6), side=sides)
def test_the_tokens_are_those_of_the_whole_text(
    tokenizer: PreTrainedTokenizerFast, text: str, max_length: int, characters: int, side: str
) -> None:
    tokenizer.truncation_side = side
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHARACTERS", characters)
        ((kept,),) = beginnings([[text]], tokenizer, max_length)
    assert text.endswith(kept) if side == "left" else text.startswith(kept)
    assert cut(tokenizer, kept, max_length=max_length) == cut(tokenizer, text, max_length=max_length)


@settings(deadline=None, max_examples=100)
@given(first=texts, second=texts, max_length=st.integers(6, 24), characters=st.integers(1, 6), side=sides)
def test_the_tokens_of_pairs(
    tokenizer: PreTrainedTokenizerFast, first: str, second: str, max_length: int, characters: int, side: str
) -> None:
    tokenizer.truncation_side = side
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHARACTERS", characters)
        (kept, also_kept) = beginnings([[first], [second]], tokenizer, max_length)
    expected = cut(tokenizer, first, second, max_length=max_length)
    assert cut(tokenizer, kept[0], also_kept[0], max_length=max_length) == expected


def test_of_a_huge_text_little_is_read(tokenizer: PreTrainedTokenizerFast) -> None:
    text = "low lower 12 newest, \u65e5\u672c\u8a9e widest! " * 2000
    kept = beginning(text, tokenizer, 16)
    end = ending(text, tokenizer, 16)
    without_words = "".join(map(str, tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str("a b"))).count("(") < 4
    assert len(kept) == len(end) == (len(text) if without_words else 256)


def test_a_number_is_not_cut(tokenizer: PreTrainedTokenizerFast) -> None:
    text = "1234567890" * 100
    ((kept,),) = beginnings([[text]], tokenizer, 8)
    assert cut(tokenizer, kept, max_length=8) == cut(tokenizer, text, max_length=8)


def test_a_huge_word_is_refused_before_it_is_read(tokenizer: PreTrainedTokenizerFast) -> None:
    for side in ("right", "left"):
        tokenizer.truncation_side = side
        with pytest.raises(InputError, match=r"of 1000100 characters, which begins with 'yy.*Shorten it"):
            beginnings([["low", "y" * 1_000_100]], tokenizer, 1_000_000 // 16 + 1)
