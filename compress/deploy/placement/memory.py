"""What the pieces of a model need on a device: weights in so many bits, keys and values, room to compute."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from compress.deploy.placement.problem import Needs

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

# Weights in 8 and 4 bits are stored as everywhere here, and as GGUF's Q8_0 and Q4_0: in blocks of 32 of a row, each
# with a scale of 16 bits. A token's row, and the head's, has 8 bits at least.
BLOCK, SCALE_BYTES = 32, 2
BITS = (32, 16, 8, 4)


def needs_of(model: PreTrainedModel, *, bits: int, context: int) -> Needs:
    """Bytes of each piece of a model that says what comes next.

    model: may be one without weights. bits: of each weight matrix that is stored in floating point; integers stay as
    they are, vectors in FP32 (in 16 bits: too). context: tokens of the longest text, prompt and answer. Keys and values
    have 32 bits where the weights have, else 16.
    """
    from compress.nn.family import hidden_size, layers_of
    from compress.nn.pieces import cached_width, is_tied, pieces_of, window_of

    pieces, layers = pieces_of(model), layers_of(model)
    words = weight_bytes(_tensors(model.get_submodule(pieces.embeddings)), max(bits, 8))
    head = weight_bytes((one for path in pieces.head for one in _tensors(model.get_submodule(path))), max(bits, 8))
    tied = is_tied(model)
    if tied and head < words:
        # A head that only reads the other's table holds none, and on another device would have to.
        head += words
    each = number_bytes(bits)
    kept = [min(context, window_of(layer, number) or context) for number, layer in enumerate(layers)]
    widest = max((layer.neurons * len(layer.ffn_inputs) for layer in layers), default=0)
    return Needs(
        embeddings=words,
        blocks=tuple(weight_bytes(_tensors(layer.module), bits) for layer in layers),
        caches=tuple(each * tokens * cached_width(layer) for tokens, layer in zip(kept, layers, strict=True)),
        head=head,
        shared=words if tied else 0,
        activations=activation_bytes(context, hidden_size(model), widest, each),
    )


def number_bytes(bits: int) -> int:
    """Of a number that is computed with, kept or handed on, for weights in so many bits."""
    return 4 if bits == 32 else 2


def activation_bytes(tokens: int, hidden_size: int, neurons: int, each: int) -> int:
    """The most that is there at once while a prompt of so many tokens is read: the residual sum, what was normalised,
    and four products as wide (queries, keys, values, and what attention gives); or those two and the FFN's neurons.
    neurons: of all products that meet in them. Attention is computed in tiles and keeps no matrix of all pairs (Dao et
    al. 2022, FlashAttention), which holds for torch's and llama.cpp's."""
    return each * tokens * (2 * hidden_size + max(4 * hidden_size, neurons))


def weight_bytes(tensors: Iterable[Tensor], bits: int) -> int:
    """What these take when matrices of floating point have so many bits."""
    return sum(_bytes(tensor, bits) for tensor in tensors)


def _bytes(tensor: Tensor, bits: int) -> int:
    import torch

    # Scales of integers are stored in 16 bits; weights come without their own type, as FP32.
    if tensor.dtype != torch.float32:
        return tensor.numel() * tensor.element_size()
    if tensor.dim() < 2:
        return tensor.numel() * (2 if bits == 16 else 4)
    if bits in (32, 16):
        return tensor.numel() * bits // 8
    rows, columns = tensor.numel() // tensor.shape[-1], tensor.shape[-1]
    blocks = -(-columns // BLOCK)
    return rows * blocks * (BLOCK * bits // 8 + SCALE_BYTES)


def _tensors(module: nn.Module) -> list[Tensor]:
    return list(module.state_dict().values())
