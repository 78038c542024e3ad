"""The vocabulary of a language model, made smaller: byte-level BPE, of which all bytes stay, so that it can still read
and write any text."""

from __future__ import annotations

from typing import Any

from compress.core.errors import InputError
from compress.tasks.chats import ASSISTANT, written
from compress.tasks.vocabulary.tokenizer import WAY_OUT, TokenizerVocabulary

# What every chat is written with, whatever is said: see `ByteLevelVocabulary.required`.
CHATS = ([{"role": "user", "content": "a"}], [{"role": "user", "content": "a"}, {"role": ASSISTANT, "content": "a"}])


class ByteLevelVocabulary(TokenizerVocabulary):
    """The tokens of a byte-level BPE tokenizer, by number. Raises InputError for a tokenizer of another kind."""

    positions_from_padding = False

    def __init__(self, tokenizer: Any) -> None:
        super().__init__(tokenizer)
        model, splits = self._description["model"], self._description["pre_tokenizer"]
        kind = model["type"]
        if model.get("byte_fallback"):
            kind = f"{kind} with byte_fallback, as of SentencePiece (Gemma, Llama 2)"
        affixes = model.get("continuing_subword_prefix") or model.get("end_of_word_suffix")
        if kind != "BPE" or affixes or not _byte_level(splits):
            raise InputError(
                f"the tokenizer is {kind}; of a language model a vocabulary is trimmed where it is byte-level BPE "
                f"(SmolLM, Qwen, Llama 3), which can spell any text with what is left. {WAY_OUT}"
            )

    def required(self, *, characters: bool) -> frozenset[int]:
        """Tokens that always stay: special and added ones, all bytes, and what the chat template writes of its own.
        Raises InputError without `characters`."""
        if not characters:
            raise InputError(
                "stages.vocabulary.keep_characters is false; a language model without its bytes would leave out of a "
                "text what it cannot spell. Use true."
            )
        return super().required(characters=True) | self.with_parts(self._of_template())

    def _of_template(self) -> set[int]:
        if not self._tokenizer.chat_template:
            return set()
        found: set[int] = set()
        for chat in CHATS:
            try:
                text = written(chat, self._tokenizer, add_generation_prompt=chat[-1]["role"] != ASSISTANT)
            except ValueError:
                # A template may refuse any chat, and data that hold chats are refused by it then, too.
                continue
            found |= set(self._tokenizer(text, add_special_tokens=False)["input_ids"])
        return found


def _byte_level(splits: Any) -> bool:
    """Whether a pre-tokenizer writes a text's bytes as letters."""
    if not splits:
        return False
    parts = splits["pretokenizers"] if splits["type"] == "Sequence" else [splits]
    return any(part["type"] == "ByteLevel" for part in parts)
