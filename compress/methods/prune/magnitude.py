"""Unstructured and N:M magnitude pruning: zeros in place. Smaller when packed, but no faster on a dense runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from transformers import PreTrainedModel

from compress.core.blame import Milder, Setback
from compress.core.checks import require_at_least, require_choice, require_fraction
from compress.core.context import Context
from compress.core.errors import InputError
from compress.core.stage import StageDefaults, Training
from compress.methods.training.imitation import Imitation, imitate
from compress.nn.family import dense_layers
from compress.nn.layers.masked_linear import MaskedLinear
from compress.nn.ops.masks import keep_mask, keep_masks_globally, n_of_m_mask
from compress.nn.structure import replace_module


@dataclass(frozen=True, kw_only=True)
class PruneMagnitude(StageDefaults):
    """weights: share of the weights kept, in (0, 1]. scope: `layer` or `model` (one threshold for all).

    pattern: None, or "N:M" (such as "2:4"), which keeps N of every M consecutive inputs and ignores `weights` and
    `scope`. recovery_epochs: passes of distillation afterwards, in which zeros stay zero.
    """

    weights: float
    scope: str
    pattern: str | None
    recovery_epochs: float
    imitation: Imitation

    leaves: ClassVar[frozenset[str]] = frozenset({"sparse"})
    refuses: ClassVar[Mapping[str, str]] = {
        "fused": "query, key and value have become one matrix in a fused layer; prune before fusing",
        "int8": "int8 weights cannot be trained; prune before quantizing",
        "low_rank": "zeros in two factors are not zeros in their product; prune before factorizing, or not at all",
    }

    def __post_init__(self) -> None:
        require_fraction("stages.prune.weights", self.weights, "Use 0.5 to keep half of the weights.")
        require_choice("stages.prune.scope", self.scope, ("layer", "model"))
        require_at_least("stages.prune.recovery_epochs", self.recovery_epochs, 0, "Use 0 for no recovery.")
        if self.pattern is not None:
            _parse(self.pattern)

    def check(self, model: PreTrainedModel) -> None:
        """Raise InputError where the pattern does not fit a layer's width."""
        if self.pattern is None:
            return
        _, m = _parse(self.pattern)
        for path, module in dense_layers(model):
            if module.in_features % m:
                raise InputError(
                    f"stages.prune.pattern is {self.pattern!r}; {path} has {module.in_features} inputs, which is no "
                    f"multiple of {m}. Use '2:4', for example, and keep widths multiples of it."
                )

    def relax(self, setback: Setback) -> Milder | None:
        """Half of the weights that became zero stay. Zeros save no time."""
        return Milder({"weights": (1 + self.weights) / 2}, 0.0) if self.pattern is None and self.weights < 1 else None

    def check_teacher(self, teacher: PreTrainedModel) -> None:
        """Raise InputError where the imitation does not fit this teacher."""
        self.imitation.check(teacher)

    def training(self, examples: int) -> Training | None:
        """The recovery, where there is one."""
        return self.imitation.training(examples, self.recovery_epochs)

    def apply(self, model: PreTrainedModel, context: Context) -> PreTrainedModel:
        """The model with zeros, recovered by distillation where asked."""
        self.check(model)
        layers = list(dense_layers(model))
        masks = self._masks([module.weight.detach().cpu() for _, module in layers])
        for (path, module), mask in zip(layers, masks, strict=True):
            replace_module(model, path, MaskedLinear.of(module.cpu(), mask))
        kept = sum(int(mask.sum()) for mask in masks)
        total = sum(mask.numel() for mask in masks)
        context.note(
            f"{total - kept} of {total} weights in {len(layers)} layers are zero; the runtimes here multiply by zeros "
            "as by any other number, so this saves no time"
        )
        if self.recovery_epochs:
            imitate(model, context, self.imitation, epochs=self.recovery_epochs, title="recovery after pruning")
        return model.eval()

    def _masks(self, weights: list[Tensor]) -> list[Tensor]:
        if self.pattern is not None:
            n, m = _parse(self.pattern)
            return [n_of_m_mask(weight, n, m) for weight in weights]
        if self.scope == "model":
            return keep_masks_globally(weights, self.weights)
        return [keep_mask(weight, self.weights) for weight in weights]


def _parse(pattern: str) -> tuple[int, int]:
    n, colon, m = str(pattern).partition(":")
    if not (colon and n.isdigit() and m.isdigit() and 0 < int(n) < int(m)):
        raise InputError(
            f"stages.prune.pattern is {pattern!r}; it must read N:M with 0 < N < M. Use '2:4', for example."
        )
    return int(n), int(m)
