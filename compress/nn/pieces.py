"""A decoder as pieces that can lie on different devices: embeddings, blocks (its layers), and the head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel

from compress.nn.family import Layer, base_of, family_of, layers_of
from compress.nn.layers import TiedBlockHead
from compress.nn.surgery import keep_layers


@dataclass(frozen=True)
class Pieces:
    """Paths of modules in the whole model; together they hold all its tensors. blocks: one each. beside: what every
    device with blocks needs, and has no weights: it gives the angles of positions."""

    embeddings: str
    blocks: tuple[str, ...]
    head: tuple[str, ...]
    beside: tuple[str, ...]


def is_decoder(model: PreTrainedModel) -> bool:
    """Whether it says what comes next."""
    return family_of(model.config).decoder is not None and model.get_output_embeddings() is not None


def pieces_of(model: PreTrainedModel) -> Pieces:
    """model: one that says what comes next."""
    family, base = family_of(model.config), model.base_model_prefix
    assert family.decoder is not None and family.words is not None
    head = next(name for name, module in model.named_modules() if module is model.get_output_embeddings())
    return Pieces(
        embeddings=f"{base}.{family.words}",
        blocks=tuple(layer.path for layer in layers_of(model)),
        head=(f"{base}.{family.decoder.norm}", head),
        beside=(f"{base}.{family.decoder.rotary}",),
    )


def is_tied(model: PreTrainedModel) -> bool:
    """Whether head and embeddings are one table."""
    head, words = model.get_output_embeddings(), model.get_input_embeddings()
    return isinstance(head, TiedBlockHead) or getattr(head, "weight", None) is getattr(words, "weight", 0)


def cached_width(layer: Layer) -> int:
    """How many numbers the layer keeps of each token: a key and a value for each head, or group of heads."""
    if not layer.heads:
        return 0
    ranges = (one for name in layer.attention_inputs for one in layer.ranges(name))
    return sum(end - start for what, start, end in ranges if what == "shared")


def window_of(layer: Layer, number: int) -> int | None:
    """How many of the last tokens the layer, of this number, keeps; None where it keeps all."""
    types = getattr(layer.config, "layer_types", None)
    return int(layer.config.sliding_window) if types and types[number] == "sliding_attention" else None


class Part(nn.Module):
    """Consecutive pieces of a model, with what they keep of each text between calls.

    Called with tokens (rows, n) where it begins with the embeddings, else with hidden states (rows, n, hidden); gives
    the logits of the last position (rows, 1, vocabulary) where it ends with the head, else hidden states.
    """

    def __init__(self, model: PreTrainedModel, blocks: Sequence[int], *, embeddings: bool, head: bool) -> None:
        """model: used up. blocks: numbers of the layers, consecutive ones."""
        super().__init__()
        pieces = pieces_of(model)
        norm, last = (model.get_submodule(path) for path in pieces.head)
        words, self._tied = model.get_input_embeddings(), embeddings and head and is_tied(model)
        self.words: nn.Module | None = words if embeddings else None
        # What a head without weights of its own reads: a part of this, so that it is moved and filled with it.
        self.table: nn.Module | None = words if head and isinstance(last, TiedBlockHead) else None
        self.norm: nn.Module | None = norm if head else None
        self.head: nn.Module | None = last if head else None
        self.base: PreTrainedModel | None = None
        if blocks:
            keep_layers(model, blocks)
            self.base = base_of(model)
            # These are pieces of their own.
            self.base.set_submodule(family_of(model.config).decoder.norm, nn.Identity())  # type: ignore[union-attr]
            self.base.set_submodule(family_of(model.config).words or "", nn.Identity())
        self._layers = layers_of(model) if blocks else []
        self._kept: dict[int, DynamicCache] = {}

    @property
    def layers(self) -> list[Layer]:
        """Its blocks."""
        return self._layers

    def tie(self) -> None:
        """Have head and embeddings be one table again, where they are and both are here."""
        if self._tied and not isinstance(self.head, TiedBlockHead):
            assert self.head is not None and self.words is not None
            self.head.weight = self.words.weight

    def forward(self, values: Tensor, text: int = 0) -> Tensor:
        """text: which one this goes on with; its first call begins it."""
        if self.words is not None:
            values = self.words(values)
        if self.base is not None:
            if text not in self._kept:
                self._kept[text] = DynamicCache(config=self.base.config)
            kept = self._kept[text]
            values = self.base(inputs_embeds=values, past_key_values=kept, use_cache=True).last_hidden_state
        if self.norm is not None and self.head is not None:
            values = self.head(self.norm(values[:, -1:]))
        return values

    def forget(self) -> None:
        """Begin all texts anew."""
        self._kept.clear()


def computed_in(model: PreTrainedModel, bits: int) -> torch.dtype:
    """What the model's numbers are computed in: bfloat16 for 16 bits, unless it holds integers, which are computed with
    in FP32."""
    integers = any(not tensor.is_floating_point() and tensor.dim() > 1 for tensor in model.state_dict().values())
    return torch.bfloat16 if bits == 16 and not integers else torch.float32


def with_random_weights(part: Part, device: torch.device, dtype: torch.dtype) -> Part:
    """A part of a model without weights (on `meta`) filled with random ones, in place: no kernel's speed depends on
    them."""
    if dtype != torch.float32:
        part.to(dtype)
    part.to_empty(device=device)
    for tensor in (*part.parameters(), *part.buffers()):
        if not tensor.is_floating_point():
            # Small ones: an index, where one is computed of them, stays inside.
            tensor.data.random_(0, 2)
        elif tensor.dim() > 1:
            tensor.data.normal_(std=0.02)
        else:
            tensor.data.fill_(1.0)
    if part.base is not None:
        # It computes its angles from the configuration, and no file holds them.
        path = family_of(part.base.config).decoder.rotary  # type: ignore[union-attr]
        rotary = part.base.get_submodule(path)
        part.base.set_submodule(path, type(rotary)(config=part.base.config).to(device))
    part.tie()
    return part
