"""Each check, on facts made by hand: what is found, how bad it is, and what the user is told to do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from compress.cli.doctor.facts import Facts, Memory, Noise, Place, Processor, Requirement
from compress.cli.doctor.findings import diagnose

PROCESSOR = Processor(
    name="a server",
    x86=True,
    flags=frozenset({"avx2", "avx512_vnni", "avx512_bf16"}),
    cores=8,
    allowed=8,
    limit=None,
    busy=0.0,
)
STORE = Place(
    purpose="store", path="/data/store", existing="/data", free=50_000_000_000, total=100_000_000_000, problem=None
)
NOISE = Noise(ratio=1.001, interval=(0.99, 1.01), drift=1.01, spread=1.05, milliseconds=0.8)
TORCH = Requirement(package="torch", extra=None, wanted=">=2.10", installed="2.13.0", accepted=True)
OPENVINO = Requirement(package="openvino", extra="openvino", wanted=">=2025.0", installed="2026.4", accepted=True)
GOOD = Facts(
    platform="Linux",
    processor=PROCESSOR,
    threads={"runtime.threads": 8},
    thread_variables={},
    memory=Memory(total=64_000_000_000, available=32_000_000_000, limit=None),
    places=(STORE,),
    gpus=(),
    requirements=(TORCH, OPENVINO),
    openvino_precision="f32",
    draws=None,
    offline=False,
    timer_step_ns=40,
    noise=NOISE,
    noise_problem=None,
)


def test_nothing_is_found_where_all_is_well() -> None:
    assert diagnose(GOOD) == []


def _processor(**changes: Any) -> dict[str, Any]:
    return {"processor": replace(PROCESSOR, **changes)}


@pytest.mark.parametrize(
    ("changes", "severity", "what", "way_out"),
    [
        (_processor(flags=frozenset({"avx2", "avx512_bf16"})), "slow", "no VNNI", "weight_bits is 7"),
        (_processor(flags=frozenset({"avx512_vnni", "avx512_bf16"})), "slow", "no AVX2", "another machine"),
        (_processor(flags=frozenset({"avx2", "amx_int8"})), "note", "no bfloat16", "GPU"),
        (_processor(limit=1.5), "wrong", "gives 1.5 cores' time to a process that sees 8", "runtime.threads=1,"),
        (_processor(limit=6.0), "wrong", "gives 6 cores' time", "runtime.threads=6,"),
        (_processor(cores=64), "note", "8 of the machine's 64 cores", "taskset"),
        (_processor(busy=1.3), "slow", "keep 1.3 of the 8 cores busy", "wait"),
        ({"thread_variables": {"OMP_NUM_THREADS": "1"}}, "slow", "OMP_NUM_THREADS is 1", "unset OMP_NUM_THREADS"),
        ({"timer_step_ns": 15_000_000}, "wrong", "steps of 15 ms", "clock source"),
        ({"noise": None, "noise_problem": "no room"}, "wrong", "could not be timed", "Install compress anew"),
        (
            {"noise": replace(NOISE, ratio=1.2, interval=(1.15, 1.25))},
            "wrong",
            "1.200 [1.150, 1.250] times as fast: the interval does not contain 1",
            "again",
        ),
        ({"noise": replace(NOISE, ratio=1.02, interval=(1.01, 1.03))}, "note", "does not contain 1", "again"),
        ({"noise": replace(NOISE, interval=(0.8, 1.3))}, "slow", "[0.800, 1.300]", "measurement.rounds"),
        ({"noise": replace(NOISE, drift=1.25)}, "slow", "25% slower", "one run only"),
        ({"noise": replace(NOISE, disturbed=0.25)}, "slow", "wait in 25% of the rounds", "measurement.again=true"),
        ({"noise": replace(NOISE, drift=0.8)}, "slow", "20% faster", "one run only"),
        ({"memory": replace(GOOD.memory, available=2_000_000_000)}, "slow", "2.0 GB of memory", "batch_size"),
        ({"memory": replace(GOOD.memory, limit=1_000_000_000)}, "slow", "limit is 1.0 GB", "batch_size"),
        ({"places": (replace(STORE, problem="Read-only file system"),)}, "wrong", "Read-only file system", "store=DIR"),
        ({"places": (replace(STORE, free=2_000_000_000),)}, "slow", "2.00 GB of 100.0 GB", "--dry-run"),
        ({"places": (replace(STORE, purpose="temporary files", free=9_000),)}, "wrong", "0.00 GB", "TMPDIR=DIR"),
        (
            {"requirements": (replace(TORCH, installed="2.4", accepted=False),)},
            "wrong",
            "torch is 2.4; compress needs >=2.10",
            "pip install 'torch>=2.10'",
        ),
        (
            {"requirements": (replace(TORCH, installed=None, accepted=False),)},
            "wrong",
            "torch is not installed",
            "pip install 'torch>=2.10'",
        ),
        (
            {"requirements": (replace(OPENVINO, installed="2024.1", accepted=False),)},
            "slow",
            "openvino is 2024.1",
            "pip install 'compress[openvino]'",
        ),
        (
            {"requirements": (replace(OPENVINO, installed=None, accepted=False),)},
            "note",
            "extra openvino is not installed",
            "pip install 'compress[openvino]'",
        ),
        ({"openvino_precision": "bf16"}, "note", "in bf16", "INFERENCE_PRECISION_HINT=f32"),
        ({"draws": "no font"}, "wrong", "Plots cannot be drawn here (no font)", "matplotlib"),
        ({"offline": True}, "note", "HF_HUB_OFFLINE is set", "unset HF_HUB_OFFLINE"),
    ],
)
def test_one_thing_is_wrong(changes: dict[str, Any], severity: str, what: str, way_out: str) -> None:
    [finding] = diagnose(replace(GOOD, **changes))
    assert finding.severity == severity
    assert what in finding.what
    assert way_out in finding.way_out
    assert finding.why


def test_the_worst_comes_first() -> None:
    facts = replace(GOOD, offline=True, timer_step_ns=15_000_000, **_processor(busy=2.0))
    assert [finding.severity for finding in diagnose(facts)] == ["wrong", "slow", "note"]


def test_a_machine_that_is_no_x86_is_not_asked_for_its_instructions() -> None:
    assert diagnose(replace(GOOD, **_processor(x86=False, flags=frozenset({"asimddp"})))) == []
