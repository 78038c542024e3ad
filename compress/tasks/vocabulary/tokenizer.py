"""A fast tokenizer with fewer tokens, rebuilt through its tokenizer.json."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from compress.core.errors import InputError
from compress.tasks.vocabulary.algorithm import Algorithm
from compress.tasks.vocabulary.byte_pair import BytePair
from compress.tasks.vocabulary.unigram import Unigram
from compress.tasks.vocabulary.word_level import WordLevel
from compress.tasks.vocabulary.word_piece import WordPiece

ALGORITHMS: Mapping[str, type[Any]] = {
    "BPE": BytePair,
    "Unigram": Unigram,
    "WordLevel": WordLevel,
    "WordPiece": WordPiece,
}
PLAIN_PROCESSORS = ("ByteLevel",)
WAY_OUT = "Take the stage that trims the vocabulary out of order."


class TokenizerVocabulary:
    """The tokens of a fast tokenizer, by number. Raises InputError where they cannot be taken apart safely.

    positions_from_padding: whether a model may count positions from the number of its padding token on (RoBERTa)."""

    positions_from_padding: ClassVar[bool] = True

    def __init__(self, tokenizer: Any) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise InputError(f"the tokenizer has no tokenizer.json, which is what can be rebuilt. {WAY_OUT}")
        self._tokenizer = tokenizer
        self._description = json.loads(tokenizer.backend_tokenizer.to_str())
        self._algorithm = _algorithm_of(self._description["model"])
        self._require_known_processor(self._description["post_processor"])

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Each token's number, added tokens included."""
        added = {token["content"]: token["id"] for token in self._description["added_tokens"]}
        return {**self._algorithm.numbers(), **added}

    @property
    def size(self) -> int:
        """One more than the largest number."""
        return 1 + max(self.numbers.values())

    def required(self, *, characters: bool) -> frozenset[int]:
        """Tokens that always stay: special and added ones, what the algorithm and the post-processor need, those up to
        padding's number where positions are counted from it, and, with `characters`, what spells every text."""
        tokenizer, numbers = self._tokenizer, self.numbers
        kept = {token["content"] for token in self._description["added_tokens"]} | self._algorithm.needed()
        kept |= set(_tokens_named_by(self._description["post_processor"]))
        if characters:
            kept |= self._algorithm.characters()
        first = tokenizer.pad_token_id + 1 if self.positions_from_padding else 0
        below_padding = set(range(first)) & set(numbers.values())
        return self.with_parts({numbers[token] for token in kept} | set(tokenizer.all_special_ids) | below_padding)

    def with_parts(self, kept: Collection[int]) -> frozenset[int]:
        """`kept`, and every token that is gone through on the way to one of them."""
        return frozenset(self.numbers[token] for token in self._algorithm.with_parts([self._names[n] for n in kept]))

    def keep(self, kept: Sequence[int]) -> Any:
        """A tokenizer that knows these tokens only (numbers, ascending), numbered by their place in `kept`.

        `kept` must hold `required` tokens and parts. Raises InputError where the tokenizer's class does not take such
        a vocabulary as it is.
        """
        numbers = {self._names[old]: new for new, old in enumerate(kept)}
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            self._tokenizer.save_pretrained(folder)
            (folder / "tokenizer.json").write_text(json.dumps(self._renumbered(numbers)), encoding="utf-8")
            _renumber_settings(folder / "tokenizer_config.json", numbers)
            trimmed = type(self._tokenizer).from_pretrained(folder, local_files_only=True)
        trimmed.name_or_path = self._tokenizer.name_or_path
        found = trimmed.convert_ids_to_tokens(list(range(len(trimmed))))
        if found != list(numbers):
            raise InputError(
                f"the tokenizer is a {type(trimmed).__name__}, which numbers its tokens in a way of its own, so its "
                f"vocabulary cannot be trimmed. {WAY_OUT}"
            )
        return trimmed

    @cached_property
    def _names(self) -> dict[int, str]:
        return {number: token for token, number in self.numbers.items()}

    def _renumbered(self, numbers: Mapping[str, int]) -> dict[str, Any]:
        """tokenizer.json with these tokens only. Normalization, cutting into words and decoding name no numbers."""
        known = self._algorithm.numbers().keys()
        padding = self._description["padding"]
        return {
            **self._description,
            "added_tokens": [{**token, "id": numbers[token["content"]]} for token in self._description["added_tokens"]],
            "post_processor": _renumbered_processor(self._description["post_processor"], numbers),
            "padding": padding and {**padding, "pad_id": numbers[padding["pad_token"]]},
            "model": self._algorithm.keep({token: number for token, number in numbers.items() if token in known}),
        }

    def _require_known_processor(self, processor: Mapping[str, Any] | None) -> None:
        try:
            _tokens_named_by(processor)
        except KeyError as error:
            raise InputError(
                f"the tokenizer has a post-processor of type {error}, whose token numbers are not known here, so its "
                f"vocabulary cannot be trimmed. {WAY_OUT}"
            ) from error


def _algorithm_of(model: Mapping[str, Any]) -> Algorithm:
    kind = str(model.get("type"))
    if kind not in ALGORITHMS:
        raise InputError(
            f"the tokenizer's algorithm is {kind}; a vocabulary can be trimmed for {', '.join(ALGORITHMS)}. {WAY_OUT}"
        )
    if model.get("dropout"):
        raise InputError(
            f"the tokenizer drops merges at random (dropout={model['dropout']}), so what it needs cannot be told. "
            f"Set its dropout to null in tokenizer.json. {WAY_OUT}"
        )
    return ALGORITHMS[kind](model)


def _tokens_named_by(processor: Mapping[str, Any] | None) -> list[str]:
    """The tokens that a post-processor adds. Raises KeyError for a type that is not known."""
    if processor is None or processor["type"] in PLAIN_PROCESSORS:
        return []
    if processor["type"] == "TemplateProcessing":
        return [token for special in processor["special_tokens"].values() for token in special["tokens"]]
    if processor["type"] in ("BertProcessing", "RobertaProcessing"):
        return [processor["sep"][0], processor["cls"][0]]
    if processor["type"] == "Sequence":
        return [token for part in processor["processors"] for token in _tokens_named_by(part)]
    raise KeyError(processor["type"])


def _renumbered_processor(processor: Mapping[str, Any] | None, numbers: Mapping[str, int]) -> dict[str, Any] | None:
    if processor is None:
        return None
    if processor["type"] == "TemplateProcessing":
        special = {
            name: {**entry, "ids": [numbers[token] for token in entry["tokens"]]}
            for name, entry in processor["special_tokens"].items()
        }
        return {**processor, "special_tokens": special}
    if processor["type"] in ("BertProcessing", "RobertaProcessing"):
        pairs = {name: [processor[name][0], numbers[processor[name][0]]] for name in ("sep", "cls")}
        return {**processor, **pairs}
    if processor["type"] == "Sequence":
        return {**processor, "processors": [_renumbered_processor(part, numbers) for part in processor["processors"]]}
    return dict(processor)


def _renumber_settings(path: Path, numbers: Mapping[str, int]) -> None:
    """tokenizer_config.json repeats the numbers of added tokens for some tokenizers."""
    settings = json.loads(path.read_text(encoding="utf-8"))
    if "added_tokens_decoder" in settings:
        tokens = settings["added_tokens_decoder"].values()
        settings["added_tokens_decoder"] = {str(numbers[token["content"]]): token for token in tokens}
        path.write_text(json.dumps(settings, ensure_ascii=False), encoding="utf-8")
