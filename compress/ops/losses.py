"""What a student is asked to match. Every loss is a mean over the positions that count, in float32."""

from __future__ import annotations

import torch
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


def masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of `values` where `mask` is True; of all where it is None."""
    if mask is None:
        return values.mean()
    kept = mask.to(values.dtype)
    return (values * kept).sum() / kept.sum().clamp(min=1)


def is_finite(loss: Tensor) -> bool:
    """False for NaN and infinity."""
    return bool(torch.isfinite(loss).all())
