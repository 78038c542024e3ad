"""How values and differences are written, and what files call them."""

from __future__ import annotations

from compress.core.metric import ACCURACY, CORRELATION, PERPLEXITY, SHARE, Label


def test_a_difference_is_written_in_its_own_unit() -> None:
    # exp(0.002) = 1.0020: a ratio grows as things get worse.
    assert [unit.exactly(-0.002) for unit in (SHARE, CORRELATION, PERPLEXITY)] == ["-0.0020", "-0.0020", "1.0020"]
    assert [unit.noun for unit in (SHARE, CORRELATION, PERPLEXITY)] == ["points", "", ""]


def test_how_far_beyond_the_limit_a_difference_lies() -> None:
    assert SHARE.beyond(-0.025, -0.01) == "0.0150 below"
    # exp(0.05) - exp(0.01) = 1.0513 - 1.0101.
    assert PERPLEXITY.beyond(-0.05, -0.01) == "0.0412 above"


def test_what_an_earlier_release_said_of_a_metric() -> None:
    assert Label.from_json({}) == ACCURACY == Label("accuracy", "accuracy", SHARE)
    assert Label.from_json({"metric": "entity_f1"}) == Label("entity_f1", "entity_f1", SHARE)
    found = Label("spearman", "rank correlation", CORRELATION)
    assert Label.from_json(found.to_json()) == found
    assert found.to_json() == {"metric": "spearman", "metric_title": "rank correlation", "metric_unit": "plain"}


def test_fields_are_called_by_the_metrics_name() -> None:
    names = [ACCURACY.name_in_file(field) for field in ("value", "difference", "interval", "speedup")]
    assert names == ["accuracy", "accuracy_difference", "accuracy_interval", "speedup"]
