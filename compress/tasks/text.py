"""What every task that reads text shares: its tokenizer in a folder, and whether that fits the model."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.core.checks import nearest
from compress.core.content import require_inside
from compress.core.errors import CompressError, ExampleError, InputError
from compress.core.json_file import parse_json, read_regular
from compress.nn.settings import require_no_code

if TYPE_CHECKING:
    import torch

# Where no task has said yet how many tokens its model reads.
PROBED_LENGTH = 16
# What a tokenizer's own loaders open, as far as it is JSON.
READ = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json")


def load_tokenizer(folder: Path, *, pads: bool = True) -> Any:
    """The tokenizer of `folder`. pads: whether its padding has to be a token that the model knows as such; else any
    token fills batches up where it has none. Raises InputError where there is none, or none that runs without
    Transformers."""
    from transformers import AutoTokenizer

    way_out = "Save it beside the model: tokenizer.save_pretrained(DIR)."
    for name in READ:
        if (folder / name).exists():
            require_plain_settings(folder / name, "tokenizer", way_out)
    with refused_as(f"model.path is {folder}, whose tokenizer cannot be loaded", way_out):
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    # Where there is no file at all, Transformers makes a tokenizer that knows no word.
    if not any((folder / name).is_file() for name in tokenizer.vocab_files_names.values()):
        raise InputError(f"model.path is {folder}, which has no tokenizer. {way_out}")
    if tokenizer.pad_token_id is None and not pads:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.pad_token_id is None and pads:
        raise InputError(
            f"model.path is {folder}, whose tokenizer has no pad token; batches need one. "
            "Set tokenizer.pad_token to one of its own special tokens and save it again."
        )
    if not tokenizer.is_fast:
        raise InputError(f"model.path is {folder}, whose tokenizer has no tokenizer.json. Convert it to a fast one.")
    with refused_as(f"model.path is {folder}, whose tokenizer cannot read a text", way_out):
        # As it is, too: its own longest length may be no number.
        tokenizer("a")
        require_same_reading(tokenizer, PROBED_LENGTH)
    return tokenizer


def require_plain_settings(path: Path, what: str, way_out: str) -> None:
    """Raise InputError where a file of a processor's, `what`, is a link elsewhere, no JSON, or names code to run."""
    require_inside(path.parent, path)
    try:
        settings = parse_json(read_regular(path))
    except (OSError, ValueError) as error:
        told = f"model.path is {path.parent}, whose {what} cannot be loaded ({path.name} is malformed: {error})"
        raise InputError(f"{told}. {way_out}") from None
    require_no_code(settings, path)


