"""README and docs: settings are what the YAML files say, every method has its card, and no link leads nowhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs import make_settings, make_site

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "benchmarks" / "README.md"])
FILES = [path for group in make_settings.GROUPS for path in sorted((ROOT / "conf" / group).glob("*.yaml"))]
CARDS = ROOT / "docs" / "methods.md"


def names_in(*groups: str) -> list[str]:
    """As the command line calls each file of these folders: `stage/prune=budget`."""
    return [f"{group}={path.stem}" for group in groups for path in sorted((ROOT / "conf" / group).glob("*.yaml"))]


METHODS = names_in(*(f"stage/{path.name}" for path in sorted((ROOT / "conf" / "stage").iterdir())))


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


def test_every_method_has_its_card_and_no_card_is_left_over() -> None:
    """A stage's card is a section of its own, a criterion or a teacher is a row of a table."""
    found = re.findall(r"^(?:### |\| )`([\w/]+=\w+)`", CARDS.read_text(encoding="utf-8"), re.M)
    assert sorted(found) == sorted(METHODS + names_in("importance", "imitation", "model"))


@pytest.mark.parametrize("method", METHODS)
def test_a_card_leaves_nothing_out(method: str) -> None:
    section = re.search(rf"^### `{re.escape(method)}`\n(.*?)(?=^#|\Z)", CARDS.read_text("utf-8"), re.M | re.S)
    assert section, f"docs/methods.md has no card for {method}"
    rows = re.findall(r"^\| (?!---)(\w[\w ]*) \| (?:\S.*) \|$", section[1], re.M)
    assert rows == ["does", "source", "chosen by", "worth it", "did not help", "refuses"]


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


def test_the_site_has_every_page_and_a_dead_link_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A copy, so that the site of somebody who is looking at it stays.
    for page in (*PAGES, *(ROOT / "docs").glob("*.png"), ROOT / "docs" / "mkdocs.yml"):
        place = tmp_path / page.relative_to(ROOT)
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(page.read_bytes())
    monkeypatch.setattr(make_site, "ROOT", tmp_path)
    assert make_site.main() == 0
    built = {path.relative_to(tmp_path / "build" / "site").as_posix() for path in tmp_path.glob("build/site/**/*.html")}
    expected = {page.relative_to(ROOT).with_suffix(".html").as_posix() for page in PAGES}
    assert {name.replace("README", "index") for name in expected} <= built
    with (tmp_path / "docs" / "sweeps.md").open("a", encoding="utf-8") as page:
        page.write("[nowhere](nowhere.md)\n")
    assert make_site.main() == 1


def _anchor(heading: str) -> str:
    """As code hosts call a heading in links."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
