"""The page as text: whole by itself, safe with any text, nothing of the test split but one number."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

from compress.report.sweep.evidence import gather
from compress.report.sweep.page import write_page
from compress.report.sweep.runs import Run

from .conftest import MakeRun, line, measured

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)> 'it' & {{ 7 * 7 }} </script> ]]>"


class Outline(HTMLParser):
    """Tags with their attributes, and the words outside of scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self._silent = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._silent = tag in ("style", "script")

    def handle_endtag(self, tag: str) -> None:
        self._silent = False

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.words = " ".join(f"{self.words} {data}".split())


def written(folder: Path, margin: float | None = None) -> tuple[str, Outline]:
    write_page(gather([folder], margin), folder / "page.html")
    html = (folder / "page.html").read_text(encoding="utf-8")
    return html, Outline(html)


def test_everything_a_choice_needs_is_there(runs: list[Run], tmp_path: Path) -> None:
    html, outline = written(tmp_path)
    for phrase in (
        "proven on validation mine, 6 runs: 2 passed, 1 unproven, 1 nothing passed, 1 broke, 1 unfinished",
        "Take run 1 (heads 0.75, scheme dynamic): 4.00 times the teacher's speed",
        "cd '/data/my news' && compress -cn mine stages.prune.heads=0.75",
        "5: line 3 of ledger.jsonl, its last line, is torn: read up to there",
        "error, stopped: at stage quantize, it broke: the loss is not finite",
        "too few runs: 4 for",
        "2 models in 6 runs, 2 kept",
        "6 of 6 runs shown",
    ):
        assert phrase in outline.words, phrase
    assert sum("mark" in str(attributes.get("class")).split() and tag == "g" for tag, attributes in outline.tags) == 8
    # The test split's difference of the recommended run, once; the other runs' nowhere.
    assert html.count("700 examples") == 1


def test_it_needs_nothing_from_elsewhere(runs: list[Run], tmp_path: Path) -> None:
    html, outline = written(tmp_path)
    assert not {"link", "img", "iframe", "object", "embed", "base"} & {tag for tag, _ in outline.tags}
    assert not re.search(r"(?:https?:)?//[a-z]", html.replace("// ", ""))
    assert "@import" not in html and "url(" not in html
    assert not any(name.startswith("on") or name in ("src", "href") for _, told in outline.tags for name in told)
    ids = [told["id"] for _, told in outline.tags if "id" in told]
    assert len(ids) == len(set(ids))
    assert {told["aria-labelledby"] for _, told in outline.tags if "aria-labelledby" in told} <= set(ids)


def test_hostile_texts_stay_texts(make_run: MakeRun, tmp_path: Path) -> None:
    for number, heads in enumerate((HOSTILE, "0.5")):
        rows = [line(f"prune{HOSTILE}", "failed", "keep", reasons=[HOSTILE], **measured(-0.001, 2.0, 60.0, "p"))]
        make_run(
            str(number), rows, exported=f"prune{HOSTILE}", settings={"heads": heads}, recipe=HOSTILE, metric=HOSTILE,
            overrides=(f"heads={heads}",),
        )  # fmt: skip
    html, outline = written(tmp_path)
    assert [tag for tag, _ in outline.tags].count("script") == 2
    assert "img" not in {tag for tag, _ in outline.tags}
    assert not any(name.startswith("on") for _, told in outline.tags for name in told)
    assert "{{ 7 * 7 }}" in outline.words
    told = json.loads(re.findall(r'<script type="application/json" id="runs">(.*?)</script>', html, re.DOTALL)[0])
    assert told[0]["settings"] == [["heads", HOSTILE]]


def test_nothing_but_broken_runs_still_makes_a_page(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("0", [line("prune", "error", "stop", reasons=["no memory"])], finished=False)
    _, outline = written(tmp_path)
    assert "Nothing to take: no run exported a measured model." in outline.words
    assert "so there is nothing to draw" in outline.words
    assert "it broke: no memory" in outline.words


def test_one_run_alone(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("only", [line("quantize", **measured(-0.001, 2.0, 60.0, "p"))])
    _, outline = written(tmp_path)
    assert "Take run only: 2.00 times the teacher's speed" in outline.words
    assert "All runs have the same settings" in outline.words
