"""What a language model finds likely after each token of rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from compress.core.signature import Signature
from compress.tasks.language_rows import fills
from compress.tasks.text import padded

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

ROWS_AT_ONCE = 8


def log_probabilities(
    rows: Sequence[Mapping[str, Any]], model: PreTrainedModel, processor: Any, signature: Signature, title: str
) -> Iterator[tuple[int, torch.Tensor]]:
    """The number of each row, and the log-probabilities of all tokens after each of its own, (length, vocabulary);
    those of one length together."""
    import torch
    from tqdm.auto import tqdm

    from compress.nn.forward import forward

    order = sorted(range(len(rows)), key=lambda row: len(rows[row]["input_ids"]))
    for start in tqdm(range(0, len(order), ROWS_AT_ONCE), desc=title, leave=False):
        chosen = order[start : start + ROWS_AT_ONCE]
        with torch.inference_mode():
            batch = padded([rows[row] for row in chosen], fills(processor))
            output = forward(model, signature, batch).output.float().log_softmax(dim=-1)
        yield from ((row, output[place, : len(rows[row]["input_ids"])]) for place, row in enumerate(chosen))
