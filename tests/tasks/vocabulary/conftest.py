"""One real tokenizer for each algorithm, its vocabulary learned from a few sentences."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import BertTokenizer, PreTrainedTokenizerFast, RobertaTokenizer, XLMRobertaTokenizer

SENTENCES = (
    "the striker scored twice in the second half of the final",
    "shares in the company rose after profits beat forecasts",
    "the minister said that taxes would rise in the second year",
    "a new phone was shown at the fair and sold out in hours",
    "the film won twice at the festival and the director thanked the company",
    "scorers scoring scores; forecasters forecasting; profiting, profited",
)
BERT_SPECIAL = ["[PAD]", "[unused]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROBERTA_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def _learned(backend: Tokenizer, trainer: Any) -> dict[str, Any]:
    backend.train_from_iterator(SENTENCES * 3, trainer)
    return json.loads(backend.to_str())["model"]


def word_piece() -> BertTokenizer:
    """As BERT's."""
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    model = _learned(backend, trainers.WordPieceTrainer(vocab_size=200, special_tokens=BERT_SPECIAL))
    return BertTokenizer(vocab=model["vocab"])


def byte_pair() -> RobertaTokenizer:
    """As RoBERTa's."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=450, special_tokens=ROBERTA_SPECIAL, initial_alphabet=alphabet)
    model = _learned(backend, trainer)
    return RobertaTokenizer(vocab=model["vocab"], merges=[tuple(merge) for merge in model["merges"]])


def unigram() -> XLMRobertaTokenizer:
    """As XLM-R's."""
    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=ROBERTA_SPECIAL, unk_token="<unk>")
    model = _learned(backend, trainer)
    return XLMRobertaTokenizer(vocab=[tuple(entry) for entry in model["vocab"]])


def word_level() -> PreTrainedTokenizerFast:
    """Words only."""
    backend = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.train_from_iterator(SENTENCES, trainers.WordLevelTrainer(special_tokens=BERT_SPECIAL))
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **names)


MAKERS = {"WordPiece": word_piece, "BPE": byte_pair, "Unigram": unigram, "WordLevel": word_level}


@cache
def learned_tokenizer(algorithm: str) -> Any:
    """Learned once, because learning may break ties differently."""
    return MAKERS[algorithm]()


@pytest.fixture(params=list(MAKERS))
def algorithm(request: pytest.FixtureRequest) -> str:
    """Every algorithm there is."""
    return str(request.param)


@pytest.fixture
def original(algorithm: str) -> Any:
    """The tokenizer with its whole vocabulary."""
    return learned_tokenizer(algorithm)


@pytest.fixture
def sentences() -> tuple[str, ...]:
    """What the vocabularies were learned from."""
    return SENTENCES
