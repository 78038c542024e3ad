"""What whoever serves an export must know, and its other files do not say: written by a run, read without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from compress.core.evaluation import BatchEffect
from compress.core.signature import Port, Signature


@dataclass(frozen=True, kw_only=True)
class Serving:
    """pipeline_tag: what answers are, in the hub's words, such as `text-classification`. signature: what the runtime is
    given and gives; of it the inputs, the output, the mask, and what it gives besides. batch_effect: by how much
    answers depend on what else is in a batch; None where nobody measured."""

    pipeline_tag: str
    signature: Signature
    batch_effect: BatchEffect | None

    def to_json(self) -> dict[str, Any]:
        """Plain values. Not `Signature.to_json`, which one process writes for another of the same release: an export is
        read by later ones."""
        signature = self.signature
        return {
            "pipeline_tag": self.pipeline_tag,
            "signature": {
                "inputs": [asdict(port) for port in signature.inputs],
                "output": asdict(signature.output),
                "mask": signature.mask,
                **({"more": [asdict(port) for port in signature.more]} if signature.more else {}),
            },
            "batch_effect": None if self.batch_effect is None else asdict(self.batch_effect),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Serving:
        """What `to_json` gave, after a round trip through JSON. Raises KeyError, TypeError or ValueError for anything
        else."""
        effect, signature = data["batch_effect"], data["signature"]
        mask = signature["mask"]
        if mask is not None and mask not in [port["name"] for port in signature["inputs"]]:
            raise ValueError(f"the mask {mask!r} is none of the inputs")
        return cls(
            pipeline_tag=str(data["pipeline_tag"]),
            signature=Signature(
                inputs=tuple(_port(port) for port in signature["inputs"]),
                output=_port(signature["output"]),
                mask=signature["mask"],
                # Releases before there was anything besides say nothing of it.
                more=tuple(_port(port) for port in signature.get("more", ())),
            ),
            batch_effect=None if effect is None else BatchEffect.from_json(effect),
        )


def _port(data: Mapping[str, Any]) -> Port:
    return Port(str(data["name"]), tuple(data["axes"]), str(data["dtype"]))
