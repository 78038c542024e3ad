"""README and docs: the page of settings is what the YAML files say, and no link leads nowhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs import make_settings

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "benchmarks" / "README.md"])
FILES = [path for group in make_settings.GROUPS for path in sorted((ROOT / "conf" / group).glob("*.yaml"))]


def test_the_page_of_settings_is_what_the_files_say() -> None:
    written = make_settings.PAGE.read_text(encoding="utf-8")
    assert written == make_settings.page(), "run `make docs`"


def test_every_folder_of_settings_has_its_place_on_the_page() -> None:
    folders = {path.parent.relative_to(ROOT / "conf").as_posix() for path in (ROOT / "conf").rglob("*.yaml")}
    assert folders - {"."} == set(make_settings.GROUPS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_file_says_what_it_is_for_and_every_setting_what_it_means(path: Path) -> None:
    purpose, settings = make_settings.read(path)
    assert purpose
    handed_on = [setting.name for setting in settings if setting.value.startswith("${")]
    assert [setting.name for setting in settings if not setting.meaning and setting.name not in handed_on] == []


def test_comments_are_read_as_they_are_written(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "# @package _global_\n"
        "# What it is for,\n"
        "# in two lines.\n"
        "defaults:\n"
        "  - /importance@importance: fisher  # or random\n"
        "  - /gate: plain\n"
        "_target_: mine.Stage\n"
        "layers: 3        # how many;\n"
        "                 # or auto\n"
        "inner:\n"
        "  # above it\n"
        '  pattern: "2:4" # kept\n'
        "last: ${other}\n",
        encoding="utf-8",
    )
    purpose, settings = make_settings.read(file)
    assert purpose == "What it is for, in two lines."
    assert [(setting.name, setting.value, " ".join(setting.meaning)) for setting in settings] == [
        ("importance", "fisher", "or random"),
        ("layers", "3", "how many; or auto"),
        ("inner.pattern", '"2:4"', "above it kept"),
        ("last", "${other}", ""),
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_link_leads_nowhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, heading = target.partition("#")
        found = page if not name else page.parent / name
        assert found.exists(), f"{page.name} links {target}"
        if heading:
            headings = [line.lstrip("# ") for line in found.read_text("utf-8").splitlines() if line.startswith("#")]
            assert heading in [_anchor(line) for line in headings], f"{page.name} links {target}"


def _anchor(heading: str) -> str:
    """As code hosts call a heading in links."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
