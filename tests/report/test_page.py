"""The page: whole by itself, safe with any text, plain about what was decided."""

from __future__ import annotations

import copy
import dataclasses
import math
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from compress.core.blame import Blame
from compress.core.fact_table import FactTable
from compress.core.ledger import Row
from compress.core.metric import CORRELATION, SHARE, Label
from compress.report.drawing import Drawing
from compress.report.page import write_page

MINUS = "\N{MINUS SIGN}"
HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)> 'it' & {{ 7 * 7 }} ]]>"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


class Outline(HTMLParser):
    """Every tag with its attributes, and the text outside of `style`."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inside_style = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._inside_style = False

    def handle_data(self, data: str) -> None:
        if not self._inside_style:
            self.text += f"{data} "

    @property
    def words(self) -> str:
        return " ".join(self.text.split())


def page(rows: list[Row], summary: dict[str, Any], folder: Path) -> tuple[str, Outline]:
    write_page(rows, summary, Drawing.of(rows, summary).plots(), folder / "report.html")
    html = (folder / "report.html").read_text(encoding="utf-8")
    return html, Outline(html)


def hostile(value: Any) -> Any:
    """`value` with every text in it made hostile, keys that are data included."""
    if isinstance(value, str):
        return f"{value}{HOSTILE}"
    if isinstance(value, dict):
        return {key: hostile(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(hostile(item) for item in value)
    return value


def test_the_decision_and_the_evidence_are_there(rows: list[Row], summary: dict[str, Any], tmp_path: Path) -> None:
    _, outline = page(rows, summary, tmp_path)
    for phrase in (
        "proven on validation",
        "0.30 points less accurate on the test split (interval \N{MINUS SIGN}0.79 to +0.19)",
        "6.80 [6.50, 7.10] times as fast",
        "failed, rolled back",
        "20.0% of the stored parameters are zero.",
        "a processor, 2 threads used",
        "onnxruntime 1.23.2, torch 2.10.0",
        "compress -cn text_classification model.path=teacher",
        '"heads": 0.5',
        "23 min 32 s",
    ):
        assert phrase in outline.words
    assert sum(tag == "svg" for tag, _ in outline.tags) == 3


def test_it_needs_nothing_from_elsewhere(rows: list[Row], summary: dict[str, Any], tmp_path: Path) -> None:
    html, outline = page(rows, summary, tmp_path)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base"} & {tag for tag, _ in outline.tags}
    assert not re.search(r"(?:https?:)?//[a-z]", html)
    assert "@import" not in html
    for _, attributes in outline.tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "xlink:href", "action", "data"):
                assert (value or "").startswith("#")
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", html))


def test_every_picture_has_a_name_and_every_id_is_one(rows: list[Row], summary: dict[str, Any], tmp_path: Path) -> None:
    _, outline = page(rows, summary, tmp_path)
    assert all(a.get("role") == "img" and a.get("aria-label") for tag, a in outline.tags if tag == "svg")
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    labels = {a["aria-labelledby"] for _, a in outline.tags if "aria-labelledby" in a}
    assert labels <= set(ids)


def test_hostile_texts_stay_texts(rows: list[Row], summary: dict[str, Any], tmp_path: Path) -> None:
    clean, _ = page(rows, summary, tmp_path)
    bad_rows = [
        dataclasses.replace(
            row, stage=row.stage + HOSTILE, artifact=HOSTILE, notes=(HOSTILE,), reasons=(HOSTILE,), verdict=row.verdict
        )
        for row in rows
    ]
    bad_summary = hostile(copy.deepcopy(summary))
    bad_summary["gates"] = {stage + HOSTILE: gate for stage, gate in bad_summary["gates"].items()}
    # A metric's name is the code's own; its title may say anything.
    bad_summary.update(metric="accuracy", metric_title=HOSTILE)
    html, outline = page(bad_rows, bad_summary, tmp_path)
    assert "<script" not in html
    assert "<img" not in html
    assert "{{ 7 * 7 }}" in outline.text
    assert {tag for tag, _ in outline.tags} <= {tag for tag, _ in Outline(clean).tags} | {"ul", "li", "h3"}
    assert not any(name.startswith("on") for _, attributes in outline.tags for name in attributes)


def test_without_a_student_it_says_which_limit(rows: list[Row], summary: dict[str, Any], tmp_path: Path) -> None:
    summary.update(student=None, exported=None, stopped_at="prune_heads")
    summary["teacher"]["test"] = None
    _, outline = page([*rows[:2], dataclasses.replace(rows[2], decision="stop")], summary, tmp_path)
    assert "Nothing was exported: at stage prune_heads, accuracy fell 1.70 points below its limit" in outline.words
    assert "failed, stopped" in outline.words
    assert "Test split It was not used." in outline.words


def test_a_failed_stage_says_why_and_what_to_try(
    rows: list[Row], summary: dict[str, Any], blame: Blame, tmp_path: Path
) -> None:
    _, outline = page([*rows[:2], dataclasses.replace(rows[2], blame=blame), *rows[3:]], summary, tmp_path)
    for phrase in (
        "'stages.quantize.keep_float=[classifier]' Expected speed-up 3.10 instead of 5.00, a prediction",
        "class tech \N{MINUS SIGN}3.1 [\N{MINUS SIGN}4.2, \N{MINUS SIGN}2.0] on 640 examples",
        "class tech 640 91.00% \N{MINUS SIGN}3.12 [\N{MINUS SIGN}4.21, \N{MINUS SIGN}2.03] yes",
        "12 to 19 tokens 1,250 90.00% \N{MINUS SIGN}0.40 [\N{MINUS SIGN}1.01, +0.21] no",
    ):
        assert phrase in outline.words
    assert outline.words.count("Why, and what to try") == 1


def test_blame_is_as_hostile_as_the_rest(
    rows: list[Row], summary: dict[str, Any], blame: Blame, tmp_path: Path
) -> None:
    blame = Blame.from_json(hostile(dataclasses.asdict(blame)))
    html, outline = page([rows[0], dataclasses.replace(rows[1], blame=blame)], summary, tmp_path)
    assert "<script" not in html
    assert "<img" not in html
    assert "{{ 7 * 7 }}" in outline.text


def test_what_a_stage_did_part_by_part(rows: list[Row], summary: dict[str, Any], tmp_path: Path) -> None:
    columns = [("matrix", "text"), ("rank", "count"), ("saves", "share")]
    told = FactTable.of(f"Ranks{HOSTILE}", columns, [(f"layer.0{HOSTILE}", 1200, -0.17), ("layer.1", None, 0.5)])
    html, outline = page([rows[0], dataclasses.replace(rows[1], tables=(told,))], summary, tmp_path)
    assert "matrix rank saves" in outline.words
    assert f"1,200 {MINUS}17.0% layer.1 50.0%" in outline.words
    assert "<script" not in html and "<img" not in html


def test_unproven_is_said_plainly(rows: list[Row], summary: dict[str, Any], tmp_path: Path) -> None:
    summary["exported"]["proven"] = False
    _, outline = page(rows, summary, tmp_path)
    assert "about one fifth of the bytes. Unproven." in outline.words
    assert "proven on validation" not in outline.words


def test_missing_numbers_are_dashes(rows: list[Row], summary: dict[str, Any], tmp_path: Path) -> None:
    broken = dataclasses.replace(
        rows[5], value=math.nan, difference=math.nan, interval=(math.nan, math.nan),
        latency_ms_p50=None, latency_ms_p90=math.nan, speedup=math.inf, speedup_interval=None, size_bytes=None,
    )  # fmt: skip
    summary["student"].update(latency_ms_p50=math.nan, latency_ms_p90=None, speedup=math.nan, speedup_interval=None)
    summary["student"]["test"].update(difference=math.nan, interval=[math.nan, math.nan])
    _, outline = page([rows[0], broken], summary, tmp_path)
    assert "nan" not in outline.words.lower().split()
    assert "None" not in outline.words.split()
    assert "Not timed in ONNX Runtime, accuracy not compared on the test split" in outline.words


def test_the_proof_of_the_export_is_told(rows: list[Row], summary: dict[str, Any], tmp_path: Path) -> None:
    summary["student"]["proof"] = {
        "torch_exact": True, "max_difference": 0.000012, "tolerance": 0.001, "argmax_agreement": 0.995, "rows": 200,
    }  # fmt: skip
    _, outline = page(rows, summary, tmp_path)
    assert "the same logits, bit for bit" in outline.words
    assert "at most 1.2e-05 (0.001 was allowed) and name the same class in 99.50%" in outline.words
    summary["student"]["proof"].update(torch_exact=False, torch_difference=3.58e-7)
    _, outline = page(rows, summary, tmp_path)
    assert "logits that differ by at most 3.6e-07 from those before saving, which another processor" in outline.words


def test_one_teacher_and_no_stage(rows: list[Row], summary: dict[str, Any], tmp_path: Path) -> None:
    summary.update(student=None, exported=None, gates={})
    _, outline = page(rows[:1], summary, tmp_path)
    assert "Nothing was exported: no stage passed a gate." in outline.words


def console_messages(address: str, profile: Path) -> list[str]:
    command = [
        str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
        f"--user-data-dir={profile}", "--enable-logging=stderr", "--virtual-time-budget=2000", "--dump-dom", address,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, "LANG": "C.UTF-8"})
    assert "<html" in done.stdout, done.stderr[-2000:]
    return [line for line in done.stderr.splitlines() if ":CONSOLE" in line]


@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on the path")
def test_a_browser_has_nothing_to_complain_about(rows: list[Row], summary: dict[str, Any], tmp_path: Path) -> None:
    write_page(rows, summary, Drawing.of(rows, summary).plots(), tmp_path / "report.html")
    assert console_messages((tmp_path / "report.html").as_uri(), tmp_path / "profile") == []
    # The check itself can fail: the page's own policy refuses a script, and the browser says so.
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    (tmp_path / "bad.html").write_text(html.replace("<main>", "<main><script>1</script>"), encoding="utf-8")
    assert console_messages((tmp_path / "bad.html").as_uri(), tmp_path / "profile") != []


def test_another_metric_is_written_in_its_own_words(rows: list[Row], summary: dict[str, Any], tmp_path: Path) -> None:
    label = Label("entity_f1", "entity F1", SHARE)
    told = [dataclasses.replace(row, metric=label, reasons=(), blame=None) for row in rows]
    summary.update(label.to_json())
    for part in (summary["teacher"], summary["student"]):
        part["test"]["entity_f1"] = part["test"].pop("accuracy")
    summary["teacher"]["by_class"] = {"EMAIL": (12.0, 13.0, 14.0), "PER": (9.0, 9.0, 10.0)}
    summary["student"]["by_class"] = {"PER": (8.0, 9.0, 10.0)}
    html, outline = page(told, summary, tmp_path)
    assert "ccuracy" not in html
    assert "entity F1, test split" in outline.words and "entity F1 may drop by, points" in outline.words
    # 2 * 12 / 27, and 2 * 8 / 19.
    assert "EMAIL 88.89% (12 of 14) \N{EN DASH}" in outline.words
    assert "84.21% (8 of 10)" in outline.words


def test_a_correlation_has_no_points(rows: list[Row], summary: dict[str, Any], tmp_path: Path) -> None:
    label = Label("spearman", "Spearman correlation", CORRELATION)
    summary.update(label.to_json())
    for part in (summary["teacher"], summary["student"]):
        part["test"]["spearman"] = part["test"].pop("accuracy")
    told = [dataclasses.replace(row, metric=label, reasons=(), blame=None) for row in rows]
    _, outline = page(told, summary, tmp_path)
    assert "points" not in outline.words and "0.9180" in outline.words


def test_what_accuracy_hides_stands_beside_it(rows: list[Row], summary: dict[str, Any], tmp_path: Path) -> None:
    _, outline = page(rows, summary, tmp_path)
    assert "macro F1 0.881 0.874 Matthews' correlation 0.752 0.740" in outline.words
    assert "recall of a class may drop by" in outline.words


def test_where_the_time_went(rows: list[Row], summary: dict[str, Any], tmp_path: Path) -> None:
    """The most first; what took less than a second, and a stage that did, are no part of the answer."""
    assert "Where the time went" not in page(rows, summary, tmp_path)[1].words
    summary["spent"] = {"other": 10.4, "training: backward": 75.0, "export and proof": 14.6, "latency table": 0.4}
    rows = [
        dataclasses.replace(rows[0], spent={"other": 0.2}),
        dataclasses.replace(rows[1], spent={"training: backward": 75.0, "other": 2.0}),
        *rows[2:],
    ]
    words = page(rows, summary, tmp_path)[1].words
    heading = f"Where the time went spent on share in all, s {rows[1].stage}, s "
    assert heading + "training: backward 74.7% 75 75 export and proof 14.5% 15 other 10.4% 10 2" in words
    assert "latency table 0" not in words
