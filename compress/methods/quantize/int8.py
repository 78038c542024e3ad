"""INT8: weights per output channel, activations by their own range (dynamic) or a calibrated one (static)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.core.blame import Milder, Setback
from compress.core.checks import require_boolean, require_choice, require_fraction, require_integer
from compress.core.context import Context
from compress.core.errors import InputError
from compress.core.stage import StageDefaults, Training
from compress.methods.allocation import allocate
from compress.methods.training.calibration import chosen_rows, show_examples
from compress.methods.training.imitation import Imitation
from compress.methods.training.quantization_aware import (
    check_recovery,
    recover_integers,
    refused_by_recovery,
    require_epochs,
)
from compress.methods.training.sensitivity import answers, products_of, shift_of
from compress.nn.exchange import Part
from compress.nn.fake_quantized import FakeQuantizedInt8
from compress.nn.fusion import fused_paths
from compress.nn.layers import FusedEmbeddings, Int4Embedding, Int8DynamicLinear, Int8Embedding, Int8StaticLinear
from compress.nn.ops.int8 import scale_around_zero, scale_of_range
from compress.nn.ops.smoothing import smoothing_factors
from compress.nn.smoothing import Pair, read_after_relu, scalable_pairs, scale_between
from compress.nn.structure import replace_module
from compress.nn.vocabulary import reads_tokens, word_embeddings

SAMPLE_PER_CALL = 4096
# Of the sum over all layers: one that moves the logits less stays in int8.
LEAST_SENSITIVITY = 0.01


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How a static range is found. method: `minmax`; `percentile`, which cuts off the rarest values on both sides; or
    `symmetric`, `minmax` made as wide on both sides of 0, which is all that TensorRT takes.

    percentile: in (50, 100]. examples: training examples shown.
    """

    method: str
    percentile: float
    examples: int

    def __post_init__(self) -> None:
        require_choice("stages.quantize.calibration.method", self.method, ("minmax", "percentile", "symmetric"))
        require_integer("stages.quantize.calibration.examples", self.examples, 1, "Use 256, for example.")
        if not isinstance(self.percentile, int | float) or not 50 < self.percentile <= 100:
            raise InputError(
                f"stages.quantize.calibration.percentile is {self.percentile}; it must lie in (50, 100]. Use 99.99."
            )


