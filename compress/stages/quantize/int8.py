"""INT8: weights per output channel, activations by their own range (dynamic) or a calibrated one (static)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import ClassVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.core.checks import require_boolean, require_choice, require_integer
from compress.core.errors import InputError
from compress.core.words import Context
from compress.layers import FusedEmbeddings, Int8DynamicLinear, Int8Embedding, Int8StaticLinear
from compress.models.structure import replace_module
from compress.models.vocabulary import word_embeddings
from compress.ops.int8 import scale_of_range
from compress.training.calibration import show_examples

SAMPLE_PER_CALL = 4096


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How a static range is found. method: `minmax`, or `percentile`, which cuts off the rarest values on both sides.

    percentile: in (50, 100]. examples: training examples shown.
    """

    method: str
    percentile: float
    examples: int

    def __post_init__(self) -> None:
        require_choice("stages.quantize.calibration.method", self.method, ("minmax", "percentile"))
        require_integer("stages.quantize.calibration.examples", self.examples, 1, "Use 256, for example.")
        if not isinstance(self.percentile, int | float) or not 50 < self.percentile <= 100:
            raise InputError(
                f"stages.quantize.calibration.percentile is {self.percentile}; it must lie in (50, 100]. Use 99.99."
            )


@dataclass(frozen=True, kw_only=True)
class QuantizeInt8:
    """scheme: `dynamic` or `static`. embeddings: whether the word embeddings become int8 too (where they are
    factorized, their table; the product does in any case), and positions that are fused. weight_bits: 8, or 7 for
    processors that add two products in 16 bits (x86 without VNNI).

    keep_float: patterns (such as "classifier" or "*.layer.0.*") of layers that stay in float. calibration: read where
    the scheme is `static`.
    """

    scheme: str
    embeddings: bool
    weight_bits: int
    keep_float: Sequence[str]
    calibration: Calibration

    refuses: ClassVar[Mapping[str, str]] = {"int8": "the model is in int8 already; quantize once"}

    def __post_init__(self) -> None:
        require_choice("stages.quantize.scheme", self.scheme, ("dynamic", "static"))
        require_boolean("stages.quantize.embeddings", self.embeddings)
        if self.weight_bits not in (7, 8):
            raise InputError(
                f"stages.quantize.weight_bits is {self.weight_bits}; it must be 8, or 7 for processors without VNNI."
            )
        if isinstance(self.keep_float, str):
            raise InputError(
                f"stages.quantize.keep_float is {self.keep_float!r}; it must be a list. Use [{self.keep_float}]."
            )
        if isinstance(self.keep_float, str) or not all(isinstance(pattern, str) for pattern in self.keep_float or ()):
            raise InputError(
                f"stages.quantize.keep_float is {self.keep_float!r}; it must be a list of patterns. "
                "Use [classifier], for example, or [] for none."
            )

    @property
    def leaves(self) -> frozenset[str]:
        """INT8, of which scheme: a runtime may be slow at one."""
        return frozenset({"int8", f"int8_{self.scheme}"})

    def check(self, model: PreTrainedModel) -> None:
        """Raise InputError for a pattern that names no layer."""
        names = [path for path, module in model.named_modules() if isinstance(module, nn.Linear | nn.Embedding)]
        for pattern in self.keep_float:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise InputError(
                    f"stages.quantize.keep_float has {pattern!r}, which matches no layer. Layers are named like "
                    f"{names[-1]!r} and {names[len(names) // 2]!r}; '*' matches anything."
                )

    def apply(self, model: PreTrainedModel, context: Context) -> PreTrainedModel:
        """The model with int8 layers."""
        dense = {path: m for path, m in model.named_modules() if isinstance(m, nn.Linear) and not self._kept(path)}
        ranges = self._ranges(model, context, dense) if self.scheme == "static" else {}
        for path, module in dense.items():
            if self.scheme == "static":
                replace_module(
                    model,
                    path,
                    Int8StaticLinear.of(module, self.weight_bits).fix_inputs(*scale_of_range(*ranges[path])),
                )
            else:
                replace_module(model, path, Int8DynamicLinear.of(module, self.weight_bits))
        tables = self._tables(model) if self.embeddings else {}
        for path, table in tables.items():
            replace_module(model, path, Int8Embedding.of(table))
        context.note(f"{len(dense)} dense layers and {len(tables)} embedding tables in int8, {self.scheme} activations")
        return model.eval()

    def _kept(self, path: str) -> bool:
        return any(fnmatchcase(path, pattern) for pattern in self.keep_float)

    def _tables(self, model: PreTrainedModel) -> dict[str, nn.Embedding]:
        # Looked up token by token, small position and type tables would cost time and save little. A fused one is read
        # as a whole, and scaled back once.
        words = word_embeddings(model)
        whole = [m.positions for m in model.modules() if isinstance(m, FusedEmbeddings)]
        tables = {path: m for path, m in model.named_modules() if isinstance(m, nn.Embedding)}
        chosen = {path: m for path, m in tables.items() if m is words or any(m is table for table in whole)}
        return {path: m for path, m in chosen.items() if not self._kept(path)}

    def _ranges(
        self, model: PreTrainedModel, context: Context, dense: Mapping[str, nn.Module]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        low: dict[str, list[Tensor]] = {path: [] for path in dense}
        high: dict[str, list[Tensor]] = {path: [] for path in dense}
        samples: dict[str, list[Tensor]] = {path: [] for path in dense}
        generator = torch.Generator().manual_seed(context.seed)

        def look(path: str, inputs: Tensor) -> None:
            low[path].append(inputs.amin())
            high[path].append(inputs.amax())
            if self.calibration.method == "percentile":
                flat = inputs.flatten()
                samples[path].append(flat[torch.randint(len(flat), (SAMPLE_PER_CALL,), generator=generator)])

        shown = show_examples(model, context, dense, self.calibration.examples, look)
        context.note(f"ranges from {shown} examples ({self.calibration.method})")
        if self.calibration.method == "minmax":
            return {path: (torch.stack(low[path]).amin(), torch.stack(high[path]).amax()) for path in dense}
        share = self.calibration.percentile / 100
        return {path: _quantiles(torch.cat(samples[path]), share) for path in dense}


def _quantiles(values: Tensor, share: float) -> tuple[Tensor, Tensor]:
    import numpy as np

    low, high = np.quantile(values.numpy(), [1 - share, share])
    return torch.tensor(low, dtype=torch.float32), torch.tensor(high, dtype=torch.float32)
