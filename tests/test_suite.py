"""Which tests run when."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_what_takes_long_is_there(extensive: Sequence[str]) -> None:
    assert [name for name in extensive if not (ROOT / "tests" / name).is_file()] == []
    assert list(extensive) == sorted(set(extensive))


def test_what_lands_has_passed_all_of_them_where_there_is_time() -> None:
    """Each of the two targets leaves out what the other runs. On a slow machine the second is not begun."""
    makefile, ci = ((ROOT / name).read_text(encoding="utf-8") for name in ("Makefile", ".ci/run"))
    assert '-m "not extensive"' in makefile and "-m extensive" in makefile
    assert {"make check", "make test", "make more"} <= set(ci.splitlines())


def test_what_lands_has_been_tried_with_the_lower_bounds_where_there_is_time() -> None:
    """Behind the same question, since it installs an environment of its own."""
    makefile, ci = ((ROOT / name).read_text(encoding="utf-8") for name in ("Makefile", ".ci/run"))
    before, asked, after = ci.partition('"$SECONDS" -ge 1800')
    assert asked and "make lowest_unit" in map(str.strip, after.splitlines()) and "make lowest_unit" not in before
    assert "\nlowest_unit: $(LOWEST)/.installed" in makefile
