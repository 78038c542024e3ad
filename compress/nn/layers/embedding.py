"""What is common to tables that are looked up."""

from __future__ import annotations

import torch
from torch import Tensor, nn


@torch.no_grad()
def rows_as_read(table: nn.Embedding) -> Tensor:
    """(rows, width): what a table gives for each of its rows. Some families multiply what they look up."""
    read = table(torch.arange(table.num_embeddings, device=table.weight.device))
    assert isinstance(read, Tensor)
    return read
