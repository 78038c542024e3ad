"""What whoever serves an export must know, and its other files do not say: written by a run, read without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from compress.core.evaluation import BatchEffect
from compress.core.signature import Signature


@dataclass(frozen=True, kw_only=True)
class Serving:
    """pipeline_tag: what answers are, in the hub's words, such as `text-classification`. signature: what the runtime is
    given and gives. batch_effect: by how much answers depend on what else is in a batch; None where nobody measured."""

    pipeline_tag: str
    signature: Signature
    batch_effect: BatchEffect | None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "pipeline_tag": self.pipeline_tag,
            "signature": self.signature.to_json(),
            "batch_effect": None if self.batch_effect is None else asdict(self.batch_effect),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Serving:
        """What `to_json` gave, after a round trip through JSON. Raises KeyError or TypeError for anything else."""
        effect = data["batch_effect"]
        return cls(
            pipeline_tag=str(data["pipeline_tag"]),
            signature=Signature.from_json(data["signature"]),
            batch_effect=None if effect is None else BatchEffect(**effect),
        )
