"""Low-rank factorization of the word embeddings, weighted by how often each token is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from transformers import PreTrainedModel

from compress.core.blame import Milder, Setback
from compress.core.checks import require_at_least, require_fraction, require_integer
from compress.core.context import Context
from compress.core.errors import InputError
from compress.core.stage import StageDefaults, Training
from compress.methods.training.imitation import Imitation, imitate
from compress.methods.training.token_use import unlabelled_token_counts
from compress.nn.layers.embedding import rows_as_read
from compress.nn.ops.low_rank import RowsDecomposition, break_even_rank, rank_for_energy, rows_decomposition
from compress.nn.ops.vocabulary import token_counts
from compress.nn.vocabulary import factorize_word_embeddings, require_only_read, word_embeddings


@dataclass(frozen=True, kw_only=True)
class FactorizeEmbeddings(StageDefaults):
    """The table (tokens, width) becomes a narrow one (tokens, rank) and one product (rank, width).

    Exactly one of the two decides the rank. kept_energy: share of the energy of the embeddings that training and
    unlabelled texts look up, in (0, 1]. least_count: what a token counts that they use less often, so that tokens of
    new texts have a say. recovery_epochs: distillation afterwards.
    """

    kept_energy: float | None
    rank: int | None
    least_count: float
    recovery_epochs: float
    imitation: Imitation

    leaves: ClassVar[frozenset[str]] = frozenset({"low_rank_embedding"})
    refuses: ClassVar[Mapping[str, str]] = {
        "fused": "fused embeddings are not trained any more; factorize before fusing",
        "int8": "int8 embeddings cannot be factorized; factorize before quantizing",
        "low_rank_embedding": "the embeddings are factorized already; factorize them once",
    }

    def __post_init__(self) -> None:
        if (self.kept_energy is None) == (self.rank is None):
            found = "neither kept_energy nor rank" if self.rank is None else "both kept_energy and rank"
            raise InputError(f"stages.embeddings has {found} set; exactly one decides the rank. Set the other to null.")
        if self.kept_energy is not None:
            require_fraction("stages.embeddings.kept_energy", self.kept_energy, "Use 0.9, for example.")
        if self.rank is not None:
            require_integer("stages.embeddings.rank", self.rank, 1, "Use 64, for example.")
        require_at_least("stages.embeddings.least_count", self.least_count, 0, "Use 0.1, for example.")
        require_at_least("stages.embeddings.recovery_epochs", self.recovery_epochs, 0, "Use 0 for no recovery.")

    def check(self, model: PreTrainedModel) -> None:
        """Raise InputError for a model that uses its tokens for more than reading, or a rank that saves nothing."""
        require_only_read(model)
        table = word_embeddings(model)
        largest = break_even_rank(table.num_embeddings, table.embedding_dim)
        if self.rank is not None and self.rank > largest:
            raise InputError(
                f"stages.embeddings.rank is {self.rank}; above {largest} the {table.num_embeddings} x "
                f"{table.embedding_dim} embeddings of this model would grow. Use {largest} or less."
            )

    def relax(self, setback: Setback) -> Milder | None:
        """Half of the energy that was lost stays, or half as many values more."""
        if self.kept_energy is not None:
            return Milder({"kept_energy": (1 + self.kept_energy) / 2}, None) if self.kept_energy < 1 else None
        assert self.rank is not None
        table = word_embeddings(setback.before)
        more = min(-(-3 * self.rank // 2), break_even_rank(table.num_embeddings, table.embedding_dim))
        return Milder({"rank": more}, None) if more > self.rank else None

    def check_teacher(self, teacher: PreTrainedModel) -> None:
        """Raise InputError where the imitation does not fit this teacher."""
        self.imitation.check(teacher)

    def training(self, examples: int) -> Training | None:
        """The recovery, where there is one."""
        return self.imitation.training(examples, self.recovery_epochs)

    def apply(self, model: PreTrainedModel, context: Context) -> PreTrainedModel:
        """The model with factorized word embeddings; the very same model, and a note, where that saves nothing."""
        weight = rows_as_read(word_embeddings(model)).cpu()
        tokens, width = weight.shape
        found = rows_decomposition(weight, self._counts(context, tokens))
        rank = self._rank(found)
        if rank > break_even_rank(tokens, width):
            context.note(f"word embeddings: skipped, at rank {rank} the {tokens} x {width} values would become more")
            return model.eval()
        factorize_word_embeddings(model, *found.factors(rank))
        energy = found.singular.pow(2)
        saved = tokens * width - rank * (tokens + width)
        context.note(
            f"word embeddings: rank {rank} of {width} keeps {energy[:rank].sum() / energy.sum():.1%} of what texts "
            f"look up, {saved * 4 / 1e6:.2f} MB less in FP32"
        )
        if self.recovery_epochs:
            imitate(model, context, self.imitation, epochs=self.recovery_epochs, title="recovery of the embeddings")
        return model.eval()

    def _counts(self, context: Context, tokens: int) -> Tensor:
        counts = token_counts(context.task.tokens(context.train), tokens) + unlabelled_token_counts(context, tokens)
        return torch.from_numpy(counts).double().clamp(min=self.least_count)

    def _rank(self, found: RowsDecomposition) -> int:
        if self.rank is not None:
            return self.rank
        assert self.kept_energy is not None
        return rank_for_energy(found.singular, self.kept_energy)
