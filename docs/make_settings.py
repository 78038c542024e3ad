"""Write docs/settings.md from the comments of conf/ and recipes/.

python docs/make_settings.py          # `make docs` calls it

A setting's line is `name: value   # meaning`; lines below it that hold nothing but a comment at the same place go on
with the meaning. What a file says above its first line is what it is for.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "settings.md"
HEAD = """# Settings

Written by `make docs` from the comments in `conf/` and `recipes/`. A recipe is composed from one file of each group; a
setting is changed by its place: `stages.distill.layers=3`. Another file of a group is taken by its name:
`stage/quantize@stages.quantize=static`, `runtime=openvino`. `compress -cn RECIPE --cfg job` prints all settings of a
recipe with their values.
"""
# Each folder of conf/: where its settings stand in a recipe, and its title. `NAME` is a stage's name in the order.
GROUPS = {
    "model": ("model.", "The model that is given"),
    "data": ("data.", "Data"),
    "task": ("task.", "Tasks"),
    "stage/distill": ("stages.NAME.", "Distillation"),
    "stage/prune": ("stages.NAME.", "Pruning"),
    "stage/factorize": ("stages.NAME.", "Low-rank factorization"),
    "stage/fuse": ("stages.NAME.", "Fusing"),
    "stage/quantize": ("stages.NAME.", "Quantization"),
    "importance": ("stages.NAME.importance.", "What matters"),
    "imitation": ("stages.NAME.imitation.", "What a student imitates"),
    "optimization": ("stages.NAME.imitation.optimization.", "How it is trained"),
    "gate": ("gate.", "Gates"),
    "runtime": ("runtime.", "Runtimes"),
    "measurement": ("measurement.", "Measuring"),
    "tracking": ("tracking.", "Trackers"),
    "hydra/sweeper": ("hydra.sweeper.", "Sweeps and searches"),
}
LINE = re.compile(r"(?P<indent> *)(?P<name>[^\s#:-][^#:]*):(?P<value>.*)")
CHOICE = re.compile(r"\s*- (?:override )?/?(?P<group>[\w/]+)(?:@(?P<place>[\w.]+))?: (?P<value>\w+)(?P<comment>.*)")
# A comment begins after a space; a # inside of quotes would be none, and there is none.
COMMENT = re.compile(r"(?:^|\s)#\s?(?P<text>.*)$")


@dataclass
class Setting:
    """name: its place within its file, with dots. column: where its comment begins."""

    name: str
    value: str
    meaning: list[str] = field(default_factory=list)
    column: int = -1


def main() -> int:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    return 0


def page() -> str:
    """The whole page."""
    parts = [HEAD, "## Of every recipe\n", table(*read(ROOT / "conf" / "base.yaml"), prefix="")]
    for group, (prefix, title) in GROUPS.items():
        parts.append(f"## {title}\n")
        for path in sorted((ROOT / "conf" / group).glob("*.yaml")):
            purpose, settings = read(path)
            parts.append(f"### `{group}={path.stem}`\n")
            parts.append(table(purpose, settings, prefix))
    parts.append("## Recipes\n")
    rows = [(f"`compress -cn {path.stem}`", read(path)[0]) for path in sorted((ROOT / "recipes").glob("*.yaml"))]
    parts.append(markdown(("command", "for"), rows))
    return "\n".join(parts)


def table(purpose: str, settings: Sequence[Setting], prefix: str) -> str:
    """A file's purpose and its settings. Those that only hand on what others say, and have no comment, are left out."""
    rows = [
        (f"`{prefix}{setting.name}`", f"`{setting.value}`" if setting.value else "", " ".join(setting.meaning))
        for setting in settings
        if setting.meaning or not setting.value.startswith("${")
    ]
    return f"{purpose}\n" + (f"\n{markdown(('setting', 'default', 'meaning'), rows)}" if rows else "")


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def read(path: Path) -> tuple[str, list[Setting]]:
    """What a file is for, and its settings in order."""
    purpose: list[str] = []
    settings: list[Setting] = []
    above: list[str] = []
    for line, names in _placed(path.read_text(encoding="utf-8").splitlines()):
        comment = COMMENT.search(line)
        text = "" if comment is None else comment["text"].strip()
        if line.lstrip().startswith("#"):
            if not settings and not above and not names:
                purpose += [] if text.startswith("@package") else [text]
            elif settings and line.index("#") == settings[-1].column:
                settings[-1].meaning.append(text)
            else:
                above.append(text)
            continue
        # What a class is called, what a data source is handed, and how Hydra is set up is nobody's choice.
        if not names or names[-1].startswith("_") or names[0] in ("hydra", "source"):
            continue
        value = line[: comment.start()] if comment else line
        chosen = CHOICE.match(value)
        told = chosen["value"] if chosen else value.partition(":")[2].strip()
        column = line.index("#", comment.start()) if comment else -1
        settings.append(Setting(".".join(names), told, [*above, *([text] if text else [])], column))
        above = []
    return " ".join(purpose), [setting for setting in settings if setting.value or setting.meaning]


def _placed(lines: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Each line with the names that lead to what it sets; none for a comment, a list's entry or a default's file."""
    inside: list[tuple[int, str]] = []
    for line in lines:
        if line.lstrip().startswith("#"):
            yield line, [name for _, name in inside]
            continue
        choice, found = CHOICE.match(line), LINE.match(line)
        if choice:
            place = choice["place"] or choice["group"].rpartition("/")[2]
            yield line, [] if choice["comment"].strip() == "" else [place]
        elif found:
            indent = len(found["indent"])
            inside = [(column, name) for column, name in inside if column < indent]
            inside.append((indent, found["name"]))
            yield line, [name for _, name in inside] if found["name"] != "defaults" else []


if __name__ == "__main__":
    sys.exit(main())
