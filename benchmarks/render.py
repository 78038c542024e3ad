"""Write the tables of README and docs from benchmarks/results, where a page asks for one.

python -m benchmarks.render           # rewrite what differs
python -m benchmarks.render --check   # only say what differs, and which results are older than their code

A page asks with a comment, `<!-- results: stages NAME -->`; what stands between it and `<!-- end of results -->` is
written by this script. NAME is a file of benchmarks/results.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS, digest
from compress.core.ledger import Row
from compress.report import wording

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/*.md", "benchmarks/README.md")
BLOCK = re.compile(r"(?<=<!-- results: )(\w+) (\w+)( -->\n).*?(?=<!-- end of results -->)", re.DOTALL)
Result = Mapping[str, Any]
PROGRAMS = ("onnxruntime-genai", "xllamacpp", "ctranslate2")


def main() -> int:
    """1 where `--check` finds a page that differs, else 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    differing = [page for page in pages() if rendered(page.read_text("utf-8")) != page.read_text("utf-8")]
    for page in differing:
        print(f"{page.relative_to(ROOT)}: {'differs from its results' if check else 'written'}")
        if not check:
            page.write_text(rendered(page.read_text("utf-8")), encoding="utf-8")
    for name in outdated():
        print(f"results/{name}.json is older than the code that it is about")
    return int(check and bool(differing))


def pages() -> list[Path]:
    """All that may ask for a table."""
    return sorted(page for pattern in PAGES for page in ROOT.glob(pattern))


def rendered(text: str) -> str:
    """A page with its tables as the results say. Raises KeyError for a form, and FileNotFoundError for results, that
    do not exist."""
    return BLOCK.sub(lambda asked: f"{asked[1]} {asked[2]}{asked[3]}\n{FORMS[asked[1]](read(asked[2]))}\n\n", text)


def read(name: str) -> Result:
    """A file of results."""
    told: Result = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return told


def outdated() -> Iterator[str]:
    """The results of runs whose code has changed since."""
    for path in sorted(RESULTS.glob("*.json")):
        told = read(path.stem)
        if "sources" in told and told["sources"] != digest(told["modules"]):
            yield path.stem


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose columns are as wide as their widest cell."""
    widths = [max(len(row[number]) for row in (columns, *rows)) for number in range(len(columns))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return "\n".join([line(columns), line(["-" * width for width in widths]), *map(line, rows)])


def stages(result: Result) -> str:
    """A run's table, a row for each stage."""
    rows = [Row.from_json(row) for row in result["rows"]]
    metric = rows[0].metric
    columns = (
        "stage",
        metric.title,
        wording.heading("against the teacher", metric.unit),
        "p50 / p90, ms",
        "speed-up",
        "against PyTorch",
        "MB",
        "verdict",
    )
    return markdown(columns, [_stage(row) for row in rows])


def _stage(row: Row) -> tuple[str, ...]:
    unit = row.metric.unit
    return (
        row.stage,
        wording.value(row.value, unit, 1),
        "" if row.difference is None else wording.difference_with_interval(row.difference, row.interval, unit, 1),
        wording.latency(row.latency_ms_p50, row.latency_ms_p90),
        wording.factor_with_interval(row.speedup, row.speedup_interval),
        wording.three_digits(row.speedup_vs_torch),
        wording.megabytes(row.size_bytes),
        wording.verdict_words(row),
    )


def outcome(result: Result) -> str:
    """A run in sentences: the test split, what was asked for, where it was measured and by which command."""
    return " ".join((_tested(result), _reached(result), _measured(result)))


def _tested(result: Result) -> str:
    row = _exported(result)
    teacher, student = result["teacher"]["test"], result["student"]["test"]
    if student is None:
        return "No test split was read."
    unit, name = row.metric.unit, row.metric.name
    lost = wording.difference_with_interval(student["difference"], student["interval"], unit, 2)
    compared = "a ratio of" if unit.kind == "ratio" else "difference"
    return (
        f"On the test split, read once ({student['examples']:,} examples): teacher "
        f"{wording.value(teacher[name], unit, 1)}, student {wording.value(student[name], unit, 1)}, {compared} "
        f"{lost if unit.kind == 'ratio' else wording.counted(lost, unit)}."
    )


