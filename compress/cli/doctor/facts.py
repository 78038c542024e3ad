"""What can be known of a machine, an installation and its folders. No opinion: that is `findings`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compress.core.evaluation import Interval


@dataclass(frozen=True, kw_only=True)
class Processor:
    """flags: those that matter here, in the kernel's words. cores: of the machine. allowed: how many of them this
    process may use. limit: cores' worth of time that its control group gives it, or None. busy: how many of the allowed
    cores others kept busy while we slept."""

    name: str
    x86: bool
    flags: frozenset[str]
    cores: int
    allowed: int
    limit: float | None
    busy: float


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes. limit: what the control group allows, or None."""

    total: int
    available: int
    limit: int | None


@dataclass(frozen=True, kw_only=True)
class Place:
    """A folder that runs write to. problem: why nothing can be written there, or None. existing: the nearest folder
    above it that is there."""

    purpose: str
    path: str
    existing: str
    free: int
    total: int
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """A package that compress needs, or that one of its extras does. installed: its version, or None. accepted: whether
    that is one that compress was written for."""

    package: str
    extra: str | None
    wanted: str
    installed: str | None
    accepted: bool


@dataclass(frozen=True, kw_only=True)
class Noise:
    """One model against itself. ratio, interval: of the two's times. drift: the time of the second half of the rounds
    over that of the first. spread: p90 over p50 of one and the same example. milliseconds: of one call. disturbed: the
    share of rounds in which others made one of the two wait, or None where nobody knows."""

    ratio: float
    interval: Interval
    drift: float
    spread: float
    milliseconds: float
    disturbed: float | None = None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """threads: how many each of them would use, by name. openvino_precision: what OpenVINO computes float arithmetic in
    by itself, or None where it is not installed. draws: whether plots can be drawn without a screen, or why not.
    offline: whether HF_HUB_OFFLINE forbids the hub. noise: None with noise_problem, why it could not be measured."""

    platform: str
    processor: Processor
    threads: Mapping[str, int]
    thread_variables: Mapping[str, str]
    memory: Memory
    places: tuple[Place, ...]
    gpus: tuple[str, ...]
    requirements: tuple[Requirement, ...]
    openvino_precision: str | None
    draws: str | None
    offline: bool
    timer_step_ns: int
    noise: Noise | None
    noise_problem: str | None
