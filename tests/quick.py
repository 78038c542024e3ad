"""What tests of whole runs set alike: as little work as says something."""

from __future__ import annotations

BRIEF = ("measurement.launches=1", "measurement.rounds=2", "runtime.threads=1", "blame_seconds=0", "device=cpu")
LANGUAGE_MODEL = (
    *(*BRIEF, "measurement.examples=2", "workload.prompt_tokens=4", "workload.new_tokens=3", "data.max_length=12"),
    "gate.on_failure=warn",
)
# A cut that is refitted, with the sizes as they are set.
CUT = (
    *(*BRIEF, "measurement.examples=4", "objective.speedup=null", "stage/prune@stages.prune=structured"),
    *("stages.prune.refit=true", "stages.prune.importance.examples=16"),
)
# After it, four steps.
RECOVERED = (
    *("stages.prune.recovery_epochs=1", "stages.prune.imitation.optimization.batch_size=16"),
    "stages.prune.imitation.shortest_epoch=4",
)
FINE_TUNED = ("model=fine_tuned", "model.epochs=4", "model.optimization.learning_rate=1e-3")


def kept(*stages: str) -> tuple[str, ...]:
    """What these stages make goes on, whatever their gates say: so few examples prove nothing."""
    return tuple(f"gates.{stage}.on_failure=warn" for stage in stages)
