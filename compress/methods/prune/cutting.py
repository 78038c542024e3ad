"""What every stage that cuts heads, neurons and layers says it cannot be applied to."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

UNCUTTABLE: Mapping[str, str] = MappingProxyType(
    {
        "fused": "the heads of a fused layer have no weights of their own; prune before fusing",
        "int8": "int8 weights cannot be trained or cut; prune before quantizing",
        "low_rank": "the factors of a factorized layer have no heads or neurons of their own; prune before factorizing",
    }
)