def _reached(result: Result) -> str:
    row, first = _exported(result), Row.from_json(result["rows"][0])
    assert row.size_bytes is not None and first.size_bytes is not None
    speed = wording.factor_with_interval(row.speedup, row.speedup_interval)
    predicted = "" if row.predicted_speedup is None else f", {row.predicted_speedup:.1f} predicted"
    asked = f" ({result['objective']['speedup']:g} were asked for{predicted})" if result["objective"] else ""
    return f"**{speed} times faster**{asked}, **{first.size_bytes / row.size_bytes:.1f} times smaller**."


def _measured(result: Result) -> str:
    machine = result["machine"]
    named = {name: version for name, version in result["versions"].items() if name in ("torch", "onnxruntime")}
    versions = ", ".join(f"{name} {version}" for name, version in named.items())
    return (
        f"Measured on {result['date']} in {wording.duration(result['seconds'])} with {machine['threads']} threads of "
        f"{machine['cpu']} ({', '.join(machine['cpu_flags'])}), {versions}, by `{result['command']}`."
    )


def _exported(result: Result) -> Row:
    return next(row for row in map(Row.from_json, result["rows"]) if row.stage == result["exported"]["stage"])


def intervals(result: Result) -> str:
    """How often a gate is wrong, for each metric and way of drawing examples."""
    columns = ("metric and examples", "n", "passes at the margin", "passes, equal", "power")
    rows = [
        (
            row["case"],
            f"{row['examples']:,}",
            f"{row['passed_at_margin']:.1%}",
            f"{row['passed_equal']:.0%}",
            "" if row["power"] is None else f"{row['power']:.0%}",
        )
        for row in result["rows"]
    ]
    return markdown(columns, rows)


def powered(result: Result) -> str:
    """What texts without labels are worth to a gate, and how often it is wrong with them."""
    columns = (
        "teacher's probabilities",
        "examples",
        "n",
        *(f"passes {when}, {by}".replace("_", " ") for when, by in LOOKS),
        "refused",
        "labels worth, equal",
        "at margin",
    )
    rows = [
        (
            row["teacher"],
            row["layout"],
            f"{row['examples']:,}",
            *(f"{row[f'passed_{when}'][by]:.0%}" for when, by in LOOKS),
            f"{row['refused']:.1%}",
            _worth(row["worth"]),
            _worth(row["worth_at_margin"]),
        )
        for row in result["rows"]
    ]
    return markdown(columns, rows)


LOOKS = (("at_margin", "alone"), ("at_margin", "with_texts"), ("equal", "alone"), ("equal", "with_texts"))


def shifted(result: Result) -> str:
    """Texts that are harder than the labelled examples."""
    columns = ("what tells classes apart in the texts", "refused", "passes at the margin", "labels alone")
    rows = [
        (
            f"{row['shift']:g} times",
            f"{row['refused']:.1%}",
            f"{row['passed_at_margin']['with_texts']:.1%}",
            f"{row['passed_at_margin']['alone']:.1%}",
        )
        for row in result["shifted"]
    ]
    return markdown(columns, rows)


def resampled(result: Result) -> str:
    """Real models, of which all labels are known and few are shown."""
    columns = (
        "data",
        "labels",
        "texts",
        "draws",
        "interval holds, labels alone",
        "with texts",
        "width",
        "labels worth",
    )
    rows = [
        (
            row["data"],
            f"{row['labels']:,}",
            f"{row['texts']:,}",
            f"{row['draws']:,}",
            f"{row['covered_alone']:.1%}",
            f"{row['covered']:.1%}",
            f"{row['width']:.2f} of labels alone",
            _worth(row["worth"]),
        )
        for row in result["real"]
    ]
    return markdown(columns, rows)


def _worth(share: float | None) -> str:
    return "" if share is None else f"{share:.2f} times"


