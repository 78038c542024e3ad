"""Measured facts about one reloaded artifact, and the comparison of two. No opinion: that is the gate's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from compress.core.json_file import require_types
from compress.core.metric import ACCURACY, Label
from compress.core.recall import Recall

Interval = tuple[float, float]
# Metrics whose value is the mean, plain or weighted, of values that each example has of its own.
MEANS = ("accuracy", "token_accuracy", "ndcg_at_10", "log_likelihood")


# What is said wherever a speed is asked for that a busy machine kept from being measured, and what then measures it.
BUSY = "speed not measured: the machine was busy"
MEASURE_AGAIN = "measurement.again=true"


@dataclass(frozen=True)
class Proof:
    """What reloading in a fresh process showed.

    torch_exact: outputs equal bit for bit to those before saving. torch_difference: the largest difference to them;
    not 0 where another processor had computed them. max_difference: the largest absolute difference of outputs between
    torch and the runtime; tolerance: what was allowed. argmax_agreement: share of places (rows, or their positions)
    whose largest output is the same; None where outputs are single numbers or vectors, and of vectors smallest_cosine:
    of the two of a row. same_tokens: of a model that goes on with a text, the share of 32 steps at which both choose
    the same token. rows: rows compared. shapes: of each batch's first input, (rows, length, ...).
    """

    torch_exact: bool
    max_difference: float
    tolerance: float
    argmax_agreement: float | None
    rows: int
    shapes: tuple[tuple[int, ...], ...]
    torch_difference: float = 0.0
    smallest_cosine: float | None = None
    same_tokens: float | None = None


@dataclass(frozen=True)
class BatchEffect:
    """By how much answers depend on what else is in a batch: examples alone, against the same in batches.

    rows: examples compared. batch: how many stand together. largest_difference: of an output. changed: how many get
    another answer, by the task's own understanding.
    """

    rows: int
    batch: int
    largest_difference: float
    changed: int

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BatchEffect:
        """What a file says of it. Raises KeyError, TypeError or ValueError for anything else."""
        require_types(cls, data)
        return cls(**data)


@dataclass(frozen=True)
class Disturbance:
    """A speed that was not measured, because the machine was busy. It stands where the numbers would: what nobody
    knows cannot be claimed.

    rounds: how many of the rounds that were kept, `of`, were disturbed, or None where rounds cannot be told apart.
    repeated: how many more were thrown away before. foreign_share: as in Latency. speedup, speedup_interval: the ratio
    that was seen all the same, for those who want to know what a busy machine does; None of the teacher.
    """

    rounds: int | None
    of: int
    repeated: int
    foreign_share: float | None
    speedup: float | None = None
    speedup_interval: Interval | None = None

    @property
    def told(self) -> str:
        """`speed not measured: the machine was busy (others made it wait in 30 of 36 rounds, ...)`."""
        if self.rounds is None:
            seen = [f"others used {self.foreign_share or 0:.0%} of the processors"]
        else:
            seen = [f"others made it wait in {self.rounds} of {self.of} rounds"]
        seen += [f"{self.repeated} more were taken again"] if self.repeated else []
        return f"{BUSY} ({', '.join(seen)})"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Disturbance:
        """What `to_json` wrote. Raises ValueError, TypeError or KeyError for what is none."""
        told = {entry.name: data[entry.name] for entry in fields(cls)}
        require_types(cls, told)
        interval = told["speedup_interval"]
        return cls(**{**told, "speedup_interval": None if interval is None else (interval[0], interval[1])})


@dataclass(frozen=True)
class PredictionPowered:
    """What texts without labels did to the interval of a difference, or why they did nothing.

    texts: how many there are, without those that were left out. labels: how many examples have one. refused: why the
    labels alone judge, where they do: a sentence; the numbers below are None then. weight: 0 to 1, that the predictions
    had. scales: that the logits of teacher and student were multiplied by, the mean over parts. labels_difference,
    labels_interval: what the labels alone say. worth: how many labels alone would give as narrow an interval.
    """

    texts: int
    labels: int
    refused: str | None = None
    weight: float | None = None
    scales: tuple[float, float] | None = None
    labels_difference: float | None = None
    labels_interval: Interval | None = None
    worth: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PredictionPowered:
        """What `to_json` wrote. Raises ValueError, TypeError or KeyError for what is none."""
        told = {entry.name: data[entry.name] for entry in fields(cls)}
        require_types(cls, told)
        pairs = {name: told[name] for name in ("scales", "labels_interval") if told[name] is not None}
        return cls(**{**told, **{name: (pair[0], pair[1]) for name, pair in pairs.items()}})


@dataclass(frozen=True)
class Latency:
    """Milliseconds per call, `rounds[round][call]`, and those of the baseline it took turns with.

    baseline_rounds is empty where the artifact was timed alone. The examples have their real lengths; a call has
    `at_once` of them.
    launches: how often the processes were started anew, after equally many rounds each, which follow each other here.
    foreign_share: the share of its processors' time that other processes took meanwhile, or None where nobody knows.
    disturbed: whether it is no evidence, because others made the timed processes wait, or None where nobody knows;
    disturbed_rounds: in how many of these rounds, or None likewise; repeated_rounds: how many more were thrown away,
    taken again or not.
    first_rounds, baseline_first_rounds: of uses that are many calls, such as a prompt and new tokens, the time of the
    first; empty elsewhere. peak_bytes, baseline_peak_bytes: the most memory that a process which did this ever had; 0
    where nobody knows.
    """

    rounds: tuple[tuple[float, ...], ...]
    baseline_rounds: tuple[tuple[float, ...], ...] = ()
    first_rounds: tuple[tuple[float, ...], ...] = ()
    baseline_first_rounds: tuple[tuple[float, ...], ...] = ()
    peak_bytes: int = 0
    baseline_peak_bytes: int = 0
    launches: int = 1
    at_once: int = 1
    foreign_share: float | None = None
    disturbed: bool | None = None
    disturbed_rounds: int | None = None
    repeated_rounds: int = 0

    @property
    def disturbance(self) -> Disturbance | None:
        """What to say in the place of its numbers; None where they are evidence."""
        if not self.disturbed:
            return None
        return Disturbance(
            rounds=self.disturbed_rounds,
            of=len(self.rounds),
            repeated=self.repeated_rounds,
            foreign_share=self.foreign_share,
        )


@dataclass(frozen=True)
class Size:
    """bytes: of the file the runtime executes. parameters and nonzero_parameters: stored values, biases and scales
    included. bytes_by_part: embeddings, attention, ffn and other, as stored in the checkpoint."""

    bytes: int
    parameters: int
    nonzero_parameters: int
    bytes_by_part: Mapping[str, int]


@dataclass(frozen=True)
class Evaluation:
    """Facts about one artifact on one split and one runtime.

    metric: its name. statistics: of each judged example, in the order of the split, in the metric's columns. value: the
    metric's, over all of them. groups: for each example the number of the group it belongs to. figures: the task's
    further figures, by name. counts: for each class that can be found or missed, of each judged example that has to do
    with it: the example's number, true positives, how often the model names the class there and how often it is there;
    empty where the task counts none. batch_effect: where it was measured. continuations: of a few examples the
    beginning, and what the model goes on with, where it does such. torch_ratio: the baseline's plain
    PyTorch time over its time on this runtime (only for the baseline itself).
    """

    artifact: str
    split: str
    metric: str
    statistics: tuple[tuple[float, ...], ...]
    value: float
    figures: Mapping[str, float]
    groups: tuple[int, ...]
    latency: Latency | None
    size: Size | None
    proof: Proof | None
    torch_ratio: float | None
    environment: Mapping[str, Any]
    counts: Mapping[str, tuple[tuple[int, int, int, int], ...]] = field(default_factory=dict)
    batch_effect: BatchEffect | None = None
    continuations: tuple[tuple[str, str], ...] = ()

    @property
    def by_class(self) -> dict[str, tuple[float, float, float]]:
        """For each class its true positives, how often the model names it and how often it is there."""
        return {
            name: (
                float(sum(right for _, right, _, _ in rows)),
                float(sum(predicted for _, _, predicted, _ in rows)),
                float(sum(actual for _, _, _, actual in rows)),
            )
            for name, rows in self.counts.items()
        }

    @property
    def score(self) -> float:
        """The value: the accuracy where that is the metric."""
        return self.value

    @property
    def scores(self) -> tuple[float, ...]:
        """Each example's own: its first column over its second, so 1.0 where it is right and the metric is accuracy.

        Raises ValueError where an example has no value of its own, as with F1 and correlations.
        """
        if self.metric not in MEANS:
            raise ValueError(f"{self.metric} is a value of many examples together; see `statistics`")
        return tuple(first / second if second else 0.0 for first, second in self.statistics)


@dataclass(frozen=True)
class Comparison:
    """A candidate against the baseline, in pairs, with intervals at the gate's confidence.

    Each interval is two-sided, its ends one-sided bounds at `confidence`. examples_to_decide: how many examples, at
    the spread and grouping seen here, put the whole interval on one side of -`margin` four times of five; None where no
    number that one would label does, because the difference lies on the margin itself. lost: classes of which the
    baseline finds some and the candidate none: name, how many it finds, how many there are. recalls: of each class;
    empty where no class is counted or nobody asked. constant: the class that the candidate answers every example with,
    where there are several, else None; baseline_constant: the baseline's.
    batch_effect: the candidate's. disturbance: why there is no speed-up though it was timed, where that is so.
    prediction_powered: where there were texts without labels to judge by; unless it was refused, difference and
    interval are those that it gives.
    """

    score_difference: float
    score_interval: Interval
    speedup: float | None
    speedup_interval: Interval | None
    speedup_vs_torch: float | None
    examples: int
    examples_to_decide: int | None
    confidence: float
    metric: Label = ACCURACY
    lost: tuple[tuple[str, int, int], ...] = ()
    batch_effect: BatchEffect | None = None
    recalls: tuple[Recall, ...] = ()
    constant: str | None = None
    baseline_constant: str | None = None
    disturbance: Disturbance | None = None
    prediction_powered: PredictionPowered | None = None
