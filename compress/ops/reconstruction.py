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

    def solve(self, ridge: float) -> tuple[Tensor, Tensor]:
        """What to add to the weight, (out, in), and to the bias, (out,).

        D = [weight change, bias change] minimises the sum of w ||D x - m||² + r ||D||². The derivative by D is zero
        where D (gram + r 1) = cross. r is `ridge` (> 0) times the mean of gram's diagonal. A ridge on the change, not
        on the weight, leaves alone what the positions say nothing about, and on them never makes the layer worse:
        D = 0 is one of the candidates. Raises ValueError where `ridge` is not positive.

        Sources: Hoerl and Kennard 1970, Ridge Regression, equation 2.1; He et al. 2017, Channel Pruning for
        Accelerating Very Deep Neural Networks, section 3.1, for least squares after a cut.
        """
        if not ridge > 0:
            raise ValueError(f"ridge {ridge} is not greater than 0")
        # Where no position came at all, nothing is missing, whatever the ridge.
        strength = (ridge * self.gram.diagonal().mean()).clamp(min=1e-300)
        gram = self.gram + strength * torch.eye(len(self.gram), dtype=torch.float64)
        change = torch.linalg.solve(gram, self.cross.T).T
        return change[:, :-1], change[:, -1]
