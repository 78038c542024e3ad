"""The control follows from the seed, and from nothing else."""

from __future__ import annotations

from collections.abc import Callable

import torch

from compress.methods.importance.random import Random


def test_the_seed_decides(make_model: Callable, make_context: Callable) -> None:
    model, other = make_model(seed=0), make_model(seed=1)
    torch.manual_seed(5)
    first = Random().of(model, make_context(model, seed=3))
    torch.manual_seed(6)
    again = Random().of(other, make_context(model, seed=3))
    assert all(torch.equal(a.neurons, b.neurons) for a, b in zip(first, again, strict=True))
    changed = Random().of(model, make_context(model, seed=4))
    assert not any(torch.equal(a.neurons, b.neurons) for a, b in zip(first, changed, strict=True))
    assert not torch.equal(first[0].neurons, first[1].neurons)
