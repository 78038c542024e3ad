"""Matplotlib figures as SVG that belongs inside an HTML page: no ids that clash, colours the page can change."""

from __future__ import annotations

import io
import re
from html import escape
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Colours on a light page. Each becomes a CSS variable `--plot-NAME`, so that the page can give others for the dark.
PALETTE = {
    "ink": "#1d2733",
    "muted": "#586473",
    "grid": "#dfe4ea",
    "paper": "#fefefe",
    "good": "#16794b",
    "unsure": "#9a5b00",
    "bad": "#b3261e",
    "embeddings": "#33638d",
    "attention": "#3f9a8f",
    "ffn": "#d08c2e",
    "other": "#9aa5b1",
}

FONT_SIZE = 12.0
WIDTH_INCHES = 11.0
# For `matplotlib.rc_context`, around the whole of a drawing: text stays text, in the page's own font.
STYLE: dict[Any, Any] = {"font.family": "sans-serif", "font.size": FONT_SIZE, "svg.fonttype": "none"}


def inline_svg(figure: Figure, name: str, description: str) -> str:
    """An `<svg>` element with `description` as its accessible name. Equal figures give equal text.

    name: distinguishes the plots of one page; ids of shared shapes are hashed with it.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": f"compress.{name}"}):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    # Its rule for line joins would apply to the whole page.
    text = re.sub(r"<style.*?</style>\s*", "", text, flags=re.DOTALL)
    # Groups are named `axes_1` in every figure; nothing refers to them.
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    # Plain `href` needs no namespace.
    text = text.replace("<use xlink:href=", "<use href=")
    view_box = re.search(r'viewBox="([^"]*)"', text)
    if view_box is None:
        raise ValueError("matplotlib wrote an SVG without a viewBox")
    opening = f'<svg viewBox="{view_box[1]}" role="img" aria-label="{escape(description)}">'
    text = opening + text[text.index(">") + 1 :]
    for colour, value in PALETTE.items():
        text = text.replace(value, f"var(--plot-{colour}, {value})")
    return text.strip()


def new_figure(width_inches: float, height_inches: float) -> Figure:
    """An empty figure whose layout keeps labels inside. 72 units of the SVG make an inch."""
    return Figure(figsize=(width_inches, height_inches), dpi=72, layout="constrained")


def plain(axes: Axes, grid: Literal["both", "x"]) -> None:
    """Take the frame and tick marks off, and leave quiet grid lines across the given axes."""
    axes.spines[:].set_visible(False)
    axes.grid(axis=grid, color=PALETTE["grid"], linewidth=1)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=PALETTE["muted"], pad=6)


def short_name(name: str) -> str:
    """A stage's name, cut where it would take more than a quarter of a figure."""
    return name if len(name) <= 28 else f"{name[:27]}…"
