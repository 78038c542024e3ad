"""Weights alone, as integers in blocks of 32: what a model is stored in shrinks, what it computes with stays float."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.core.blame import Milder, Setback
from compress.core.checks import require_boolean, require_integer, require_positive
from compress.core.context import Context
from compress.core.errors import InputError
from compress.core.stage import StageDefaults, Training
from compress.methods.allocation import allocate
from compress.methods.training.calibration import chosen_rows, input_grams
from compress.methods.training.imitation import Imitation
from compress.methods.training.layerwise import layer_grams
from compress.methods.training.quantization_aware import (
    check_recovery,
    recover_integers,
    refused_by_recovery,
    require_epochs,
)
from compress.methods.training.sensitivity import answers, shift_of
from compress.nn.exchange import Part
from compress.nn.fake_quantized import FakeQuantizedBlocks
from compress.nn.family import layers_of
from compress.nn.fusion import fused_paths
from compress.nn.layers import Int4BlockLinear, Int8BlockEmbedding, Int8BlockLinear, TiedBlockHead
from compress.nn.ops.blocks import block_count, quantize_blocks_corrected
from compress.nn.structure import replace_module
from compress.nn.vocabulary import reads_tokens, word_embeddings

LAYER_OF = {8: Int8BlockLinear, 4: Int4BlockLinear}


@dataclass(frozen=True, kw_only=True)
class QuantizeBlocks(StageDefaults):
    """bits: of the dense weights in the model's layers, 8 or 4. head_bits: of those outside, such as the head's.
    embeddings: whether the word embeddings become 8 bits too; a head that shares its weights with them then reads the
    same integers.

    corrected: whether what rounding a column changes is made good by the columns to come, on calibration_examples
    training examples, with a damping > 0 (`compress.nn.ops.blocks`); the layers one after the other, each with the
    inputs that the ones before it, rounded already, give it. Otherwise each weight is rounded to the nearest value.

    keep_float: patterns (such as "classifier" or "*.layer.0.*") of layers that stay in float. eight_bits: where bits is
    4, patterns of layers that get 8. max_megabytes: where bits is 4, None, or what the model's weights may take
    (millions of bytes): within that, the layers get 8 bits that, in 4 bits alone, move the answers most on
    sensitivity_examples training examples.

    recovery_epochs: passes of distillation afterwards, with the integers, corrected or not, in the forward pass: the
    weights behind them, the scales, and all that is in float learn; word embeddings stay as they were rounded.
    """

    bits: int
    head_bits: int
    embeddings: bool
    corrected: bool
    calibration_examples: int
    damping: float
    keep_float: Sequence[str]
    eight_bits: Sequence[str]
    max_megabytes: float | None
    sensitivity_examples: int
    recovery_epochs: float
    imitation: Imitation

    def __post_init__(self) -> None:
        for name in ("bits", "head_bits"):
            if getattr(self, name) not in LAYER_OF:
                raise InputError(f"stages.quantize.{name} is {getattr(self, name)}; it must be 8 or 4.")
        require_boolean("stages.quantize.embeddings", self.embeddings)
        require_boolean("stages.quantize.corrected", self.corrected)
        require_integer("stages.quantize.calibration_examples", self.calibration_examples, 1, "Use 128, for example.")
        require_positive("stages.quantize.damping", self.damping, "Use 0.01, for example.")
        require_integer("stages.quantize.sensitivity_examples", self.sensitivity_examples, 1, "Use 16, for example.")
        require_epochs(self.recovery_epochs)
        if self.max_megabytes is not None:
            require_positive("stages.quantize.max_megabytes", self.max_megabytes, "Use null for no limit.")
        for name in ("keep_float", "eight_bits"):
            patterns = getattr(self, name)
            if (
                not isinstance(patterns, Sequence)
                or isinstance(patterns, str)
                or not all(isinstance(pattern, str) for pattern in patterns)
            ):
                raise InputError(
                    f"stages.quantize.{name} is {patterns!r}; it must be a list of patterns. Use ['*.layer.0.*'], for "
                    "example, or [] for none."
                )

    @property
    def leaves(self) -> frozenset[str]:
        """Integers, in blocks; `int4_blocks` where most are of 4 bits."""
        return frozenset({"int8", "int8_blocks"}) | (frozenset({"int4_blocks"}) if self.bits == 4 else frozenset())

    @property
    def refuses(self) -> Mapping[str, str]:
        """Integers, and what the recovery cannot do."""
        once = "the model holds integers already; quantize once"
        return {"int8": once, **refused_by_recovery(self.imitation, self.recovery_epochs)}

    @property
    def unread(self) -> frozenset[str]:
        """Rounding to nearest needs no examples, where all get 8 bits there is nothing to choose, and without recovery
        nobody is imitated."""
        unread = frozenset() if self.corrected else frozenset({"calibration_examples", "damping"})
        unread |= frozenset() if self.recovery_epochs else {"imitation"}
        if self.bits == 8:
            return unread | {"eight_bits", "max_megabytes", "sensitivity_examples"}
        return unread | (frozenset() if self.max_megabytes else {"sensitivity_examples"})

    def check(self, model: PreTrainedModel) -> None:
        """Raise InputError for a pattern that names no layer, as the model is or as stages before may leave it, and for
        a head in 4 bits that reads the embeddings in 8."""
        names = [path for path, module in model.named_modules() if isinstance(module, nn.Linear | nn.Embedding)]
        made = [f"{name}.{factor}" for name in (*names, *fused_paths(model)) for factor in ("up", "down", "table")]
        for setting in ("keep_float", "eight_bits"):
            for pattern in getattr(self, setting):
                if not any(fnmatchcase(name, pattern) for name in (*names, *fused_paths(model), *made)):
                    raise InputError(
                        f"stages.quantize.{setting} has {pattern!r}, which matches no layer. Layers are named like "
                        f"{names[-1]!r} and {names[len(names) // 2]!r}; '*' matches anything."
                    )
        if self.head_bits != 8 and self.embeddings and tied_head(model) is not None:
            raise InputError(
                f"stages.quantize.head_bits is {self.head_bits}; the head of this model reads its word embeddings, "
                "which are in 8 bits. Use 8, or stages.quantize.embeddings=false to leave both in float."
            )

    def check_teacher(self, teacher: PreTrainedModel) -> None:
        """Raise InputError where this teacher cannot be imitated."""
        check_recovery(teacher, self.imitation, self.recovery_epochs)

    def training(self, examples: int) -> Training | None:
        """The recovery, where there is one."""
        return self.imitation.training(examples, self.recovery_epochs)

    def apply(self, model: PreTrainedModel, context: Context) -> PreTrainedModel:
        """The model with its dense layers and word embeddings in blocks, recovered by distillation where asked."""
        head, table = tied_head(model), self._table(model)
        bits = {
            path: self._bits(path, model)
            for path, module in model.named_modules()
            # A tied head is the embeddings' second use, and goes with them.
            if isinstance(module, nn.Linear) and path != head and not self._in(self.keep_float, path)
        }
        if self.bits == 4 and self.max_megabytes is not None:
            bits = self._within_budget(model, context, bits, table)
        dense = {path: _dense(model, path) for path in bits} if self.recovery_epochs else {}
        if self.corrected:
            self._correct(model, context, bits)
        else:
            for path, number in bits.items():
                replace_module(model, path, LAYER_OF[number].of(_dense(model, path)))
        if table is not None:
            self._embeddings(model, table, head)
        counts = [f"{sum(number == each for number in bits.values())} in {each} bits" for each in (8, 4)]
        context.note(
            f"dense layers in blocks of 32 weights: {', '.join(counts)}"
            + (", corrected on examples" if self.corrected else ", rounded to nearest")
            + ("; word embeddings in 8 bits" if table is not None else "")
            + (", which the head reads too" if table is not None and head is not None else "")
        )
        if self.recovery_epochs:
            self._recover(model, context, dense)
        return model.eval()

    def relax(self, setback: Setback) -> Milder | None:
        """The layers that did the harm get 8 bits, or stay in float where they have them already."""
        modules = dict(setback.after.named_modules())
        dense = [path for path, m in setback.before.named_modules() if isinstance(m, nn.Linear | nn.Embedding)]
        harmful = [path for path in setback.worst if path in dense]
        coarse = [path for path in harmful if isinstance(modules.get(path), Int4BlockLinear)]
        if coarse:
            return Milder({"eight_bits": [*self.eight_bits, *coarse]}, None)
        return Milder({"keep_float": [*self.keep_float, *harmful]}, setback.worst_share) if harmful else None

    def _bits(self, path: str, model: PreTrainedModel) -> int:
        inside = any(path.startswith(f"{layer.path}.") for layer in layers_of(model))
        wanted = self.bits if inside else self.head_bits
        return 8 if self._in(self.eight_bits, path) else wanted

    def _table(self, model: PreTrainedModel) -> str | None:
        """The path of the word embeddings, where they become integers."""
        if not (self.embeddings and reads_tokens(model)):
            return None
        words = word_embeddings(model)
        path = next(path for path, module in model.named_modules() if module is words)
        return None if self._in(self.keep_float, path) else path

    def _embeddings(self, model: PreTrainedModel, path: str, head: str | None) -> None:
        table = Int8BlockEmbedding.of(word_embeddings(model))
        replace_module(model, path, table)
        if head is not None:
            replace_module(model, head, TiedBlockHead(table.embedding_dim, table.num_embeddings).read(table))

    def _correct(self, model: PreTrainedModel, context: Context, bits: Mapping[str, int]) -> None:
        """Replace these layers one after the other, in place."""

        def replace(grams: Mapping[str, Tensor]) -> None:
            for path, gram in grams.items():
                dense, number = _dense(model, path), bits[path]
                values, scale = quantize_blocks_corrected(dense.weight.detach().cpu(), gram, number, self.damping)
                replace_module(model, path, LAYER_OF[number].from_blocks(values, scale, dense.bias))

        outside = {path: _dense(model, path) for path in bits}
        for grams in layer_grams(model, context, bits, self.calibration_examples):
            outside = {path: module for path, module in outside.items() if path not in grams}
            replace(grams)
        if outside:
            replace(input_grams(model, context, outside, self.calibration_examples))
        # What no example reaches has no Gram matrix.
        for path in outside:
            if isinstance(model.get_submodule(path), nn.Linear):
                replace_module(model, path, LAYER_OF[bits[path]].of(_dense(model, path)))

    def _recover(self, model: PreTrainedModel, context: Context, dense: Mapping[str, nn.Linear]) -> None:
        """Train what these layers, which have become integers, were made of."""
        learning = {}
        for path, linear in dense.items():
            layer = model.get_submodule(path)
            assert isinstance(layer, Int8BlockLinear)
            learning[path] = FakeQuantizedBlocks(layer, linear)
        recover_integers(model, context, learning, self.imitation, epochs=self.recovery_epochs)

    def _within_budget(
        self, model: PreTrainedModel, context: Context, bits: Mapping[str, int], table: str | None
    ) -> dict[str, int]:
        """The same with 8 bits for the layers that need them most, as many as `max_megabytes` allows."""
        assert self.max_megabytes is not None
        coarse = [path for path, number in bits.items() if number == 4]
        parts = [(Part(path, {path: Int4BlockLinear.of(_dense(model, path))}),) for path in coarse]
        rows = chosen_rows(context.seed, len(context.train), self.sensitivity_examples)
        batches = [context.collate([context.train[row]]) for row in rows]
        reference = answers(model, batches, context.task)
        harm = shift_of(model, parts, batches, reference, context.task, title="which layers 4 bits hurt").mean
        costs = [np.array([_bytes(_dense(model, path).weight, number) for number in (4, 8)]) for path in coarse]
        left = self.max_megabytes * 1e6 - self._other_bytes(model, bits, table)
        if sum(cost[0] for cost in costs) > left:
            context.note(
                f"max_megabytes is {self.max_megabytes:g}, and even with 4 bits in every layer the weights take "
                f"{(sum(cost[0] for cost in costs) + self.max_megabytes * 1e6 - left) / 1e6:.2f}: none got 8"
            )
            return dict(bits)
        chosen = allocate(costs, [np.array([-each, 0.0]) for each in harm], left)
        finer = [path for path, option in zip(coarse, chosen, strict=True) if option]
        told = sum(each for each, option in zip(harm, chosen, strict=True) if option)
        context.note(
            f"{len(finer)} of {len(coarse)} dense layers get 8 bits within {self.max_megabytes:g} MB: those with "
            f"{told / max(harm.sum(), 1e-12):.0%} of what 4 bits in each alone move the answers (KL {harm.sum():.2g})"
        )
        return {**bits, **dict.fromkeys(finer, 8)}

    def _other_bytes(self, model: PreTrainedModel, bits: Mapping[str, int], table: str | None) -> float:
        """What everything takes that is not chosen: float, embeddings, and layers in 8 bits."""
        total = 0.0
        for name, parameter in model.named_parameters():
            path = name.removesuffix(".weight")
            if path not in bits and path != table:
                total += parameter.numel() * parameter.element_size()
            elif path == table or bits[path] == 8:
                total += _bytes(parameter, 8)
        return total

    @staticmethod
    def _in(patterns: Sequence[str], path: str) -> bool:
        return any(fnmatchcase(path, pattern) for pattern in patterns)


def tied_head(model: PreTrainedModel) -> str | None:
    """The path of the head that shares its weights with the word embeddings; None where there is none."""
    head = model.get_output_embeddings()
    if head is None or not reads_tokens(model) or head.weight is not word_embeddings(model).weight:
        return None
    return next(path for path, module in model.named_modules() if module is head)


def _dense(model: PreTrainedModel, path: str) -> nn.Linear:
    module = model.get_submodule(path)
    assert isinstance(module, nn.Linear)
    return module


def _bytes(weight: Tensor, bits: int) -> float:
    """What a matrix takes in blocks."""
    rows, columns = weight.shape
    return rows * (columns * bits / 8 + 2 * block_count(columns))
