"""Moving range from what a product reads into its weights, where one scale rounds all channels of its inputs."""

from __future__ import annotations

import torch
from torch import Tensor


def smoothing_factors(inputs: Tensor, weights: Tensor, strength: float) -> Tensor:
    """What each input channel is divided by, and the weights that read it multiplied by.

    That is s = a^strength / w^(1 - strength). inputs: (channels,), a, the largest absolute value that each channel
    takes. weights: (channels,), w, the largest of those that read it. strength: in (0, 1]; at 0.5 both sides end with
    the same range, sqrt(a w), at 1 every channel of the inputs with the same. Returns (channels,), in float32, greater
    than 0: 1 where a channel is never used or never read, which then stays as it was.

    Source: Xiao et al. 2022, SmoothQuant, equation 4.
    """
    used = (inputs > 0) & (weights > 0)
    # In float64, as logarithms: neither a tiny range nor a large strength can leave what a float holds.
    logarithms = strength * inputs.double().log() - (1 - strength) * weights.double().log()
    return torch.where(used, logarithms, torch.zeros_like(logarithms)).exp().float()
