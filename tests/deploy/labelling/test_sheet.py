"""The table to label, as a spreadsheet leaves it, and what is judged by it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from compress.core.errors import InputError
from compress.core.manifest import checksum_of
from compress.deploy.labelling.judge import judge, verdict_of
from compress.deploy.labelling.sheet import FACTS, TABLE, VERDICT, Drawn, is_sheet, read_sheet, write_sheet
from compress.measure.drawn_labels import Pool


def drawn(**changed: Any) -> Drawn:
    """Four texts of three groups, of 1,000 texts of which 12 are answered differently."""
    told: dict[str, Any] = {
        "run": "run",
        "artifact": "0" * 32,
        "texts": "texts.csv",
        "seen": 7,
        "pool": Pool(1000, 900, 12, 10, 1100),
        "groups": [0, 0, 1, 2],
        "sizes": [3, 1, 2],
        "teacher": ["Sport", "Sport", "Arts", "Politics"],
        "student": ["Arts", "Politics", "Sport", "Arts"],
        "names": ["Arts", "Politics", "Sport"],
        "margin": 0.01,
        "confidence": 0.95,
    }
    return Drawn(**{**told, **changed})


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    write_sheet(tmp_path / "sheet", drawn(), {"text": ['one, "quoted"', "two\nlines", "drei \u00e4", "=4"]})
    return tmp_path / "sheet"


def fill(sheet: Path, text: str, encoding: str = "utf-8") -> None:
    (sheet / TABLE).write_text(text, encoding=encoding)


def test_the_table_says_what_people_need(sheet: Path) -> None:
    text = (sheet / TABLE).read_text(encoding="utf-8-sig")
    assert text.splitlines()[:2] == ["number,text,label,answers", '1,"one, ""quoted""",,Arts | Sport']
    assert "3,drei \u00e4,,Arts | Sport" in text
    assert is_sheet(sheet) and not is_sheet(sheet.parent)


def test_labels_come_back_in_order_however_they_were_saved(sheet: Path) -> None:
    fill(sheet, "number;text;label\n4.0;x;Politics\n2;x; arts \n1;x;Sport\n3;x;SPORT\n", "utf-8-sig")
    found, labels = read_sheet(sheet)
    assert found == drawn()
    assert labels == ["Sport", "Arts", "Sport", "Politics"]


def test_the_verdict_by_hand(sheet: Path) -> None:
    # Right are: teacher, neither (group 0); student (group 1); teacher (group 2).
    verdict = verdict_of(drawn(), ["Sport", "Arts", "Sport", "Politics"])
    assert (verdict.better, verdict.worse, verdict.labels, verdict.texts) == (1, 2, 4, 1000)
    # Sums of the groups -1, 1, -1; ten groups of the pool differ: 10 / 3 of -1, in 1,000 texts.
    assert verdict.difference == pytest.approx(-10 / 3 / 1000)
    low, high = verdict.interval
    assert low < -0.01 < high and verdict.outcome == "inconclusive" and "nothing is decided" in verdict.told()
    fill(sheet, "number,label\n1,Sport\n2,Arts\n3,Sport\n4,Politics\n")
    assert judge(sheet)[0] == verdict
    assert json.loads((sheet / VERDICT).read_text(encoding="utf-8"))["told"] == verdict.told()


def test_where_all_is_answered_alike_nothing_is_to_be_labelled(tmp_path: Path) -> None:
    alike = drawn(pool=Pool(1000, 900, 0, 0, 1400), groups=[], sizes=[], teacher=[], student=[])
    write_sheet(tmp_path / "sheet", alike, {"text": []})
    verdict, _ = judge(tmp_path / "sheet")
    assert (verdict.outcome, verdict.difference, verdict.labels) == ("passed", 0.0, 0)


def test_images_lie_beside_the_table(tmp_path: Path) -> None:
    made = io.BytesIO()
    Image.new("L", (4, 4), 7).save(made, "PNG")
    write_sheet(tmp_path / "sheet", drawn(), {"image": [made.getvalue()] * 4})
    assert "\n3,images/image-3.png,," in (tmp_path / "sheet" / TABLE).read_text(encoding="utf-8-sig")
    assert Image.open(tmp_path / "sheet" / "images" / "image-3.png").getpixel((0, 0)) == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("number,labels\n1,Arts\n", "has no column label. Keep the first line as it was"),
        ("number,label\n1,Arts\n2,Arts\n3,Arts\n", "1 of 4 texts have no label, the first is number 4"),
        ("number,label\n1,Arts\n2,\n3,Arts\n4,\n", "2 of 4 texts have no label, the first is number 2"),
        ("number,label\n1,Arts\n1,Arts\n3,Arts\n4,Arts\n", "line 3: number is '1'; each of 1 to 4 must be there once"),
        ("number,label\n1,Arts\n5,Arts\n", "line 3: number is '5'"),
        ("number,label\n1,Arts\none,Arts\n", "line 3: number is 'one'"),
        (
            "number,label\n1,Art\n2,Arts\n3,Arts\n4,Arts\n",
            "label is 'Art', which is no class of the model. Did you mean",
        ),
        ("number,label\n1,Weather\n2,Arts\n3,Arts\n4,Arts\n", "They are Arts, Politics, Sport."),
    ],
)
def test_what_is_not_as_it_must_be_is_named(sheet: Path, text: str, message: str) -> None:
    fill(sheet, text)
    with pytest.raises(InputError) as refused:
        read_sheet(sheet)
    assert message in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "damage",
    [
        {"pool": {"texts": 1000}},
        {"pool": None},
        {"margin": "0.01"},
        {"groups": [0, 0, 1]},
        {"groups": [0, 0, 1, 3]},
        {"teacher": ["Sport"]},
        {"unknown": 1},
    ],
)
def test_facts_that_fit_their_checksum_and_nothing_else_are_refused(sheet: Path, damage: dict[str, Any]) -> None:
    told = {**json.loads((sheet / FACTS).read_text(encoding="utf-8"))["drawn"], **damage}
    (sheet / FACTS).write_text(json.dumps({"drawn": told, "sha256": checksum_of(told)}), encoding="utf-8")
    with pytest.raises(InputError, match=r"drawn\.json cannot be used \(.*\)\. Draw again, into a new folder\."):
        read_sheet(sheet)


def test_a_folder_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(IndexError):
        write_sheet(tmp_path / "sheet", drawn(), {"text": ["too few"]})
    assert list(tmp_path.iterdir()) == []