def clients(result: Result) -> str:
    """Which client opened what, and how far its vectors are from the judged ones."""
    columns = ("client", "version", "opens", "model", "texts", "largest difference", "other nearest text", "run on")
    rows = [
        (
            row["opens"],
            row["version"],
            "what the run exported" if row["form"] is None else f"`--to {row['form']}`",
            row["model"],
            str(row["inputs"]),
            f"{row['largest_difference']:.1e}",
            str(row["changed"]),
            row["date"],
        )
        for row in result["rows"]
    ]
    return markdown(columns, rows)


def drawn(result: Result) -> str:
    """What labels are worth where only texts that are answered differently get them."""
    columns = (
        "texts",
        "groups of",
        "answered differently",
        "labels",
        "passes at margin",
        "passes equal",
        "points on each side",
        "as many labels of any texts",
    )
    rows = [
        (
            f"{row['texts']:,}",
            str(row["together"]),
            f"{row['share']:.1%}",
            f"{row['labels']:,.0f}",
            f"{row['passed_at_margin']:.1%}",
            f"{row['passed_equal']:.0%}",
            f"{100 * row['half_width']:.2f}",
            f"{row['labels_alone']:,}" if row["together"] == 1 else "",
        )
        for row in result["rows"]
    ]
    return markdown(columns, rows)


def drawn_real(result: Result) -> str:
    """Real models, on texts whose labels are all known."""
    columns = (
        "data",
        "texts",
        "answered differently",
        "difference over all",
        "labels drawn",
        "interval holds it",
        "points on each side",
        "as many labels of any texts",
    )
    rows = [
        (
            row["data"],
            f"{row['texts']:,}",
            f"{row['differing']:,}",
            f"{100 * row['difference']:+.2f} points",
            f"{row['labels']:,}",
            f"{row['holds']:.1%} of {row['draws']:,} draws",
            f"{100 * row['half_width']:.2f}",
            f"{row['labels_alone']:,}",
        )
        for row in result["real"]
    ]
    return markdown(columns, rows)


def fuzz(result: Result) -> str:
    """How many damaged files of each kind were tried, and what came of it."""
    columns = ("damaged", "tried", "refused", "as it was, or read", "another function", "over time", "foreign errors")
    counted = [(kind, *_tried(counts)) for kind, counts in result["kinds"].items()]
    total = ("**all**", *(sum(of_kind[place] for of_kind in counted) for place in range(1, len(columns))))
    rows = [(str(name), *(f"{number:,}" for number in numbers)) for name, *numbers in (*counted, total)]
    release = ", ".join(f"{name} {version}" for name, version in result["release"].items())
    return f"{result['date']}, at most {result['longest_s']} s each; {release}.\n\n{markdown(columns, rows)}"


def _tried(counts: Mapping[str, int]) -> tuple[int, ...]:
    bad = counts["wrong"], counts["hung"], counts["foreign"]
    whole = counts["tried"] - counts["refused"] - sum(bad)
    return counts["tried"], counts["refused"], whole, *bad


def busy(result: Result) -> str:
    """What was claimed beside others, and how much of it was wrong."""
    columns = ("pair", "beside", "runs", "not measured", "claims", "wrong claims", "wrong, had nobody looked")
    rows = [
        (
            row["pair"],
            row["beside"],
            *(str(row[name]) for name in ("runs", "not_measured", "claims", "wrong_claims", "ignoring")),
        )
        for row in result["rows"]
    ]
    return markdown(columns, rows)


def waiting(result: Result) -> str:
    """What a training gains whose threads spin less, beside what."""
    columns = ("beside", "a step, spinning, ms", "spinning briefly, times as fast", "asleep, times as fast")
    rows = [
        (
            row["case"],
            f"{row['milliseconds']['spinning']:.0f}",
            *(_gain(row["gains"][way]) for way in ("brief", "asleep")),
        )
        for row in result["rows"]
    ]
    machine = result["machine"]
    told = f"{result['date']}, {machine['threads']} threads of {machine['cpu']}, torch {result['versions']['torch']}."
    return f"{told}\n\n{markdown(columns, rows)}"


