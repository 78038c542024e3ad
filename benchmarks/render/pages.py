"""The pages, and what they ask for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks.record import RESULTS, digest
from benchmarks.render import contests, forms, gates, language_models, machine, outside, pictures, runs
from benchmarks.render.table import Result

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/*.md", "benchmarks/README.md")
BLOCK = re.compile(r"(?<=<!-- results: )(\w+) (\w+)( -->\n).*?(?=<!-- end of results -->)", re.DOTALL)
# What a page may ask for.
FORMS: Mapping[str, Callable[[Result], str]] = {
    "stages": runs.stages,
    "outcome": runs.outcome,
    "intervals": gates.INTERVALS,
    "powered": gates.POWERED,
    "shifted": gates.SHIFTED,
    "resampled": gates.RESAMPLED,
    "drawn": gates.DRAWN,
    "drawn_real": gates.DRAWN_REAL,
    "busy": machine.BUSY,
    "waiting": machine.WAITING,
    "predictions": machine.PREDICTIONS,
    "decoders": language_models.DECODERS,
    "rivals": language_models.RIVALS,
    "contest": contests.contest,
    "speeds": contests.SPEEDS,
    "few_labels": contests.FEW_LABELS,
    "clients": outside.CLIENTS,
    "fuzz": outside.fuzz,
    "same_answer": forms.same_answer,
}

# What is drawn, of which results.
PICTURES: Mapping[str, tuple[Callable[[Result], str], str]] = {
    "docs/quickstart.svg": (pictures.of_stages, "quickstart"),
    "docs/peers.svg": (pictures.of_contest, "peers"),
    "docs/peers_movie.svg": (pictures.of_contest, "peers_movie"),
    "docs/techniques.svg": (pictures.of_contest, "techniques"),
}


def pages() -> list[Path]:
    """All that may ask for a table."""
    return sorted(page for pattern in PAGES for page in ROOT.glob(pattern))


def written() -> dict[Path, str]:
    """The text of every page and picture, as the results say."""
    drawn = {ROOT / name: draw(read(results)) for name, (draw, results) in PICTURES.items()}
    return {page: rendered(page.read_text(encoding="utf-8")) for page in pages()} | drawn


def rendered(text: str) -> str:
    """A page with its tables as the results say. Raises KeyError for a form, and FileNotFoundError for results, that
    do not exist."""
    return BLOCK.sub(lambda asked: f"{asked[1]} {asked[2]}{asked[3]}\n{FORMS[asked[1]](read(asked[2]))}\n\n", text)


def read(name: str) -> Result:
    """A file of results."""
    told: Result = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return told


def outdated() -> Iterator[tuple[str, str]]:
    """The results that are not shown to be of today's code, and what is to be said of them."""
    for path in sorted(RESULTS.glob("*.json")):
        told = read(path.stem)
        if "sources" not in told:
            yield path.stem, "does not say by which code it was made: measure it again"
        elif told["sources"] != digest(told["modules"]):
            yield path.stem, "is older than the code that it is about"
