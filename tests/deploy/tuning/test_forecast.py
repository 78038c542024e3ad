"""The forecast of a cache, by hand."""

from __future__ import annotations

from compress.deploy.tuning.forecast import Asked, Costs, Forecast, forecast

COSTS = Costs(found=2, read=20, computed=1000)


def asked(text: str) -> Asked:
    """Read alike whatever its capitals. Keys of 10 bytes."""
    return Asked((text, 10), (text.lower().encode(), 10))


def test_hits_as_written_and_as_read() -> None:
    sample = [asked(text) for text in ("a", "a", "A", "A", "b")]
    # a: 1000, a: 2, A: 20, A: 2, b: 1000.
    assert forecast(sample, 100, COSTS, 100_000) == Forecast(100_000, 3 / 5, 2024 / 5)


def test_a_cache_that_is_too_small_forgets() -> None:
    # An entry takes 200 + 10 + 100 = 310 bytes, a text two of them: there is room for one text.
    sample = [asked(text) for text in ("a", "b", "a", "b", "b")]
    assert forecast(sample, 100, COSTS, 620).hit_rate == 1 / 5
    assert forecast(sample, 100, COSTS, 1240).hit_rate == 3 / 5
    assert forecast(sample, 100, COSTS, 309) == Forecast(309, 0, 1000)
