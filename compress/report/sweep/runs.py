"""The runs of a folder as they lie there: whole ones, broken ones, and those whose last line was torn."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from compress.core.errors import InputError
from compress.core.json_file import parse_json, read_json, read_regular
from compress.core.ledger import Row
from compress.core.run_files import LEDGER, OUTCOME, SUMMARY, SWEEP
from compress.core.secrets import masked
from compress.report.sweep.command import command_again

SUMMARISED = {"exported": dict | None, "settings": dict, "metric": str, "examples": dict}


@dataclass(frozen=True)
class Run:
    """What one run left behind.

    name: its folder, from the folder that was asked for. summary: None where the run broke, was stopped or is still
    at work. settings: resolved, by full name, each value as text; without a summary, those that refer to others are
    missing. typed: the overrides of its command. command: what makes it again; None where no command line made it.
    ending, reason: how a job of a sweep says that it ended, where it does. damage: what could not be read, in words.
    """

    name: str
    folder: Path
    rows: tuple[Row, ...]
    summary: Mapping[str, Any] | None
    settings: Mapping[str, str]
    typed: tuple[str, ...]
    command: str | None
    ending: str | None
    reason: str | None
    damage: tuple[str, ...]


def find_runs(folders: Sequence[Path]) -> list[Run]:
    """Every run in `folders` and below, each once, in the order of their names.

    Raises InputError for a folder that is not there, and where no folder holds a run.
    """
    found: dict[Path, Mapping[str, Any]] = {}
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"FOLDER is {folder}, which is no folder here. Give one that holds runs of compress.")
        for place, job in _run_folders(folder.resolve()):
            found.setdefault(place, job)
    if not found:
        named = ", ".join(str(folder) for folder in folders)
        raise InputError(
            f"FOLDER is {named}, which holds no run: no {LEDGER} lies in it or below. Give the folder of a sweep "
            "(hydra.sweep.dir) or of a run (hydra.run.dir)."
        )
    names = _names(list(found))
    runs = [_read_or_told(place, name, job) for (place, job), name in zip(found.items(), names, strict=True)]
    return sorted(runs, key=lambda run: _natural(run.name))


def _run_folders(folder: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Each run's folder with what a sweep above it says about it; the folder itself may be gone."""
    for place, below, files in os.walk(folder):
        if LEDGER in files or OUTCOME in files:
            below.clear()
            yield Path(place), {}
        if SWEEP in files:
            for job in (_json(Path(place) / SWEEP, {"jobs": list}, []) or {"jobs": []})["jobs"]:
                if not isinstance(job, dict) or not isinstance(job.get("folder"), str) or "\0" in job["folder"]:
                    continue
                at = Path(place) / job["folder"]
                if not (at / LEDGER).exists() and not (at / OUTCOME).exists():
                    yield at, job
        below.sort()


def _names(places: Sequence[Path]) -> list[str]:
    """What tells the folders apart: their paths without what all of them share."""
    if len(places) == 1:
        return [places[0].name]
    shared = Path(os.path.commonpath(places))
    return [place.relative_to(shared).as_posix() for place in places]


def _natural(name: str) -> list[tuple[float, str]]:
    """Job 10 after job 9, and words after numbers."""
    return [(int(part), "") if part.isdecimal() else (math.inf, part) for part in name.split("/")]


def _read_or_told(folder: Path, name: str, job: Mapping[str, Any]) -> Run:
    try:
        return _read(folder, name, job)
    except Exception as error:  # noqa: BLE001 - whatever lies in one folder, the others are told of
        return unreadable(folder, name, error)


def unreadable(folder: Path, name: str, error: Exception) -> Run:
    """A run of which nothing can be told but that it is there."""
    told = f"what this run recorded cannot be told ({type(error).__name__}): its files are damaged"
    return Run(name, folder, (), None, {}, (), None, None, None, (told,))


def _read(folder: Path, name: str, job: Mapping[str, Any]) -> Run:
    damage: list[str] = []
    rows = _rows(folder / LEDGER, damage)
    summary = _json(folder / SUMMARY, SUMMARISED, damage)
    ended = _json(folder / OUTCOME, {"ending": str}, damage) or job
    typed = _yaml(folder / ".hydra" / "overrides.yaml", list, damage)
    hydra = _yaml(folder / ".hydra" / "hydra.yaml", dict, damage)
    if summary is not None:
        settings = flat(summary["settings"])
    else:
        told = flat(_yaml(folder / ".hydra" / "config.yaml", dict, damage) or _mapping(job.get("settings")))
        # References are resolved in a summary only.
        settings = {key: value for key, value in told.items() if "${" not in value}
    overrides = tuple(str(override) for override in typed or ())
    command = None if typed is None or hydra is None else command_again(hydra, overrides)
    return Run(
        name=name,
        folder=folder,
        rows=rows,
        summary=summary,
        settings=masked(settings),
        typed=masked(overrides),
        command=_text(masked(command or job.get("command"))),
        ending=_text(ended.get("ending")),
        reason=_text(masked(ended.get("reason"))),
        damage=tuple(damage),
    )


def _rows(path: Path, damage: list[str]) -> tuple[Row, ...]:
    if not path.exists():
        return ()
    rows = []
    try:
        lines = read_regular(path).decode("utf-8", errors="replace").splitlines()
    except (OSError, ValueError) as error:
        damage.append(f"{LEDGER} cannot be read ({error})")
        return ()
    for number, line in enumerate(lines, start=1):
        row = _row(line)
        if row is None:
            last = "its last line, is torn" if number == len(lines) else f"of {len(lines)}, cannot be read"
            damage.append(f"line {number} of {LEDGER}, {last}: read up to there")
            break
        rows.append(row)
    return tuple(rows)


def _row(line: str) -> Row | None:
    """One line, also of an earlier version, whose lines lack a field or have one more; None where it is not one."""
    try:
        told = parse_json(line, finite=False)
        return Row.from_json(told) if {"stage", "verdict", "decision"} <= told.keys() else None
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _json(path: Path, needed: Mapping[str, Any], damage: list[str]) -> Mapping[str, Any] | None:
    """needed: what it must have, and of which types."""
    if not path.exists():
        return None
    try:
        told = read_json(path, finite=False)
    except InputError:
        told = {}
    if not all(name in told and isinstance(told[name], kind) for name, kind in needed.items()):
        damage.append(f"{path.name} cannot be read")
        return None
    return dict(told)


def _yaml(path: Path, kind: type, damage: list[str]) -> Any:
    if not path.exists():
        return None
    try:
        text = read_regular(path).decode("utf-8")
        # One that stands for another can be written short and be endless.
        aliases = "*" in text and any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=_LOADER))
        told = None if aliases else yaml.load(text, Loader=_LOADER)  # noqa: S506
    except (yaml.YAMLError, OSError, RecursionError, ValueError):
        told = None
    if not isinstance(told, kind):
        damage.append(f".hydra/{path.name} cannot be read")
        return None
    return told


# Both load plain data only; the one in C is ten times as fast.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings by full name, `stages.prune.heads`, each value as text: words as they are, the rest as JSON."""
    result: dict[str, str] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            result.update(flat(value, f"{name}."))
        else:
            result[name] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return result
