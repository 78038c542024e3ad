"""A dense layer whose inputs were cut, fitted in closed form to what is missing from its output: no gradient step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LeastSquares:
    """Sums over calibration positions, in float64, of which the best change of a dense layer follows.

    With x a position's inputs and a 1 for the bias, m what is missing from the layer's output there (what is wanted
    less what it gives), and w the position's weight: gram: (in + 1, in + 1), the sum of w x xᵀ. cross: (out, in + 1),
    the sum of w m xᵀ.
    """

    gram: Tensor
    cross: Tensor

    @classmethod
    def empty(cls, inputs: int, outputs: int) -> LeastSquares:
        """No position yet."""
        size = inputs + 1
        return cls(torch.zeros(size, size, dtype=torch.float64), torch.zeros(outputs, size, dtype=torch.float64))

    def add(self, inputs: Tensor, missing: Tensor, weights: Tensor) -> None:
        """Add positions, in place. inputs: (n, in). missing: (n, out). weights: (n,), all > 0."""
        x = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], dim=1)
        weighted = x * weights[:, None]
        # Products of one batch in the inputs' own precision, which is many times faster; their sum in float64.
        self.gram.add_((weighted.T @ x).double().cpu())
        self.cross.add_((missing.T @ weighted).double().cpu())

    def solve(self, ridge: float, *, bias: bool = True) -> tuple[Tensor, Tensor]:
        """What to add to the weight, (out, in), and to the bias, (out,); zeros for the latter where there is none.

        D = [weight change, bias change] minimises the sum of w ||D x - m||² + r ||D||². The derivative by D is zero
        where D (gram + r 1) = cross. r is `ridge` (> 0) times the mean of gram's diagonal. A ridge on the change, not
        on the weight, leaves alone what the positions say nothing about, and on them never makes the layer worse:
        D = 0 is one of the candidates. Raises ValueError where `ridge` is not positive.

        Sources: Hoerl and Kennard 1970, Ridge Regression; He et al. 2017, Channel Pruning for Accelerating Very Deep
        Neural Networks, for least squares after a cut.
        """
        if not ridge > 0:
            raise ValueError(f"ridge {ridge} is not greater than 0")
        # Where no position came at all, nothing is missing, whatever the ridge.
        strength = (ridge * self.gram.diagonal().mean()).clamp(min=1e-300)
        gram, cross = self.gram + strength * torch.eye(len(self.gram), dtype=torch.float64), self.cross
        if not bias:
            # A weight that is best together with a bias is not the best alone.
            change = torch.linalg.solve(gram[:-1, :-1], cross[:, :-1].T).T
            return change, change.new_zeros(len(change))
        change = torch.linalg.solve(gram, cross.T).T
        return change[:, :-1], change[:, -1]


def elimination_errors(weight: Tensor, gram: Tensor, size: int, ridge: float, at_once: int = 1) -> Tensor:
    """What it costs to do without each group of `size` consecutive inputs, where the others take over what they can.

    Groups are removed greedily, cheapest first, and after each removal the remaining weights are the best fit to the
    full layer's output. A group's value is the squared error there is once it and all removed before it are gone, so
    values grow in the order of removal. Removing group g from the weights W that are left, with H the inverse of the
    Gram matrix of the inputs that are left, costs the trace of W_g (H_gg)⁻¹ W_gᵀ (Hassibi and Stork 1993, Optimal Brain
    Surgeon; for groups Kurtic et al. 2023, ZipLM).

    weight: (out, in). gram: (in, in), the sum of x xᵀ over positions, of centred x where a bias is refitted too.
    ridge: added to gram's diagonal, as a share of its mean, > 0. at_once: how many groups leave before all the rest are
    judged anew; in between only the 2 * at_once cheapest are. Returns (in / size,), float64.
    """
    left, total = weight.double().clone(), gram.double()
    strength = (ridge * total.diagonal().mean()).clamp(min=1e-300)
    inverse = torch.linalg.inv(total + strength * torch.eye(len(total), dtype=torch.float64))
    alive = torch.arange(len(total) // size)
    errors, spent = torch.zeros(len(alive), dtype=torch.float64), 0.0
    while len(alive):
        costs = _costs(left, inverse, size)
        pool = torch.argsort(costs[alive], stable=True)[: 2 * at_once]
        columns = _columns(alive[pool], size)
        near, near_inverse = left[:, columns], inverse[columns][:, columns]
        gone: list[int] = []
        for _ in range(min(at_once, len(alive))):
            costs = _costs(near, near_inverse, size)
            costs[gone] = torch.inf
            cheapest = int(costs.argmin())
            spent += float(costs[cheapest])
            errors[alive[pool[cheapest]]] = spent
            gone.append(cheapest)
            _remove(near, near_inverse, _columns(torch.tensor([cheapest]), size))
        _remove(left, inverse, _columns(alive[pool[gone]], size))
        stays = torch.ones(len(alive), dtype=torch.bool)
        stays[pool[gone]] = False
        alive = alive[stays]
    return errors


def _columns(groups: Tensor, size: int) -> Tensor:
    return (groups[:, None] * size + torch.arange(size)).flatten()


def _costs(left: Tensor, inverse: Tensor, size: int) -> Tensor:
    """The error that removing each group would add. left: (out, in). inverse: (in, in). Returns (in / size,)."""
    groups = torch.arange(len(inverse)).reshape(-1, size)
    own = inverse[groups[:, :, None], groups[:, None, :]]
    weights = left[:, groups].transpose(0, 1)
    return (torch.linalg.solve(own, weights, left=False) * weights).sum(dim=(1, 2))


def _remove(left: Tensor, inverse: Tensor, gone: Tensor) -> None:
    """Let the other inputs take over what `gone` did, in place, and forget those."""
    taken_over = torch.linalg.solve(inverse[gone][:, gone], inverse[gone])
    left -= left[:, gone] @ taken_over
    inverse -= inverse[:, gone] @ taken_over
    # So that the place of what is gone can be judged like any other; it costs nothing, and is not looked at.
    left[:, gone] = 0
    inverse[gone] = 0
    inverse[:, gone] = 0
    inverse[gone, gone] = 1
