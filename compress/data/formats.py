"""Readers of single files, one function per format. What cannot be read is named by line and by what is needed."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset

from compress.core.checks import nearest
from compress.core.errors import InputError
from compress.core.json_file import parse_json
from compress.data.tagged import Columns, LineError, read_conllu, read_iob

# How packed files begin, what they are called, and how they are unpacked.
PACKED = {
    b"\x1f\x8b": ("packed by gzip", "gzip -dc {0!r} > OTHER"),
    b"BZh": ("packed by bzip2", "bzip2 -dc {0!r} > OTHER"),
    b"\xfd7zXZ\x00": ("packed by xz", "xz -dc {0!r} > OTHER"),
    b"\x28\xb5\x2f\xfd": ("packed by zstd", "zstd -dc {0!r} > OTHER"),
    b"PK\x03\x04": ("a zip archive, or a spreadsheet's own format", "unzip it, or save the sheet as .csv"),
}
SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab"}


def read_file(setting: str, name: str, *, plain_text: bool = False) -> Dataset:
    """All columns of one file, in memory. Raises InputError, which names `setting`, where it cannot be read.

    `.jsonl` keeps the kinds of its values ("01" stays text); `.csv` and `.tsv` are text throughout, nothing is taken
    for a missing value, and a comma, a semicolon or a tab separates values, whichever the first line has; `.parquet` is
    taken as it is; `.conll`, `.iob`, `.bio` and `.conllu` hold a word per line, see `compress.data.tagged`. plain_text:
    whether `.txt` is read too, a text per line, as a column `text`.
    """
    path = Path(name).expanduser()
    try:
        read, data = _reader(path, plain_text), path.read_bytes()
        _require_unpacked(path, data)
        table = read(data)
        if table.num_rows == 0:
            raise _UnreadableError("it holds no rows. Give a file with at least one example")
        return _data_set(table)
    except _UnreadableError as error:
        raise error.of(setting, name) from error
    except OSError as error:
        raise _denied(setting, name, error) from error


def _data_set(table: pa.Table) -> Dataset:
    try:
        return Dataset(table)
    # A name that holds a zero, for one, is cut there by one library and not by the other.
    except (ValueError, TypeError, pa.ArrowException) as error:
        names = ", ".join(ascii(name) for name in table.column_names)
        raise _UnreadableError(
            f"its columns cannot be used ({_shortened(names)}). Name them by plain text, each by its own"
        ) from error


def read_text(setting: str, name: str) -> str:
    """A file's text, with line ends as in `\\n`. Raises InputError, which names `setting`, where it cannot be read."""
    path = Path(name).expanduser()
    try:
        _reader(path, plain_text=True)
        data = path.read_bytes()
        _require_unpacked(path, data)
        return _text(data).replace("\r\n", "\n")
    except _UnreadableError as error:
        raise error.of(setting, name) from error
    except OSError as error:
        raise _denied(setting, name, error) from error


def require_file(setting: str, name: str, *, plain_text: bool = False) -> None:
    """Raise InputError as `read_file` would for a file that is not there, or of another kind, without reading it."""
    try:
        _reader(Path(name).expanduser(), plain_text)
    except _UnreadableError as error:
        raise error.of(setting, name) from error
    except OSError as error:
        raise _denied(setting, name, error) from error


def _denied(setting: str, name: str, error: OSError) -> InputError:
    return InputError(f"{setting} is {name!r}; it cannot be read ({error.strerror}). Check its permissions.")


class _UnreadableError(Exception):
    """What was found in a file, and the way out."""

    def of(self, setting: str, name: str) -> InputError:
        """As told to the user."""
        return InputError(f"{setting} is {name!r}; {self}{'' if str(self).endswith('?') else '.'}")


def _reader(path: Path, plain_text: bool) -> Callable[[bytes], pa.Table]:
    readers = {**READERS, ".txt": _read_lines} if plain_text else READERS
    if path.is_dir():
        raise _UnreadableError(f"that is a folder. Give one file in it ({', '.join(readers)})")
    if not path.exists():
        if not path.parent.is_dir():
            raise _UnreadableError(
                f"there is no folder {str(path.parent)!r}. Check the path; it starts at {Path.cwd()}"
            )
        offer = nearest(path.name, (other.name for other in path.parent.iterdir() if other.is_file()))
        raise _UnreadableError(f"there is no such file in {str(path.parent.resolve())!r}. {offer or 'Check the name'}")
    if path.suffix.lower() not in readers:
        raise _UnreadableError(
            f"its suffix is {path.suffix!r}; it must be one of {', '.join(readers)}. Convert or rename the file"
        )
    return readers[path.suffix.lower()]


