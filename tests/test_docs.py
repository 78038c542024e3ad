"""README and docs: settings are what the YAML files say, every method has its card, no link leads nowhere, and what was
measured is rendered from a file of results."""

from __future__ import annotations

import re
from collections.abc import Sequence
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


RENDERED = re.compile(r"<!-- results: .*?<!-- end of results -->", re.S)
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`|\]\([^)]*\)", re.S | re.M)
UNITS = "times|ms|milliseconds?|s|seconds?|min|minutes?|h|hours?|points?|%|kB|MB|GB|nats|tokens/s|GOP/s"
MEASURED = re.compile(
    r"\[[+-]?\d[\d.,]*, [+-]?\d[\d.,]*\]"  # an interval
    r"|[+±-]\d+\.\d+"  # a difference
    r"|(?<=\|) *\**[+-]?\d[\d.,]*\** *(?=\|)"  # alone in the cell of a table
    rf"|(?<![\w.])\d[\d.,]*(?: to \d[\d.,]*)? ?(?:{UNITS})(?!\w)"
)
BOUND = "what is asked of an interval or a test, not what one gave"
SETTING = "a setting's default"
# Figures with a unit that nobody measured, as they stand on their page.
ALLOWED = {
    "README.md": {
        "above the margin at 95% confidence": BOUND,
        "Apache-2.0": "a licence",
    },
    "SECURITY.md": {"| 5       |": "a promise's number", "| 7       |": "a promise's number"},
    "benchmarks/README.md": {
        "pass at most 5% of the time": BOUND,
        "be at least 80%": BOUND,
    },
    "docs/busy_machine.md": {
        "that was 5% or more": "a rule of the measurement",
        "than 1.3 times apart": "a rule of the measurement",
    },
    "docs/language_models.md": {
        "installs it (93 MB)": "the size of a package that is pinned",
        "one-sided bound at 95%": BOUND,
        "more than 2 GB": "a limit of ONNX's files",
    },
    "docs/proof.md": {
        "at most 5%": BOUND,
        "at most k times 5%": BOUND,
        "at most m k times 5%": BOUND,
        "makes it 5% over": BOUND,
        "more often than 90%": BOUND,
        "in at least 90% of the draws": BOUND,
    },
    "docs/trust.md": {
        "more than 10 s of the processor's": "a limit of the tests",
        "its 10 s were a clock's": "a limit of the tests",
    },
    "docs/serving.md": {
        "a cache of 0.1 to 100 MB": "what the command tries",
        "may have 250 MB": "a limit of AWS",
    },
    "docs/settings.md": {"to tell: 20 points": SETTING},
    "docs/sweeps.md": {"(0.3 GB)": "the size of a package that is pinned"},
    "docs/tasks.md": {
        "(0.2: 20 points;": SETTING,
        "take 1,536 MB, in INT8 384, in bits 48": "arithmetic",
        "itself has 100%": "by definition",
    },
}


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
    for page in (*PAGES, *(ROOT / "docs").glob("*.svg"), ROOT / "docs" / "mkdocs.yml"):
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_was_measured_is_rendered_from_a_file_of_results(page: Path) -> None:
    """Else nobody can say which command, commit and machine a figure is of, and it stays when they change."""
    text, allowed = page.read_text(encoding="utf-8"), ALLOWED.get(page.relative_to(ROOT).as_posix(), {})
    assert [words for words in allowed if words not in text] == [], "allowed, and no longer there"
    assert typed_figures(text, list(allowed)) == [], "render it (`make docs`), or leave it out"


def test_typed_figures_are_found_and_nothing_else() -> None:
    text = (
        "<!-- results: stages mine -->\n| 9.55 times |\n<!-- end of results -->\n"
        "Made in 8 to 13 minutes, 9.6 times as fast, -0.35 points, 88.9% [-1.24, +0.54].\n"
        "| teacher | 91.4 | **171** |\n"
        "Python 3.11, `objective.max_drop=0.5 points`, 5 times at most, in 2026, 3 of 6 layers.\n"
        "```\n7 MB\n```\n"
    )
    assert typed_figures(text, ["5 times at most"]) == [
        *("8 to 13 minutes", "9.6 times", "-0.35", "88.9%", "[-1.24, +0.54]", "91.4", "**171**"),
    ]


def typed_figures(text: str, allowed: Sequence[str]) -> list[str]:
    """What reads like a measured figure: outside of rendered blocks and code, and of the words that are allowed."""
    prose = CODE.sub("", RENDERED.sub("", text))
    for words in allowed:
        prose = prose.replace(words, "")
    return [found[0].strip() for found in MEASURED.finditer(prose)]


def _anchor(heading: str) -> str:
    """As code hosts call a heading in links."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
