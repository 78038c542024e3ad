"""What a student is asked to match. Every loss is a mean over the positions that count, in float32.

`counted` and `size_of_hidden_states` say what the sum in a loss was divided by. Losses of parts of a batch, each times
its share of that, add up to the loss of the whole.
"""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional


def softened_logits_loss(student: Tensor, teacher: Tensor, temperature: float, mask: Tensor | None = None) -> Tensor:
    """KL(teacher || student) of softened distributions, times temperature².

    student, teacher: (..., classes). mask: (...) boolean, or None for all. The factor keeps the gradient's size
    independent of the temperature. Source: Hinton et al. 2015, section 2.
    """
    divergence = functional.kl_div(
        functional.log_softmax(student.float() / temperature, dim=-1),
        functional.log_softmax(teacher.float() / temperature, dim=-1),
        reduction="none",
        log_target=True,
    ).sum(dim=-1)
    return masked_mean(divergence, mask) * temperature**2


def hidden_states_loss(student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean squared difference over the positions that count, relative to the teacher's mean square there.

    student, teacher: (rows, positions, width). mask: (rows, positions) boolean, or None for all. Dividing by the
    teacher's own size makes one weight fit models of every scale.
    """
    difference = (student.float() - teacher.float()).pow(2).mean(dim=-1)
    size = teacher.float().pow(2).mean(dim=-1)
    return masked_mean(difference, mask) / masked_mean(size, mask).clamp(min=1e-12)


def size_of_hidden_states(teacher: Tensor, mask: Tensor | None = None) -> Tensor:
    """The sum of the teacher's mean squares over the positions that count: `hidden_states_loss` is relative to it."""
    size = teacher.float().pow(2).mean(dim=-1)
    return (size if mask is None else size * mask).double().sum()


def counted(vectors: Tensor, mask: Tensor | None = None) -> int:
    """How many positions count. vectors: (..., width). mask: (...) boolean, or None for all."""
    if mask is not None:
        return int(mask.sum())
    return math.prod(vectors.shape[:-1])


def relations_loss(student: Tensor, teacher: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """KL(teacher || student) of the relations between positions, mean over heads and the positions that count.

    student, teacher: (rows, positions, width), the queries (or keys, or values) of all heads side by side; the two
    widths may differ, and so may the models' own numbers of heads. Both are cut into `heads` equal parts, and a
    position's relation is the softmax over all positions that count of the scaled products with their vectors.
    mask: (rows, positions) boolean, or None for all. Raises ValueError where `heads` does not divide a width.
    Source: Wang et al. 2021, MiniLMv2, section 3.1.
    """
    expected, found = _log_relations(teacher, heads, mask), _log_relations(student, heads, mask)
    divergence = functional.kl_div(found, expected, reduction="none", log_target=True).sum(dim=-1).mean(dim=1)
    return masked_mean(divergence, mask)


def common_heads(wanted: int, first_width: int, second_width: int) -> int:
    """The largest number up to `wanted` that divides both widths into equal parts."""
    common = math.gcd(first_width, second_width)
    return max(heads for heads in range(1, min(wanted, common) + 1) if common % heads == 0)


def _log_relations(vectors: Tensor, heads: int, mask: Tensor | None) -> Tensor:
    """(rows, heads, positions, positions), logarithms of distributions over the last axis."""
    rows, positions, width = vectors.shape
    if width % heads:
        raise ValueError(f"{heads} heads do not divide a width of {width}")
    parts = vectors.float().reshape(rows, positions, heads, width // heads).transpose(1, 2)
    scores = parts @ parts.transpose(-1, -2) / math.sqrt(width // heads)
    if mask is not None:
        # Finite: a difference of two infinities is no number, even where its weight is 0.
        scores = scores.masked_fill(~mask[:, None, None, :], -1e9)
    return functional.log_softmax(scores, dim=-1)


def masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of `values` where `mask` is True; of all where it is None."""
    if mask is None:
        return values.mean()
    kept = mask.to(values.dtype)
    return (values * kept).sum() / kept.sum().clamp(min=1)
