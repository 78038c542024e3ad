"""The folder with the texts to label: a table for any spreadsheet, and beside it what the labels will be judged by."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from compress.core.checks import nearest
from compress.core.errors import InputError
from compress.core.json_file import read_json, require_types
from compress.core.manifest import checksum_of
from compress.core.whole import whole_folder
from compress.data.formats import read_file
from compress.measure.drawn_labels import Pool

TABLE, FACTS, VERDICT, IMAGES = "label_these.csv", "drawn.json", "verdict.json", "images"
# Columns of the table that are ours.
NUMBER, LABEL, CHOICES = "number", "label", "answers"


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What was drawn, and what it will be judged by.

    run, artifact: the run, and the key of the model that it exported. texts: the name of the file they are from. pool:
    how many texts and groups of them both models answered, see `Pool`. groups: of each text to label, from 0, the
    number of its group; sizes: how many texts each of these groups has, with those that are answered alike. teacher,
    student: of each text to label, the answers. names: of all classes. margin, confidence: of the run's gate.
    """

    run: str
    artifact: str
    texts: str
    seen: int
    pool: Pool
    groups: Sequence[int]
    sizes: Sequence[int]
    teacher: Sequence[str]
    student: Sequence[str]
    names: Sequence[str]
    margin: float
    confidence: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Drawn:
        """What `to_json` gave, after a round trip through JSON. Raises ValueError where it is something else."""
        try:
            pool = Pool(**told["pool"])
            found = cls(**{**told, "pool": pool})
        except (KeyError, TypeError) as error:
            raise ValueError(str(error)) from None
        require_types(Pool, told["pool"])
        require_types(cls, {name: value for name, value in told.items() if name != "pool"})
        count = len(found.teacher)
        if not len(found.student) == len(found.groups) == count or max([-1, *found.groups]) >= len(found.sizes):
            raise ValueError("its parts are not of the same texts")
        return found


def write_sheet(out: Path, drawn: Drawn, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write the new folder `out`, whole or not at all. columns: what people see of each text, by name."""
    with whole_folder(out) as folder:
        ours = (NUMBER, LABEL, CHOICES)
        named = {f"given {name}" if name in ours else name: values for name, values in columns.items()}
        shown = {name: _shown(folder, name, values) for name, values in named.items()}
        with (folder / TABLE).open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([NUMBER, *shown, LABEL, CHOICES])
            for number, answers in enumerate(zip(drawn.teacher, drawn.student, strict=True)):
                # In an order that does not tell whose they are.
                writer.writerow(
                    [number + 1, *(values[number] for values in shown.values()), "", " | ".join(sorted(answers))]
                )
        told = drawn.to_json()
        text = json.dumps({"drawn": told, "sha256": checksum_of(json.loads(json.dumps(told)))}, indent=1)
        (folder / FACTS).write_text(text, encoding="utf-8")


def read_sheet(folder: Path) -> tuple[Drawn, list[str]]:
    """What was drawn, and of each text in that order its label, the name of a class. Raises InputError where a label is
    missing or no class, or where the folder is not as it was written."""
    drawn = read_drawn(folder)
    if not drawn.teacher:
        return drawn, []
    rows = read_file("FOLDER", str(folder / TABLE))
    for column in (NUMBER, LABEL):
        if column not in rows.column_names:
            raise InputError(f"{folder / TABLE} has no column {column}. Keep the first line as it was.")
    labels: dict[int, str] = {}
    for line, (number, label) in enumerate(zip(rows[NUMBER][:], rows[LABEL][:], strict=True), start=2):
        place = _number(number)
        if place is None or not 1 <= place <= len(drawn.teacher) or place in labels:
            raise InputError(
                f"{folder / TABLE}, line {line}: number is {str(number)[:40]!r}; each of 1 to {len(drawn.teacher)} "
                "must be there once. Keep the column as it was; the order of lines is yours."
            )
        labels[place] = str(label or "").strip()
    missing = [place for place in range(1, len(drawn.teacher) + 1) if not labels.get(place)]
    if missing:
        raise InputError(
            f"{folder / TABLE}: {len(missing)} of {len(drawn.teacher)} texts have no label, the first is number "
            f"{missing[0]}. Label all of them: those that are easy to tell are not like the others."
        )
    return drawn, [_class(folder, place, labels[place], drawn.names) for place in range(1, len(drawn.teacher) + 1)]


def is_sheet(folder: Path) -> bool:
    """Whether the folder is one that `write_sheet` wrote."""
    return (folder / FACTS).is_file()


def read_drawn(folder: Path) -> Drawn:
    """What `write_sheet` wrote beside the table. Raises InputError where it has changed."""
    way_out = "Draw again, into a new folder."
    told = read_json(folder / FACTS, way_out=way_out)
    drawn = told.get("drawn")
    if not isinstance(drawn, dict) or told.get("sha256") != checksum_of(drawn):
        raise InputError(f"{folder / FACTS} has changed. {way_out}")
    try:
        return Drawn.from_json(drawn)
    except ValueError as error:
        raise InputError(f"{folder / FACTS} cannot be used ({error}). {way_out}") from None


def _number(value: Any) -> int | None:
    """A spreadsheet may have made 3.0 of 3."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return int(number) if number.is_integer() else None


def _class(folder: Path, place: int, label: str, names: Sequence[str]) -> str:
    if label in names:
        return label
    alike = [name for name in names if name.casefold() == label.casefold()]
    if len(alike) == 1:
        return alike[0]
    known = f"{', '.join(names[:20])}{', ...' if len(names) > 20 else ''}"
    raise InputError(
        f"{folder / TABLE}, number {place}: label is {label[:40]!r}, which is no class of the model. "
        f"{nearest(label, names) or f'They are {known}.'}"
    )


def _shown(folder: Path, name: str, values: Sequence[Any]) -> list[str]:
    """A column as a spreadsheet takes it: images as files."""
    if not any(isinstance(value, bytes) for value in values):
        return [str(value) for value in values]
    (folder / IMAGES).mkdir(exist_ok=True)
    found = []
    for number, data in enumerate(values, start=1):
        kind = Image.open(io.BytesIO(data)).format or "png"
        path = folder / IMAGES / f"{name}-{number}.{kind.lower()}"
        path.write_bytes(data)
        found.append(str(path.relative_to(folder)))
    return found