@contextlib.contextmanager
def refused_as(what: str, way_out: str) -> Iterator[None]:
    """Inside, whatever a library makes of a file from elsewhere is an InputError that says `what` and why: libraries
    raise any type there, and tokenizers one that is no Exception."""
    try:
        yield
    except (CompressError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise InputError(f"{what} ({_first_line(error)}). {way_out}") from error


def save_tokenizer(tokenizer: Any, folder: Path, *, max_length: int) -> None:
    """Write it so that it truncates at `max_length` tokens and pads nothing by itself, whoever reads it.

    Raises InputError where tokenizer.json cannot say what this tokenizer does: see `require_same_reading`.
    """
    require_same_reading(tokenizer, max_length)
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.model_max_length = max_length
    tokenizer.save_pretrained(folder)
    # save_pretrained resets truncation on some tokenizers; what a stock loader reads is this file.
    _as_stock(tokenizer, max_length).save(str(folder / "tokenizer.json"))
    path = folder / "tokenizer_config.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    settings = dict(written)
    if settings.get("tokenizer_class") == "TokenizersBackend":
        # A class of Transformers 5 only; earlier ones know the same thing by this name.
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    # What was set on the tokenizer itself is not among what it was made with, which is all that is written.
    sides = {name: getattr(tokenizer, name) for name in ("padding_side", "truncation_side")}
    settings |= {name: side for name, side in sides.items() if settings.get(name, "right") != side}
    if settings != written:
        path.write_text(json.dumps(settings, indent=2, ensure_ascii=False), encoding="utf-8")


def _as_stock(tokenizer: Any, max_length: int) -> Any:
    """What tokenizer.json says, as the library `tokenizers` alone reads it."""
    from tokenizers import Tokenizer

    stock = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    stock.no_padding()
    # Transformers takes the side from its own settings and sets the rest anew with every call: what it does is this.
    stock.enable_truncation(max_length, stride=0, strategy="longest_first", direction=tokenizer.truncation_side)
    return stock


def require_same_reading(tokenizer: Any, max_length: int) -> None:
    """Raise InputError where tokenizer.json, read by the library `tokenizers` alone as an export's users do, would not
    give the tokens that are measured: for texts made of the tokenizer's own tokens, longer than `max_length` and
    shorter, alone and in pairs, with other letters, and with its added tokens among them."""
    stock = _as_stock(tokenizer, max_length)
    with _left_as_it_is(tokenizer.backend_tokenizer):
        _require_same(tokenizer, stock, max_length)


@contextlib.contextmanager
def _left_as_it_is(backend: Any) -> Iterator[None]:
    """Every call leaves its own settings in a tokenizer: afterwards they are what they were. A copy of a large
    vocabulary would take seconds."""
    truncation, padding = backend.truncation, backend.padding
    try:
        yield
    finally:
        backend.no_truncation()
        backend.no_padding()
        if truncation is not None:
            backend.enable_truncation(**truncation)
        if padding is not None:
            backend.enable_padding(**padding)


def _require_same(tokenizer: Any, stock: Any, max_length: int) -> None:
    for texts in _probing_texts(tokenizer, max_length):
        measured = tokenizer(*texts, truncation=True, max_length=max_length)["input_ids"]
        if stock.encode(*texts).ids != measured:
            shown = " | ".join(text[:40] for text in texts)
            raise InputError(
                f"model.path has a tokenizer whose tokenizer.json does not say all that it does: {shown!r} gives other "
                f"tokens by that file alone, which is what an export is used with. {_unsaid(tokenizer)}"
            )


def _unsaid(tokenizer: Any) -> str:
    if tokenizer.split_special_tokens:
        return "It has split_special_tokens=True, which the file cannot hold: save it with False."
    return "Save a tokenizer of the library's own class beside the model."


def _probing_texts(tokenizer: Any, max_length: int) -> Iterator[tuple[str, ...]]:
    tokens = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    known = tokenizer.added_tokens_decoder
    plain = [name for name, number in tokens if number not in known]
    shown = plain[:: max(1, len(plain) // 300)]
    words = [tokenizer.convert_tokens_to_string([name]).strip() for name in shown]
    short = " ".join(word for word in words if word) or "a"
    # Every word is at least a token, but where a tokenizer leaves it out altogether.
    long = " ".join([short] * (1 + 2 * max_length // len(short.split())))
    added = [token.content for token in known.values()][:50]
    marked = [f"a{token}b  {token} c.{token}" for token in added]
    yield from (
        (text,)
        for text in (short, long, short.upper(), "\u00c0 \u00e9t\u00e9  1,234\t\u6c49\u5b57\n\U0001f600 -", *marked)
    )
    yield from ((short[:20], long), (long, short[:20]), (long, long))


def column_of(examples: Any, column: str, setting: str, split: str) -> list[Any]:
    """A column of raw examples. setting: which names it. Raises InputError where `data.split` does not have it."""
    if column not in examples.column_names:
        found = [name for name in examples.column_names if name != "group"]
        raise InputError(
            f"{setting} is {column!r}, a column that data.{split} does not have (found: {', '.join(found)}). "
            f"{nearest(str(column), found) or f'Name the column: {setting}=COLUMN.'}"
        )
    return list(examples[column])


def texts_of(examples: Any, column: str, split: str) -> list[str]:
    """A column of texts, `data.text`. Raises InputError where it is missing, and ExampleError for an empty text."""
    texts = column_of(examples, column, "data.text", split)
    for row, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            raise ExampleError(
                f"data.text={column}: ",
                split,
                row,
                f"has no text ({text!r}); every example needs some. Remove the row, or name another column.",
            )
    return texts


def same_tokens(rows: Any, processor: Any, others: Any, other_processor: Any) -> list[bool]:
    """For each row, encoded by two tokenizers, whether they read the same tokens, whatever their numbers."""
    numbers = other_processor.get_vocab()
    renumbered = [numbers.get(token) for token in processor.convert_ids_to_tokens(list(range(len(processor))))]
    return [
        [renumbered[number] for number in one] == list(other)
        for one, other in zip(rows["input_ids"], others["input_ids"], strict=True)
    ]


def padded(rows: Sequence[Mapping[str, Any]], fills: Mapping[str, int]) -> dict[str, torch.Tensor]:
    """Columns of lists as int64 (rows, length), padded at their ends to the longest. fills: what each is padded by."""
    import torch

    width = max(len(row["input_ids"]) for row in rows)
    return {
        name: torch.tensor([[*row[name], *[fill] * (width - len(row[name]))] for row in rows], dtype=torch.long)
        for name, fill in fills.items()
    }


def require_fitting_length(max_length: int, config: Any) -> None:
    """Raise InputError where a model of this configuration cannot read `max_length` tokens."""
    limit = longest_input(config)
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


def longest_input(config: Any) -> int:
    """The most tokens that a model of this configuration reads."""
    from compress.nn.family import family_of

    embeddings = family_of(config).embeddings
    positions = int(getattr(config, "max_position_embeddings", 512))
    # RoBERTa counts positions from the padding token's number on: those up to it are never reached.
    if embeddings.positions is not None and not embeddings.from_zero:
        positions -= int(config.pad_token_id) + 1
    return positions


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).strip().partition("\n")[0].rstrip(": ")
