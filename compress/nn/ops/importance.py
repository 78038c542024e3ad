"""How much each head, neuron or layer matters: arithmetic on weights, activations and gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def head_magnitude(rows: Sequence[Tensor], output: Tensor, heads: int) -> Tensor:
    """Euclidean norm of all weights that belong to each attention head.

    rows: the weights of its queries, keys and values, (heads * width, hidden) each, of any widths. output: (hidden,
    heads * width). Returns (heads,).
    """
    squares = [weight.double().pow(2).sum(dim=1) for weight in rows]
    squares.append(output.double().pow(2).sum(dim=0))
    return torch.stack([values.reshape(heads, -1).sum(dim=1) for values in squares]).sum(dim=0).sqrt()


def neuron_magnitude(inner: Sequence[Tensor], outer: Tensor) -> Tensor:
    """Product of the norms of what a neuron reads and what it writes: zero as soon as either side is zero.

    inner: (neurons, hidden) of each matrix that meets in them. outer: (hidden, neurons). Returns (neurons,).
    """
    return torch.cat(list(inner), dim=1).double().norm(dim=1) * outer.double().norm(dim=0)


def total_magnitude(weights: Sequence[Tensor]) -> float:
    """Euclidean norm of several weights taken together: the importance of a whole layer."""
    return float(sum(weight.double().pow(2).sum().item() for weight in weights)) ** 0.5


def column_contribution(weight: Tensor, mean_squares: Tensor) -> Tensor:
    """Root mean square, over inputs, of the length of what each input column adds to the output.

    weight: (out, in). mean_squares: (in,), the mean of each input's square. Returns (in,).
    """
    return weight.double().norm(dim=0) * mean_squares.double().sqrt()


def mask_gradient(inputs: Tensor, gradient: Tensor) -> Tensor:
    """Derivative of each example's loss by a mask of ones that multiplies each column of `inputs`.

    inputs: (examples, positions, width). gradient: of the loss by the inputs, the same shape. Returns (examples,
    width) in float64: by the chain rule the sum over positions of input times gradient.
    """
    return (inputs.double() * gradient.double()).sum(dim=1).cpu()


def component_gradient(inputs: Tensor, gradient: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """Derivative of each example's loss by a mask of ones that multiplies each component of a product up @ down.

    inputs: (examples, positions, in), what the product is given. gradient: of the loss by what it gives, (examples,
    positions, out). up: (out, k). down: (k, in). Returns (examples, k) in float64. A position's outputs are up @
    diag(mask) @ down @ inputs, so by the chain rule component i's derivative is the sum over positions of
    (gradient . up[:, i]) (down[i] . inputs).
    """
    return ((gradient @ up).double() * (inputs @ down.T).double()).sum(dim=1).cpu()


def per_head(columns: Tensor, head_size: int) -> Tensor:
    """Sums over the columns of each head: (..., heads * head_size) becomes (..., heads)."""
    return columns.unflatten(-1, (-1, head_size)).sum(dim=-1)
