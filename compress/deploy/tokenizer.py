"""An export's tokenizer.json, read by the library `tokenizers` alone, as `compress.tasks` calls a tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from compress.core.content import require_inside
from compress.core.errors import InputError
from compress.core.json_file import read_json

FILE, SETTINGS = "tokenizer.json", "tokenizer_config.json"


class StockTokenizer:
    """The tokenizer of an export, which truncates as the run measured and pads nothing.

    max_length: the longest input in tokens. padding: the number of the token that fills rows up.
    """

    def __init__(self, folder: Path) -> None:
        if find_spec("tokenizers") is None:
            raise InputError(
                f"{folder} reads texts, and tokenizers is not installed. Install it: pip install tokenizers"
            )
        import tokenizers

        for name in (FILE, SETTINGS):
            if not (folder / name).is_file():
                raise InputError(f"{folder} has no {name}. Copy the whole folder that a run exported.")
            require_inside(folder, folder / name)
        settings = read_json(folder / SETTINGS)
        try:
            self.backend = tokenizers.Tokenizer.from_file(str(folder / FILE))
        except (KeyboardInterrupt, SystemExit):
            raise
        # A panic of that library is no Exception.
        except BaseException as error:
            raise InputError(f"{folder / FILE} cannot be read ({error}). Export the model again.") from error
        truncation, padding = self.backend.truncation, self.backend.token_to_id(_text_of(settings.get("pad_token")))
        if truncation is None or padding is None:
            what = f"{SETTINGS} names no padding token that it knows" if truncation else f"{FILE} truncates nothing"
            raise InputError(f"{folder} is no whole export: its {what}. Export the model again.")
        self.max_length, self.padding = int(truncation["max_length"]), int(padding)
        self.truncation_side = str(truncation["direction"]).lower()

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many tokens an input has besides those of its text, or of its two."""
        return int(self.backend.num_special_tokens_to_add(pair))

    def get_added_vocab(self) -> dict[str, int]:
        """Tokens that are found in a text before it is taken apart."""
        return {token.content: number for number, token in self.backend.get_added_tokens_decoder().items()}

    def __call__(
        self,
        given: str | Sequence[Any],
        *,
        add_special_tokens: bool,
        truncation: bool,
        return_offsets_mapping: bool,
        is_split_into_words: bool = False,
        max_length: int | None = None,
        padding: bool = False,
        return_token_type_ids: bool = False,
        verbose: bool = False,
    ) -> Encoded:
        """One text, or several. Only the length of the file itself can be truncated to."""
        backend = self.backend
        if truncation:
            assert max_length == self.max_length
        else:
            # Of a thread's own: settings of the shared one would change under others.
            backend = self._whole()
        if isinstance(given, str):
            return Encoded([backend.encode(given, add_special_tokens=add_special_tokens)], single=True)
        found = backend.encode_batch(
            list(given), is_pretokenized=is_split_into_words, add_special_tokens=add_special_tokens
        )
        return Encoded(found, single=False)

    def _whole(self) -> Any:
        """The same without truncation."""
        if self._untruncated is None:
            import tokenizers

            whole = tokenizers.Tokenizer.from_str(self.backend.to_str())
            whole.no_truncation()
            self._untruncated = whole
        return self._untruncated

    _untruncated: Any = None


class Encoded:
    """What the tokenizer found, by the names that `compress.tasks` asks by."""

    def __init__(self, encodings: Sequence[Any], *, single: bool) -> None:
        self._encodings, self._single = encodings, single

    def __getitem__(self, name: str) -> Any:
        columns = [one.ids if name == "input_ids" else one.offsets for one in self._encodings]
        return columns[0] if self._single else columns

    def word_ids(self, row: int = 0) -> list[int | None]:
        """Of each token the number of its word."""
        return list(self._encodings[row].word_ids)

    def sequence_ids(self, row: int = 0) -> list[int | None]:
        """Of each token the number of its text; None for a special one."""
        return list(self._encodings[row].sequence_ids)


def _text_of(token: Any) -> str:
    """A token as a tokenizer's settings write it: by itself, or with how it is found."""
    return str(token.get("content") if isinstance(token, dict) else token)
