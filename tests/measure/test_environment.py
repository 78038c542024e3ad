"""What a measurement depends on besides the model."""

from __future__ import annotations

import platform

import pytest

from compress.measure import environment


@pytest.mark.parametrize(
    ("machine", "flags", "bits"),
    [
        ("x86_64", {"avx2"}, 7),
        ("AMD64", {"avx2", "avx512f"}, 7),
        ("x86_64", {"avx2", "avx_vnni"}, 8),
        ("x86_64", {"avx512_vnni"}, 8),
        ("x86_64", {"amx_int8"}, 8),
        ("aarch64", {"asimddp"}, 8),
    ],
)
def test_seven_bits_where_sums_would_overflow(
    machine: str, flags: set[str], bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(environment, "_cpu_flags", lambda: flags)
    assert environment.int8_weight_bits() == bits
