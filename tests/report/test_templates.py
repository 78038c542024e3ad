"""What pages share: minus signs."""

from __future__ import annotations

from compress.report.templates import typographic


def test_only_minus_signs_become_minus_signs() -> None:
    text = typographic("prune-2 -0.5 [-1, +2] x86-64 1.2.3-4")
    assert text == "prune-2 \N{MINUS SIGN}0.5 [\N{MINUS SIGN}1, +2] x86-64 1.2.3-4"