def _gain(gains: Sequence[float]) -> str:
    return f"{statistics.median(gains):.2f} [{min(gains):.2f}, {max(gains):.2f}]"


def predictions(result: Result) -> str:
    """What a latency table says of whole models, and what they took."""
    columns = ("layers", "heads", "neurons", "measured, times the teacher", "predicted", "by the parts alone")
    rows = [
        (
            str(len(row["shape"])),
            *(_sizes([layer[which] for layer in row["shape"]]) for which in (0, 1)),
            f"{row['measured']:.2f}",
            *(f"{row[name]:.2f} ({row[name] / row['measured'] - 1:+.0%})" for name in ("predicted", "by_parts")),
        )
        for row in result["rows"]
    ]
    machine = result["machine"]
    told = f"{result['date']}, {machine['threads']} threads of {machine['cpu']}, texts of {result['lengths']} tokens."
    return f"{told}\n\n{markdown(columns, rows)}"


def _sizes(values: Sequence[int]) -> str:
    return str(values[0]) if len(set(values)) == 1 else ", ".join(map(str, values))


def decoders(result: Result) -> str:
    """A language model in the forms of several programs."""
    columns = (
        "form",
        "perplexity, times FP32's",
        "KL, nats",
        "same token",
        "first token, ms",
        "tokens a second",
        "request, times FP32's speed",
        "decoding, times",
        "MB",
        "memory, MB",
    )
    rows = [
        (
            row["name"],
            "" if row["ratio"] is None else f"{row['ratio']:.4f} {_range(row['ratio_interval'], '.4f')}",
            f"{row['kl_divergence']:.4f}" if "kl_divergence" in row else "",
            f"{row['same_top_token']:.1%}" if "same_top_token" in row else "",
            f"{row['first_token_ms']:.0f}",
            f"{row['tokens_per_second']:.0f}",
            *(f"{row[name]:.2f} {_range(row[f'{name}_interval'], '.2f')}" for name in ("request", "decoding")),
            f"{row['bytes'] / 1e6:.0f}",
            f"{row['peak_bytes'] / 1e6:.0f}",
        )
        for row in result["rows"]
    ]
    machine, request, known = result["machine"], result["request"], ("torch", "onnxruntime", *PROGRAMS)
    named = ", ".join(f"{name} {result['versions'][name]}" for name in known if name in result["versions"])
    told = (
        f"Requests of {request['prompt_tokens']} tokens and {request['new_tokens']} new ones, greedy, in turns, "
        f"{machine['threads']} threads of {machine['cpu']}; perplexity on {result['windows']} windows of "
        f"{result['documents']} articles, in pairs with FP32, 95% intervals. {result['date']}, {named}."
    )
    return f"{told}\n\n{markdown(columns, rows)}"


def rivals(result: Result) -> str:
    """How many times as fast ours is as the other programs' forms of as many bits."""
    rows = [
        (
            row["ours"],
            row["rival"],
            *(f"{row[name]:.2f} {_range(row[f'{name}_interval'], '.2f')}" for name in ("request", "decoding")),
        )
        for row in result["rivals"]
    ]
    return markdown(("ours", "beside", "request, times as fast", "decoding, times as fast"), rows)


def _range(interval: Sequence[float], form: str) -> str:
    return f"[{interval[0]:{form}}, {interval[1]:{form}}]"


FORMS: Mapping[str, Callable[[Result], str]] = {
    "stages": stages,
    "outcome": outcome,
    "intervals": intervals,
    "clients": clients,
    "busy": busy,
    "waiting": waiting,
    "powered": powered,
    "shifted": shifted,
    "resampled": resampled,
    "drawn": drawn,
    "drawn_real": drawn_real,
    "fuzz": fuzz,
    "decoders": decoders,
    "predictions": predictions,
    "rivals": rivals,
}

if __name__ == "__main__":
    sys.exit(main())