@dataclass(frozen=True, kw_only=True)
class QuantizeInt8(StageDefaults):
    """scheme: `dynamic` or `static`. embeddings: whether the word embeddings become int8 too (where they are
    factorized, their table; the product does in any case), and positions that are fused. embedding_bits: of word
    embeddings, 8 or 4. weight_bits: 8, or 7 for processors that add two products in 16 bits (x86 without VNNI).

    keep_float: patterns (such as "classifier" or "*.layer.0.*") of layers that stay in float. float_share: how many of
    the dense layers' multiply-adds may stay in float besides, in [0, 1); chosen are the layers that, quantized alone,
    move the logits most on sensitivity_examples training examples.

    static_inner: read where the scheme is `dynamic`: whether what an FFN's ReLU gives has a fixed range all the same.
    Rounding to uint8 from 0 is then all that is left of ReLU, and no pass over the values looks for their range.

    calibration: read where any range is fixed. smoothing: read where the scheme is `static`: in (0, 1], how much of
    the differences between the ranges of a product's input channels moves into its weights, where that leaves the
    model's function as it is (`compress.nn.smoothing`); None for nothing.

    recovery_epochs: passes of distillation afterwards, with the integers in the forward pass, of weights and of inputs:
    the weights behind them and all that is in float learn; fixed ranges and embeddings stay as they were rounded.
    """

    scheme: str
    embeddings: bool
    embedding_bits: int
    weight_bits: int
    keep_float: Sequence[str]
    float_share: float
    sensitivity_examples: int
    calibration: Calibration
    smoothing: float | None
    static_inner: bool
    recovery_epochs: float
    imitation: Imitation

    def __post_init__(self) -> None:
        require_choice("stages.quantize.scheme", self.scheme, ("dynamic", "static"))
        require_boolean("stages.quantize.embeddings", self.embeddings)
        require_boolean("stages.quantize.static_inner", self.static_inner)
        share = self.float_share
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
            raise InputError(
                f"stages.quantize.float_share is {share}; it must lie in [0, 1). Use 0.05 to leave at most a twentieth "
                "of the work in float, 0 for none."
            )
        require_integer("stages.quantize.sensitivity_examples", self.sensitivity_examples, 1, "Use 64, for example.")
        require_epochs(self.recovery_epochs)
        if self.smoothing is not None:
            require_fraction("stages.quantize.smoothing", self.smoothing, "Use 0.5, for example, or null for none.")
        if self.embedding_bits not in (4, 8):
            raise InputError(f"stages.quantize.embedding_bits is {self.embedding_bits}; it must be 8 or 4.")
        if self.weight_bits not in (7, 8):
            raise InputError(
                f"stages.quantize.weight_bits is {self.weight_bits}; it must be 8, or 7 for processors without VNNI."
            )
        if isinstance(self.keep_float, str):
            raise InputError(
                f"stages.quantize.keep_float is {self.keep_float!r}; it must be a list. Use [{self.keep_float}]."
            )
        if self.keep_float is None or not all(isinstance(pattern, str) for pattern in self.keep_float):
            raise InputError(
                f"stages.quantize.keep_float is {self.keep_float!r}; it must be a list of patterns. "
                "Use [classifier], for example, or [] for none."
            )

    @property
    def leaves(self) -> frozenset[str]:
        """INT8, of which scheme: a runtime may be slow at one."""
        return frozenset({"int8", f"int8_{self.scheme}"})

    @property
    def refuses(self) -> Mapping[str, str]:
        """INT8, and what the recovery cannot do."""
        once = "the model is in int8 already; quantize once"
        return {"int8": once, **refused_by_recovery(self.imitation, self.recovery_epochs)}

    @property
    def unread(self) -> frozenset[str]:
        """Ranges that are found anew for each batch need no calibration, tables in float have no bits, and without
        recovery nobody is imitated."""
        unread = frozenset() if self.embeddings else frozenset({"embedding_bits"})
        unread |= frozenset() if self.recovery_epochs else {"imitation"}
        if self.scheme == "static":
            return unread | {"static_inner"}
        return unread | ({"smoothing"} if self.static_inner else {"calibration", "smoothing"})

    def check(self, model: PreTrainedModel) -> None:
        """Raise InputError for a pattern that names no layer, as the model is or as stages before may leave it."""
        names = [path for path, module in model.named_modules() if isinstance(module, nn.Linear | nn.Embedding)]
        factors = [f"{name}.{factor}" for name in (*names, *fused_paths(model)) for factor in ("up", "down", "table")]
        for pattern in self.keep_float:
            if not any(fnmatchcase(name, pattern) for name in (*names, *fused_paths(model), *factors)):
                raise InputError(
                    f"stages.quantize.keep_float has {pattern!r}, which matches no layer. Layers are named like "
                    f"{names[-1]!r} and {names[len(names) // 2]!r}; '*' matches anything."
                )

    def check_teacher(self, teacher: PreTrainedModel) -> None:
        """Raise InputError where this teacher cannot be imitated."""
        check_recovery(teacher, self.imitation, self.recovery_epochs)

    def training(self, examples: int) -> Training | None:
        """The recovery, where there is one."""
        return self.imitation.training(examples, self.recovery_epochs)

    def apply(self, model: PreTrainedModel, context: Context) -> PreTrainedModel:
        """The model with int8 layers, recovered by distillation where asked."""
        paths = [path for path, m in model.named_modules() if isinstance(m, nn.Linear | nn.Embedding)]
        for pattern in self.keep_float:
            if not any(fnmatchcase(path, pattern) for path in paths):
                context.note(f"keep_float has {pattern!r}, which matches no layer that the stages before left")
        dense = {path: m for path, m in model.named_modules() if isinstance(m, nn.Linear) and not self._kept(path)}
        replacements = self._dense(model, context, dense)
        if self.float_share:
            for path in self._most_sensitive(model, context, replacements):
                del replacements[path]
        tables = self._tables(model)
        for path, module in {**replacements, **tables}.items():
            replace_module(model, path, module)
        context.note(
            f"{len(replacements)} dense layers and {len(tables)} embedding tables in int8, {self.scheme} activations"
            + (", word embeddings in int4" if any(isinstance(m, Int4Embedding) for m in tables.values()) else "")
        )
        if self.recovery_epochs:
            layers = replacements.items()
            learning = {path: FakeQuantizedInt8(layer, dense[path], self.weight_bits) for path, layer in layers}
            recover_integers(model, context, learning, self.imitation, epochs=self.recovery_epochs)
        return model.eval()

    def relax(self, setback: Setback) -> Milder | None:
        """The layers that did the harm stay in float."""
        dense = [path for path, m in setback.before.named_modules() if isinstance(m, nn.Linear | nn.Embedding)]
        harmful = [path for path in setback.worst if path in dense]
        if not harmful:
            return None
        return Milder({"keep_float": [*self.keep_float, *harmful]}, setback.worst_share)

    def together(self, model: PreTrainedModel) -> list[frozenset[str]]:
        """Products between which channels are scaled."""
        if self.scheme != "static" or self.smoothing is None:
            return []
        return [frozenset({pair.producer, pair.consumer}) for pair in self._smoothed(model)]

    def _dense(
        self, model: PreTrainedModel, context: Context, dense: Mapping[str, nn.Linear]
    ) -> dict[str, Int8DynamicLinear]:
        if self.scheme == "static" and self.smoothing is not None:
            self._smooth(model, context, self.smoothing)
        fixed = dense if self.scheme == "static" else self._inner(model, context, dense)
        ranges = self._ranges(model, context, fixed) if fixed else {}
        return {
            path: Int8StaticLinear.of(module, self.weight_bits).fix_inputs(*self._scale(*ranges[path]))
            if path in fixed
            else Int8DynamicLinear.of(module, self.weight_bits)
            for path, module in dense.items()
        }

    def _scale(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        return scale_around_zero(low, high) if self.calibration.method == "symmetric" else scale_of_range(low, high)

    def _inner(self, model: PreTrainedModel, context: Context, dense: Mapping[str, nn.Linear]) -> dict[str, nn.Linear]:
        """What of the dynamic scheme has a fixed range all the same."""
        if not self.static_inner:
            return {}
        found = {path: dense[path] for path in read_after_relu(model) if path in dense}
        others = [path for path in scalable_pairs(model)[1] if path in dense]
        context.note(
            f"static_inner: {len(found)} products read what ReLU gave, by a fixed range"
            + (f"; not {', '.join(others)}: what lies before them is no ReLU" if others else "")
        )
        return found

    def _smooth(self, model: PreTrainedModel, context: Context, strength: float) -> None:
        """Scale channels between products, so that one range suits all channels of an input. The function stays."""
        pairs = self._smoothed(model)
        largest: dict[str, Tensor] = {}

        def look(path: str, inputs: Tensor) -> None:
            found = inputs.abs().amax(dim=0)
            largest[path] = torch.maximum(largest[path], found) if path in largest else found

        consumers = {pair.consumer: model.get_submodule(pair.consumer) for pair in pairs}
        show_examples(model, context, consumers, self.calibration.examples, look)
        for pair in pairs:
            weight = consumers[pair.consumer].weight
            assert isinstance(weight, Tensor)
            read = weight.detach().abs().amax(dim=0).cpu()
            scale_between(model, pair, smoothing_factors(largest[pair.consumer], read, strength))
        others = [path for path in scalable_pairs(model)[1] if not self._kept(path)]
        context.note(
            f"smoothing {strength:g}: channels scaled before {len(pairs)} products"
            + (f", not before {', '.join(others)}: what lies before them is no ReLU" if others else "")
        )

    def _smoothed(self, model: PreTrainedModel) -> list[Pair]:
        """Where channels are scaled: before what becomes int8."""
        return [pair for pair in scalable_pairs(model)[0] if not self._kept(pair.consumer)]

    def _most_sensitive(
        self, model: PreTrainedModel, context: Context, replacements: Mapping[str, nn.Module]
    ) -> list[str]:
        """The layers whose quantization moves the logits most, as many as `float_share` allows."""
        rows = chosen_rows(context.seed, len(context.train), self.sensitivity_examples)
        batches = [context.collate([context.train[row]]) for row in rows]
        parts = [Part(path, {path: module}) for path, module in replacements.items()]
        reference = answers(model, batches, context.task)
        variants = [(part,) for part in parts]
        alone = shift_of(model, variants, batches, reference, context.task, title="which layers INT8 hurts").mean
        work = products_of(model, batches, context.task)
        # Where next to nothing would be gained, another kernel is not worth it, however little it costs.
        gained = np.where(alone >= LEAST_SENSITIVITY * alone.sum(), alone, 0.0)
        share = np.array([work.get(part.name, 0.0) for part in parts]) / sum(work.values())
        chosen = allocate(
            [np.array([0.0, cost]) for cost in share], [np.array([0.0, harm]) for harm in gained], self.float_share
        )
        kept = sorted((i for i, stays in enumerate(chosen) if stays and gained[i] > 0), key=lambda i: -alone[i])
        context.note(
            f"{len(kept)} of {len(parts)} dense layers stay in float: {sum(share[i] for i in kept):.1%} of the "
            f"multiply-adds, {sum(alone[i] for i in kept) / max(alone.sum(), 1e-12):.0%} of what quantizing each alone "
            f"moves the logits on {len(batches)} training examples (KL {alone.sum():.2g} in sum)"
        )
        for i in kept:
            context.note(f"{parts[i].name}: stays in float, KL {alone[i]:.2g}, {share[i]:.1%} of the multiply-adds")
        return [parts[i].name for i in kept]

    def _kept(self, path: str) -> bool:
        return any(fnmatchcase(path, pattern) for pattern in self.keep_float)

    def _tables(self, model: PreTrainedModel) -> dict[str, nn.Module]:
        if not self.embeddings:
            return {}
        # Looked up token by token, small position and type tables would cost time and save little. A fused one is read
        # as a whole, and scaled back once.
        words = word_embeddings(model) if reads_tokens(model) else None
        whole = [m.positions for m in model.modules() if isinstance(m, FusedEmbeddings)]
        tables = {path: m for path, m in model.named_modules() if isinstance(m, nn.Embedding)}
        chosen = {path: m for path, m in tables.items() if m is words or any(m is table for table in whole)}
        return {
            path: Int4Embedding.of(table) if table is words and self.embedding_bits == 4 else Int8Embedding.of(table)
            for path, table in chosen.items()
            if not self._kept(path)
        }

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
        if self.calibration.method != "percentile":
            return {path: (torch.stack(low[path]).amin(), torch.stack(high[path]).amax()) for path in dense}
        share = self.calibration.percentile / 100
        return {path: _quantiles(torch.cat(samples[path]), share) for path in dense}


def _quantiles(values: Tensor, share: float) -> tuple[Tensor, Tensor]:
    low, high = np.quantile(values.numpy(), [1 - share, share])
    return torch.tensor(low, dtype=torch.float32), torch.tensor(high, dtype=torch.float32)
