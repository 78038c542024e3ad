"""Fusion: the same function as fewer operators, and nothing computed that no one reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from transformers import PreTrainedModel

from compress.core.checks import require_boolean
from compress.core.context import Context
from compress.core.signature import TYPES
from compress.core.stage import StageDefaults
from compress.nn.family import family_of, layers_of
from compress.nn.fusion import fuse_embeddings, fuse_layers, fused_sizes
from compress.nn.head import head_reads


@dataclass(frozen=True, kw_only=True)
class FuseLayers(StageDefaults):
    """first_token: the last layer computes only the first token, where the model's head reads no other."""

    first_token: bool

    leaves: ClassVar[frozenset[str]] = frozenset({"fused"})
    refuses: ClassVar[Mapping[str, str]] = {
        "int8": "int8 weights cannot be put together; fuse before quantizing",
        "fused": "the layers are fused already; fuse once",
    }

    def __post_init__(self) -> None:
        require_boolean("stages.fuse.first_token", self.first_token)

    def check(self, model: PreTrainedModel) -> None:
        """Raise InputError where the layers of a model of this kind cannot be fused."""
        if family_of(model.config).fusable:
            for layer in layers_of(model):
                fused_sizes(model, layer)

    def apply(self, model: PreTrainedModel, context: Context) -> PreTrainedModel:
        """The same function, up to rounding."""
        family = family_of(model.config)
        if not family.fusable:
            context.note(
                f"left as it is: layers of a {family.model_type} model have no fused form, so query, key and value "
                "stay as they are, and attention is several operators where other families have one"
            )
            return model.eval()
        first = self.first_token and head_reads(model, context) == "first"
        fuse_layers(model, first_token=first)
        types = TYPES in context.task.signature(model.config).names
        embeddings = fuse_embeddings(model, types=types)
        tables = f", embeddings in {'three' if types else 'two'} tables" if embeddings else ""
        context.note(f"query, key and value in one product{tables}")
        if first:
            context.note("the last layer computes only the first token")
        return model.eval()