def _require_unpacked(path: Path, data: bytes) -> None:
    """A packed file has its kind in its first bytes, whatever its name says."""
    for start, (kind, command) in PACKED.items():
        if data.startswith(start):
            raise _UnreadableError(
                f"it is {kind}, whatever its name says. Unpack it first: {command}".format(path.name)
            )


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise _UnreadableError(
            f"line {line} is not UTF-8 (byte 0x{error.object[error.start]:02x}). Save the file as UTF-8"
        ) from error


def _read_jsonl(data: bytes) -> pa.Table:
    rows = []
    # Only "\n" ends a line here: `splitlines` would also cut at characters that JSON allows inside text.
    for number, line in enumerate(_text(data).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            # NaN is how pandas writes what nobody gave: whoever reads the column says in which example.
            rows.append(parse_json(line, finite=False))
        except ValueError as error:
            place = str(error).removeprefix("line 1, ")
            raise _UnreadableError(
                f"line {number} is {_shortened(line)}, which cannot be read ({place}). "
                'Write one JSON object per line, such as {"text": "...", "label": "..."}'
            ) from error
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: _json_column(name, [row.get(name) for row in rows]) for name in names})


def _json_column(name: str, values: list[object]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError) as error:
        raise _UnreadableError(
            f"column {name!r} mixes kinds of value ({_shortened(str(error))}). "
            "Write all of its values as text, or all as numbers"
        ) from error


def _read_csv(data: bytes) -> pa.Table:
    text = _text(data)
    # A first line that only tells a spreadsheet the separator is left empty, so that the lines keep their numbers.
    stated = re.match(r'"?sep=([,;\t])"?\r?(?=\n|$)', text, re.IGNORECASE)
    text = text[stated.end() :] if stated is not None else text
    # Spreadsheets write semicolons where the comma is the decimal sign.
    first = re.sub('"[^"]*"', "", next((line for line in text.split("\n") if line.strip()), ""))
    separator = stated[1] if stated is not None else next((sign for sign in SEPARATORS if sign in first), ",")
    separated_by = SEPARATORS[separator]
    # The reader would take 131,072 characters for a mistake, and a text may be longer.
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows = []
    try:
        names = next((row for row in reader if row), [])
        if len(set(names)) < len(names):
            raise _UnreadableError(f"its first line names a column twice ({', '.join(names)}). Rename one of them")
        for row in reader:
            if row and len(row) != len(names):
                raise _UnreadableError(
                    f"line {reader.line_num} has {len(row)} values, the first line {len(names)} "
                    f"({_shortened(', '.join(names))}). Put values that contain {separated_by} in double quotes"
                )
            if row:
                rows.append(row)
    except csv.Error as error:
        raise _UnreadableError(
            f"line {reader.line_num} is not values separated by {separated_by} ({error}). "
            "Write a double quote inside a value twice"
        ) from error
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return pa.table({name: pa.array(values, pa.string()) for name, values in zip(names, columns, strict=True)})


def _read_parquet(data: bytes) -> pa.Table:
    try:
        table = pq.read_table(pa.BufferReader(data))
        # What a file says of its columns is taken as it is: also that a text is UTF-8.
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise _UnreadableError(f"it is not a whole Parquet file ({_shortened(str(error))}). Write it again") from error
    # What pandas adds for an index that it could not describe otherwise is no column of the examples.
    return table.drop_columns([name for name in table.column_names if name.startswith("__index_level_")])


def _read_tagged(read: Callable[[str], Columns]) -> Callable[[bytes], pa.Table]:
    def table(data: bytes) -> pa.Table:
        try:
            return pa.table(read(_text(data)))
        except LineError as error:
            raise _UnreadableError(str(error)) from error

    return table


def _read_lines(data: bytes) -> pa.Table:
    return pa.table({"text": pa.array([line.strip() for line in _text(data).split("\n") if line.strip()], pa.string())})


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."


READERS: Mapping[str, Callable[[bytes], pa.Table]] = {
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".parquet": _read_parquet,
    ".conll": _read_tagged(read_iob),
    ".iob": _read_tagged(read_iob),
    ".bio": _read_tagged(read_iob),
    ".conllu": _read_tagged(read_conllu),
}
