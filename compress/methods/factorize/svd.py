"""Low-rank factorization by a singular value decomposition weighted by the inputs that each layer really sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import nn
from transformers import PreTrainedModel

from compress.core.blame import Milder, Setback
from compress.core.checks import require_at_least, require_boolean, require_fraction, require_integer
from compress.core.context import Context
from compress.core.errors import InputError
from compress.core.fact_table import FactTable, Kind
from compress.core.stage import StageDefaults, Training
from compress.methods.training.calibration import decompositions
from compress.methods.training.imitation import Imitation, imitate
from compress.nn.family import dense_layers, family_of, last_attending, layers_of
from compress.nn.head import head_reads
from compress.nn.layers.low_rank_linear import LowRankLinear
from compress.nn.ops.low_rank import WhitenedDecomposition, break_even_rank, rank_for_energy
from compress.nn.scale import fold_scales
from compress.nn.structure import replace_module

# What of the last layer is computed for one token where only that is read.
ONE_TOKEN = ("query", "attention_output", "ffn_in", "ffn_out")
COLUMNS: tuple[tuple[str, Kind], ...] = (
    ("matrix", "text"),
    ("rank", "count"),
    ("of", "count"),
    ("saves", "share"),
    ("so it", "text"),
)


@dataclass(frozen=True, kw_only=True)
class FactorizeSvd(StageDefaults):
    """Exactly one of the three decides the rank of each layer.

    kept_energy: share of the output's energy on calibration inputs that is kept, in (0, 1]. ratio: the factors' values
    as a share of the matrix's, in (0, 1]. rank: the same for all. rank_multiple: ranks are rounded up to it, because
    kernels work in blocks. min_saving: a layer is factorized only where it saves at least this share of its values and
    multiply-adds, since two products cost one more operator than one. one_token_products: whether to factorize also
    what a fused last layer computes for its first token alone; there is next to nothing to save. recovery_epochs:
    distillation afterwards.
    """

    kept_energy: float | None
    ratio: float | None
    rank: int | None
    rank_multiple: int
    min_saving: float
    one_token_products: bool
    calibration_examples: int
    recovery_epochs: float
    imitation: Imitation

    leaves: ClassVar[frozenset[str]] = frozenset({"low_rank"})
    refuses: ClassVar[Mapping[str, str]] = {
        "fused": "query, key and value have become one matrix in a fused layer; factorize before fusing",
        "int8": "int8 weights cannot be factorized; factorize before quantizing",
        "sparse": "factorizing a layer destroys the zeros that pruning left in it; use structured pruning, or "
        "factorize without pruning",
    }

    def __post_init__(self) -> None:
        given = [name for name in ("kept_energy", "ratio", "rank") if getattr(self, name) is not None]
        if len(given) != 1:
            raise InputError(
                f"stages.factorize has {' and '.join(given) or 'none of kept_energy, ratio, rank'} set; exactly one "
                "decides the rank. Set the others to null."
            )
        if self.kept_energy is not None:
            require_fraction("stages.factorize.kept_energy", self.kept_energy, "Use 0.95, for example.")
        if self.ratio is not None:
            require_fraction("stages.factorize.ratio", self.ratio, "Use 0.5 for half of the values.")
        if self.rank is not None:
            require_integer("stages.factorize.rank", self.rank, 1, "Use 64, for example.")
        require_integer("stages.factorize.rank_multiple", self.rank_multiple, 1, "Use 8, for example.")
        require_integer("stages.factorize.calibration_examples", self.calibration_examples, 1, "Use 256, for example.")
        require_boolean("stages.factorize.one_token_products", self.one_token_products)
        require_at_least("stages.factorize.min_saving", self.min_saving, 0, "Use 0.2, for example.")
        require_at_least("stages.factorize.recovery_epochs", self.recovery_epochs, 0, "Use 0 for no recovery.")

    def check(self, model: PreTrainedModel) -> None:
        """Raise InputError where the rank fits no layer of a model of this shape."""
        if self.rank is None:
            return
        widest = (break_even_rank(module.out_features, module.in_features) for _, module in dense_layers(model))
        largest = max(widest, default=0)
        if self.rank > largest:
            raise InputError(
                f"stages.factorize.rank is {self.rank}; above {largest} every layer of this model would grow. "
                f"Use less than {largest}."
            )

    def relax(self, setback: Setback) -> Milder | None:
        """Half of the energy that was lost stays, or half as many values more."""
        if self.kept_energy is not None:
            return Milder({"kept_energy": (1 + self.kept_energy) / 2}, None) if self.kept_energy < 1 else None
        if self.ratio is not None:
            return Milder({"ratio": (1 + self.ratio) / 2}, 0.5) if self.ratio < 1 else None
        assert self.rank is not None
        return Milder({"rank": -(-3 * self.rank // 2)}, None)

    def check_teacher(self, teacher: PreTrainedModel) -> None:
        """Raise InputError where the imitation does not fit this teacher."""
        self.imitation.check(teacher)

    def training(self, examples: int) -> Training | None:
        """The recovery, where there is one."""
        return self.imitation.training(examples, self.recovery_epochs)

    def apply(self, model: PreTrainedModel, context: Context) -> PreTrainedModel:
        """The model with factorized layers. Layers that would not become smaller and cheaper are left, and noted."""
        fold_scales(model)
        layers = dict(dense_layers(model))
        # Without a fused form, the last layer computes every token.
        short = not self.one_token_products and family_of(model.config).fusable
        if short and head_reads(model, context) == "first":
            every = layers_of(model)
            last, *after = every[last_attending(every) :]
            alone = {layer.path_of(part) for layer in (last, *after) for part in ONE_TOKEN}
            layers = {path: module for path, module in layers.items() if path not in alone}
            context.note(f"{last.path}: left whole but for keys and values, its first token alone is read")
        rows: list[tuple[str, int, int, float, str]] = []
        thin = 0
        for path, decomposition in decompositions(model, context, layers, self.calibration_examples):
            module = layers[path]
            rank = self._rank(decomposition, module)
            saving = 1 - rank * sum(module.weight.shape) / module.weight.numel()
            skipped = saving <= 0 or saving < self.min_saving
            became = "stays whole" if skipped else "is two products"
            rows.append((path, rank, min(module.weight.shape), saving, became))
            if skipped:
                continue
            thin += 1
            up, down = decomposition.factors(rank)
            bias = None if module.bias is None else module.bias.detach()
            replace_module(model, path, LowRankLinear.of(up, down, bias))
        context.note(
            f"{thin} of {len(rows)} dense layers became two thin products: what saves {self.min_saving:.0%} at least"
        )
        context.tell(FactTable.of("Ranks, and what they save of a matrix's values and multiply-adds", COLUMNS, rows))
        if thin and self.recovery_epochs:
            imitate(model, context, self.imitation, epochs=self.recovery_epochs, title="recovery after factorizing")
        return model.eval()

    def _rank(self, decomposition: WhitenedDecomposition, module: nn.Linear) -> int:
        if self.rank is not None:
            wanted = self.rank
        elif self.ratio is not None:
            wanted = max(1, int(self.ratio * module.weight.numel() / sum(module.weight.shape)))
        else:
            assert self.kept_energy is not None
            wanted = rank_for_energy(decomposition.singular, self.kept_energy)
        rounded = -(-wanted // self.rank_multiple) * self.rank_multiple
        return min(rounded, len(decomposition.singular))
