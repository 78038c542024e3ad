"""What others make of our folders, and what we make of damaged ones."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.render.table import Column, Result, Table, markdown

# Which client opened what, and how far its vectors are from the judged ones.
CLIENTS = Table(
    Column("client", "opens"),
    Column("version", "version"),
    Column("opens", lambda row: "what the run exported" if row["form"] is None else f"`--to {row['form']}`"),
    Column("model", "model"),
    Column("texts", "inputs"),
    Column("largest difference", "largest_difference", "{:.1e}"),
    Column("other nearest text", "changed"),
    Column("run on", "date"),
)


def fuzz(result: Result) -> str:
    """How many damaged files of each kind were tried, what came of them, and a line of sums."""
    headings = ("damaged", "tried", "refused", "as it was, or read", "another function", "over time", "foreign errors")
    counted = [(kind, _tried(counts)) for kind, counts in result["kinds"].items()]
    total = ("**all**", tuple(map(sum, zip(*(counts for _, counts in counted), strict=True))))
    rows = [(name, *(f"{number:,}" for number in counts)) for name, counts in (*counted, total)]
    release = ", ".join(f"{name} {version}" for name, version in result["release"].items())
    return f"{result['date']}, at most {result['longest_s']} s each; {release}.\n\n{markdown(headings, rows)}"


def _tried(counts: Mapping[str, int]) -> tuple[int, ...]:
    bad = counts["wrong"], counts["hung"], counts["foreign"]
    whole = counts["tried"] - counts["refused"] - sum(bad)
    return counts["tried"], counts["refused"], whole, *bad
