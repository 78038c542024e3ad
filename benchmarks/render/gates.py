"""How often a gate is wrong, and what labels are worth to it."""

from __future__ import annotations

from benchmarks.render.table import Column, Table, hundredfold

# How often a gate is wrong, for each metric and way of drawing examples.
INTERVALS = Table(
    Column("metric and examples", "case"),
    Column("n", "examples", "{:,}"),
    Column("passes at the margin", "passed_at_margin", "{:.1%}"),
    Column("passes, equal", "passed_equal", "{:.0%}"),
    Column("power", "power", "{:.0%}"),
)

# What texts without labels are worth to a gate, and how often it is wrong with them.
POWERED = Table(
    Column("teacher's probabilities", "teacher"),
    Column("examples", "layout"),
    Column("n", "examples", "{:,}"),
    Column("passes at margin, alone", "passed_at_margin.alone", "{:.0%}"),
    Column("passes at margin, with texts", "passed_at_margin.with_texts", "{:.0%}"),
    Column("passes equal, alone", "passed_equal.alone", "{:.0%}"),
    Column("passes equal, with texts", "passed_equal.with_texts", "{:.0%}"),
    Column("refused", "refused", "{:.1%}"),
    Column("labels worth, equal", "worth", "{:.2f} times"),
    Column("at margin", "worth_at_margin", "{:.2f} times"),
)

# Texts that are harder than the labelled examples.
SHIFTED = Table(
    Column("what tells classes apart in the texts", "shift", "{:g} times"),
    Column("refused", "refused", "{:.1%}"),
    Column("passes at the margin", "passed_at_margin.with_texts", "{:.1%}"),
    Column("labels alone", "passed_at_margin.alone", "{:.1%}"),
    rows="shifted",
)

# Real models, of which all labels are known and few are shown.
RESAMPLED = Table(
    Column("data", "data"),
    Column("labels", "labels", "{:,}"),
    Column("texts", "texts", "{:,}"),
    Column("draws", "draws", "{:,}"),
    Column("interval holds, labels alone", "covered_alone", "{:.1%}"),
    Column("with texts", "covered", "{:.1%}"),
    Column("width", "width", "{:.2f} of labels alone"),
    Column("labels worth", "worth", "{:.2f} times"),
    rows="real",
)

# What labels are worth where only texts that are answered differently get them.
DRAWN = Table(
    Column("texts", "texts", "{:,}"),
    Column("groups of", "together"),
    Column("answered differently", "share", "{:.1%}"),
    Column("labels", "labels", "{:,.0f}"),
    Column("passes at margin", "passed_at_margin", "{:.1%}"),
    Column("passes equal", "passed_equal", "{:.0%}"),
    Column("points on each side", "half_width", hundredfold(".2f")),
    Column("as many labels of any texts", lambda row: row["labels_alone"] if row["together"] == 1 else None, "{:,}"),
)

# Real models, on texts whose labels are all known.
DRAWN_REAL = Table(
    Column("data", "data"),
    Column("texts", "texts", "{:,}"),
    Column("answered differently", "differing", "{:,}"),
    Column("difference over all", "difference", lambda share: f"{100 * share:+.2f} points"),
    Column("labels drawn", "labels", "{:,}"),
    Column("interval holds it", "holds, draws", "{:.1%} of {:,} draws"),
    Column("points on each side", "half_width", hundredfold(".2f")),
    Column("as many labels of any texts", "labels_alone", "{:,}"),
    rows="real",
)
