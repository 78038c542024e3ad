"""Two thin matrices instead of one, chosen for the inputs that a layer really sees, or the rows that are looked up."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class WhitenedDecomposition:
    """weight @ root = left @ diag(singular) @ right, where root @ root is the Gram matrix of the inputs.

    left: (out, k), singular: (k,) descending, right: (k, in), unroot: (in, in), the pseudo-inverse of root.
    """

    left: Tensor
    singular: Tensor
    right: Tensor
    unroot: Tensor

    def factors(self, rank: int) -> tuple[Tensor, Tensor]:
        """(up, down), shapes (out, rank) and (rank, in): the best approximation of that rank on the seen inputs.

        The singular values are shared evenly between the two, so that both have the same scale.
        Raises ValueError if `rank` lies outside 1..k.
        """
        if not 1 <= rank <= len(self.singular):
            raise ValueError(f"rank {rank} lies outside 1..{len(self.singular)}")
        shared = self.singular[:rank].sqrt()
        return self.left[:, :rank] * shared, (shared[:, None] * self.right[:rank]) @ self.unroot


def whitened_decomposition(weight: Tensor, inputs_gram: Tensor) -> WhitenedDecomposition:
    """Singular values of `weight` weighted by the inputs: dropping value s costs exactly s² of ||weight X||².

    weight: (out, in). inputs_gram: (in, in), the sum of x xᵀ over calibration inputs, positive semi-definite.
    Computed in float64. Directions that no input has used are left out through the pseudo-inverse.
    Source: Wang et al. 2024, SVD-LLM, section 3.1, with the symmetric root in place of Cholesky's factor, because a
    Gram matrix of few inputs is singular.
    """
    values, vectors = torch.linalg.eigh(inputs_gram.double())
    used = values > values.amax().clamp(min=0) * 1e-10
    root_values = torch.where(used, values.clamp(min=0).sqrt(), torch.zeros_like(values))
    unroot_values = torch.where(used, 1 / root_values.clamp(min=1e-300), torch.zeros_like(values))
    root = (vectors * root_values) @ vectors.T
    left, singular, right = torch.linalg.svd(weight.double() @ root, full_matrices=False)
    return WhitenedDecomposition(left, singular, right, (vectors * unroot_values) @ vectors.T)


@dataclass(frozen=True)
class RowsDecomposition:
    """diag(sqrt(weights)) @ rows = U @ diag(singular) @ directions, U with orthonormal columns and not kept.

    rows: (rows, width), float64. singular: (width,) descending. directions: (width, width), orthonormal, one a row.
    """

    rows: Tensor
    singular: Tensor
    directions: Tensor

    def factors(self, rank: int) -> tuple[Tensor, Tensor]:
        """(table, up), shapes (rows, rank) and (width, rank): table @ up.T is the best approximation of that rank.

        The columns of `up` are orthonormal, so that what rounding does to a row of the table is not amplified, and
        the rows keep the scale that the optimizer knows. Raises ValueError if `rank` lies outside 1..width.
        """
        if not 1 <= rank <= len(self.singular):
            raise ValueError(f"rank {rank} lies outside 1..{len(self.singular)}")
        up = self.directions[:rank].T
        return self.rows @ up, up


def rows_decomposition(rows: Tensor, weights: Tensor) -> RowsDecomposition:
    """Singular values of `rows` weighted by how often each is used: dropping value s costs exactly s² of the sum of
    weights[i] ||error of row i||².

    rows: (rows, width). weights: (rows,), at least 0. Computed in float64, from the (width, width) Gram matrix of the
    weighted rows: of the decomposition, only the right side is needed, since the best approximation of each row within
    a space is its projection (Eckart and Young 1936, for rows scaled by the roots of their weights). Rows of weight 0
    are projected as the others are.
    """
    exact = rows.double()
    values, vectors = torch.linalg.eigh(exact.T @ (weights.double()[:, None] * exact))
    return RowsDecomposition(exact, values.clamp(min=0).sqrt().flip(0), vectors.T.flip(0))


def rank_for_energy(singular: Tensor, kept_energy: float) -> int:
    """The smallest rank whose squared singular values sum to at least `kept_energy` (0..1] of all."""
    energy = singular.double().pow(2)
    total = energy.sum()
    if total == 0:
        return 1
    # A hair of slack, so that rounding does not ask for every last value when kept_energy is 1.
    enough = energy.cumsum(0) >= total * (kept_energy - 1e-12)
    return int(enough.nonzero()[0].item()) + 1


def break_even_rank(outputs: int, inputs: int) -> int:
    """The largest rank at which two factors have no more values, and no more multiply-adds, than the one matrix."""
    return outputs * inputs // (outputs + inputs)
