"""The gate: limits, and a pure judgement of a comparison against them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from compress.core.checks import require_choice, require_fraction, require_positive
from compress.core.errors import InputError
from compress.core.evaluation import Comparison
from compress.core.recall import collapsed, not_judged

Outcome = Literal["passed", "failed", "inconclusive"]


@dataclass(frozen=True)
class Verdict:
    """outcome, the reasons in words, and whether the measured values themselves lie within the limits. findings: those
    of the reasons that no limit asks for, and that whoever reads a passed verdict should know too. missed: those that
    say what was missed beside the metric and the speed. notes: what could not be judged."""

    outcome: Outcome
    reasons: tuple[str, ...]
    within_limits: bool
    findings: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Limits for one stage, against the teacher.

    max_accuracy_drop: the non-inferiority margin on the scale of the metric's values: for accuracy, F1 and other shares
    a fraction (0.01 = one point). The stage passes only if the lower bound of (candidate - teacher) at `confidence`
    (one-sided) lies above -max_accuracy_drop. min_speedup: likewise for the ratio of latencies, or None.
    max_recall_drop: the stage fails where the recall of a class is shown to have fallen by more, as a fraction, or
    None; see `compress.measure.classes`. max_batch_effect: the share of examples, 0 to 1, that may get another answer
    among others in a batch than alone; None: told, and not judged.

    on_failure: `stop`, `roll_back` or `warn`. on_inconclusive: `keep` (go on as
    unproven where the measured values are within the limits) or `fail`.
    """

    name: str
    max_accuracy_drop: float
    min_speedup: float | None
    max_batch_effect: float | None
    max_recall_drop: float | None
    confidence: float
    on_failure: str
    on_inconclusive: str

    def __post_init__(self) -> None:
        drop = self.max_accuracy_drop
        if isinstance(drop, bool) or not isinstance(drop, int | float) or not 0 <= drop <= 1:
            raise InputError(
                f"{self.name}.max_accuracy_drop is {drop}; it is a fraction in [0, 1]. Use 0.01 for one point."
            )
        if self.min_speedup is not None:
            require_positive(f"{self.name}.min_speedup", self.min_speedup, "Use 2 for twice as fast, or null.")
        share = self.max_batch_effect
        if share is not None and (isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1):
            raise InputError(
                f"{self.name}.max_batch_effect is {share}; it is a share of examples, in [0, 1]. Use 0 for none, or "
                "null not to judge it."
            )
        if self.max_recall_drop is not None:
            require_fraction(
                f"{self.name}.max_recall_drop",
                self.max_recall_drop,
                "Use 0.2 for 20 points, or null where no class is to be looked at.",
            )
        if not isinstance(self.confidence, int | float) or not 0.5 < self.confidence < 1:
            raise InputError(
                f"{self.name}.confidence is {self.confidence}; it must lie between 0.5 and 1. Use 0.95, for example."
            )
        require_choice(f"{self.name}.on_failure", self.on_failure, ("stop", "roll_back", "warn"))
        require_choice(f"{self.name}.on_inconclusive", self.on_inconclusive, ("keep", "fail"))

    def judge(self, comparison: Comparison) -> Verdict:
        """Every limit must pass; one that fails fails the stage; otherwise one that is undecided leaves it so."""
        findings = [self._judge_score(comparison), self._judge_classes(comparison)]
        if self.min_speedup is not None:
            findings.append(self._judge_speedup(comparison, self.min_speedup))
        if self.max_batch_effect is not None:
            findings.append(self._judge_batch_effect(comparison, self.max_batch_effect))
        outcomes = {finding.outcome for finding in findings}
        outcome: Outcome = (
            "failed" if "failed" in outcomes else "inconclusive" if "inconclusive" in outcomes else "passed"
        )
        lost = tuple(
            f"{name}: the teacher finds {found} of {actual}, the model none" for name, found, actual in comparison.lost
        )
        return Verdict(
            outcome=outcome,
            reasons=(
                *(reason for finding in findings for reason in finding.reasons),
                *lost,
                *self._not_measured(comparison),
            ),
            within_limits=all(finding.within_limits for finding in findings),
            findings=(*lost, *self._not_measured(comparison)),
            missed=tuple(reason for finding in findings for reason in finding.missed),
            notes=tuple(note for finding in findings for note in finding.notes),
        )

    def _judge_classes(self, comparison: Comparison) -> Verdict:
        """A class whose recall collapsed, or one answer for every example, fails a stage whatever the metric says."""
        missed: list[str] = []
        if comparison.constant is not None:
            reason = f"every example is answered with {comparison.constant}: that is no classifier"
            if comparison.baseline_constant is not None:
                # Nothing was lost, and nothing is shown.
                return Verdict("inconclusive", (f"{reason}, and the teacher is none",), True)
            missed.append(reason)
        if self.max_recall_drop is None:
            return Verdict("failed" if missed else "passed", tuple(missed), not missed, missed=tuple(missed))
        fallen = collapsed(comparison.recalls, self.max_recall_drop)
        missed += [recall.told(self.max_recall_drop) for recall in fallen]
        outcome: Outcome = "failed" if missed else "passed"
        notes = not_judged(comparison.recalls)
        return Verdict(outcome, tuple(missed), not missed, missed=tuple(missed), notes=notes)

    def _judge_score(self, comparison: Comparison) -> Verdict:
        low, high = comparison.score_interval
        within = comparison.score_difference >= -self.max_accuracy_drop
        told = comparison.metric.unit.exactly
        # A ratio falls where a difference rises.
        ends = ", ".join(map(told, (high, low) if comparison.metric.unit.kind == "ratio" else (low, high)))
        text = (
            f"{comparison.metric.title} {told(comparison.score_difference)} [{ends}], "
            f"limit {told(-self.max_accuracy_drop)}"
        )
        if low > -self.max_accuracy_drop:
            return Verdict("passed", (text,), within)
        if high < -self.max_accuracy_drop:
            beyond = comparison.metric.unit.beyond(comparison.score_difference, -self.max_accuracy_drop)
            return Verdict("failed", (f"{text}: {beyond}",), within)
        if comparison.examples_to_decide is None:
            needed = "the difference lies on the limit, and no number of examples that one would label decides it"
        else:
            needed = f"about {comparison.examples_to_decide} validation examples would decide it"
        powered, judged = comparison.prediction_powered, f"{comparison.examples} examples"
        if powered is not None and powered.refused is None:
            judged = f"{comparison.examples} labels and {powered.texts} texts without"
        return Verdict("inconclusive", (f"{text}: {judged} cannot tell, {needed}",), within)

    def _not_measured(self, comparison: Comparison) -> tuple[str, ...]:
        """What a busy machine kept from being measured, where no limit asks for it: of one that does, it is the
        reason."""
        asked = self.min_speedup is not None
        return () if comparison.disturbance is None or asked else (comparison.disturbance.told,)

    def _judge_speedup(self, comparison: Comparison, minimum: float) -> Verdict:
        if comparison.disturbance is not None:
            # Nothing was measured that lies outside of the limits.
            return Verdict("inconclusive", (f"{comparison.disturbance.told}, limit {minimum:.2f}",), True)
        if comparison.speedup is None or comparison.speedup_interval is None:
            raise ValueError("a gate with min_speedup needs a comparison with latency")
        low, high = comparison.speedup_interval
        within = comparison.speedup >= minimum
        text = f"speed-up {comparison.speedup:.2f} [{low:.2f}, {high:.2f}], limit {minimum:.2f}"
        if low >= minimum:
            return Verdict("passed", (text,), within)
        if high < minimum:
            return Verdict("failed", (f"{text}: {minimum - comparison.speedup:.2f} below",), within)
        return Verdict("inconclusive", (f"{text}: too noisy to tell",), within)

    def _judge_batch_effect(self, comparison: Comparison, limit: float) -> Verdict:
        effect = comparison.batch_effect
        if effect is None:
            raise ValueError("a gate with max_batch_effect needs a comparison in which it was measured")
        within = effect.changed <= limit * effect.rows
        text = f"in batches of {effect.batch} {effect.changed} of {effect.rows} examples get another answer than alone"
        return Verdict("passed" if within else "failed", (f"{text}, limit {limit:g} of them",), within)

    def decide(self, verdict: Verdict) -> Literal["keep", "roll_back", "stop"]:
        """What the run does with the stage's model."""
        if verdict.outcome == "passed":
            return "keep"
        if verdict.outcome == "inconclusive" and self.on_inconclusive == "keep" and verdict.within_limits:
            return "keep"
        if self.on_failure == "warn":
            return "keep"
        return "stop" if self.on_failure == "stop" else "roll_back"
