from __future__ import annotations

import pytest

from compress.report.sweep.contributions import Spread, contributions
from compress.report.sweep.runs import Run


def test_shared_work_counts_once(runs: list[Run]) -> None:
    prune = contributions(runs)[0]
    assert (prune.stage, prune.runs, prune.broke, len(prune.pieces)) == ("prune", 6, 0, 2)
    # Rolled back in one run, kept in another: some run kept it.
    assert prune.kept == 2
    # 2 and 3 times as fast as the teacher; 60 and 50 of 90 MB.
    assert prune.spread("speed") == Spread(2.5, 2.0, 3.0)
    assert prune.spread("size") == Spread(pytest.approx(55 / 90), pytest.approx(50 / 90), pytest.approx(60 / 90))


def test_a_stage_is_measured_against_what_it_started_from(runs: list[Run]) -> None:
    quantize = contributions(runs)[1]
    # The one that broke in job 4 has no model; job 5 never came so far.
    assert (quantize.runs, quantize.broke, len(quantize.pieces), quantize.kept) == (5, 1, 4, 3)
    # 3 / 2, 4 / 2, 6 / 3, and 3 / 1 after prune was rolled back.
    assert [piece.speed for piece in quantize.pieces] == pytest.approx([1.5, 2.0, 2.0, 3.0])
    # -0.2 + 0.1, -0.4 + 0.1, -0.9 + 0.5, and -5 against the teacher.
    assert [piece.metric for piece in quantize.pieces] == pytest.approx([-0.001, -0.003, -0.004, -0.05])
    assert [piece.size for piece in quantize.pieces] == pytest.approx([30 / 60, 20 / 60, 20 / 50, 30 / 90])
    assert quantize.spread("speed") == Spread(2.0, 1.5, 3.0)


def test_nothing_measured_has_no_spread(runs: list[Run]) -> None:
    assert contributions([]) == []
    only = contributions(runs[4:5])[1]
    assert only.pieces == () and only.spread("speed") is None
