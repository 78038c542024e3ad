"""What every task that reads text shares: its tokenizer in a folder, and whether that fits the model."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from compress.core.errors import InputError


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of `folder`. Raises InputError where there is none, or none that runs without Transformers."""
    from transformers import AutoTokenizer

    way_out = "Save it beside the model: tokenizer.save_pretrained(DIR)."
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"model.path is {folder}, whose tokenizer cannot be loaded ({_first_line(error)}). {way_out}"
        ) from error
    # Where there is no file at all, Transformers makes a tokenizer that knows no word.
    if not any((folder / name).is_file() for name in tokenizer.vocab_files_names.values()):
        raise InputError(f"model.path is {folder}, which has no tokenizer. {way_out}")
    if tokenizer.pad_token_id is None:
        raise InputError(
            f"model.path is {folder}, whose tokenizer has no pad token; batches need one. "
            "Set tokenizer.pad_token to one of its own special tokens and save it again."
        )
    if not tokenizer.is_fast:
        raise InputError(f"model.path is {folder}, whose tokenizer has no tokenizer.json. Convert it to a fast one.")
    return tokenizer


def save_tokenizer(tokenizer: Any, folder: Path, *, max_length: int) -> None:
    """Write it so that it truncates at `max_length` tokens and pads nothing by itself, whoever reads it."""
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.model_max_length = max_length
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.enable_truncation(max_length)
    tokenizer.save_pretrained(folder)
    # save_pretrained resets both on some tokenizers; what a stock loader reads is this file.
    backend.no_padding()
    backend.enable_truncation(max_length)
    backend.save(str(folder / "tokenizer.json"))
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    if settings.get("tokenizer_class") == "TokenizersBackend":
        # A class of Transformers 5 only; earlier ones know the same thing by this name.
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
        path.write_text(json.dumps(settings, indent=2, ensure_ascii=False), encoding="utf-8")


def require_fitting_length(max_length: int, config: Any) -> None:
    """Raise InputError where a model of this configuration cannot read `max_length` tokens."""
    limit = _longest_input(config)
    if limit < max_length:
        raise InputError(
            f"data.max_length is {max_length}; this model takes at most {limit} tokens. Use {limit} or less."
        )


def require_known_tokens(texts: Iterable[Sequence[int]], config: Any) -> None:
    """Raise InputError where a model of this configuration has no embedding for a token. texts: tokens' numbers."""
    largest = max((max(ids) for ids in texts if len(ids)), default=0)
    if largest >= config.vocab_size:
        raise InputError(
            f"model.path has a tokenizer that yields token {largest}; the model knows {config.vocab_size} tokens, "
            "so the tokenizer is another model's. Save the right one beside the model."
        )


def require_findable_padding(tokenizer: Any, config: Any) -> None:
    """Raise InputError where a classifier of this configuration would look for another padding token than the
    tokenizer's, or for none, and then read the wrong token of every row that is padded."""
    from compress.nn.family import family_of

    if family_of(config).finds_padding and config.pad_token_id != tokenizer.pad_token_id:
        raise InputError(
            f"model.path has pad_token_id={config.pad_token_id} in config.json, and a tokenizer whose padding is token "
            f"{tokenizer.pad_token_id}; a {config.model_type} classifier finds the end of a text by that number. Train "
            f"it with config.pad_token_id={tokenizer.pad_token_id} and save it again."
        )


def _longest_input(config: Any) -> int:
    from compress.nn.family import family_of

    embeddings = family_of(config).embeddings
    positions = int(getattr(config, "max_position_embeddings", 512))
    # RoBERTa counts positions from the padding token's number on: those up to it are never reached.
    if embeddings.positions is not None and not embeddings.from_zero:
        positions -= int(config.pad_token_id) + 1
    return positions


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(": ")
