"""What a transformer's layer is made of: two residual blocks, attention and FFN, and what can be cut in each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

# Where the normalisation of a block stands: after the residual sum; before the block, so that the sum goes on as it is;
# or before the block and once more between its output and the sum.
Position = Literal["post", "pre", "around"]

# What the outputs of each matrix that reads a block's input are, side by side: `heads`, so many for each head of the
# queries; `shared`, so many for each group of heads that shares a key and a value (a group of one in most families);
# `neurons`, one each. A matrix with several of them is several products in one, in this order; those of BY_HEAD give
# them for one head after the other, in this order again.
OUTPUTS: Mapping[str, tuple[str, ...]] = {
    "query": ("heads",),
    "key": ("shared",),
    "value": ("shared",),
    "query_key_value": ("heads", "shared", "shared"),
    "query_key_value_by_head": ("heads", "shared", "shared"),
    "ffn_in": ("neurons",),
    "ffn_gate": ("neurons",),
    "ffn_gate_and_in": ("neurons", "neurons"),
}
BY_HEAD = frozenset({"query_key_value_by_head"})


@dataclass(frozen=True, kw_only=True)
class AttentionBlock:
    """All paths start at the layer.

    module: called for attention with the hidden states; it holds the head counts, and is replaced where the block is
    dropped. inputs: the matrices that read its input, each by its name in OUTPUTS. output: the projection back to the
    hidden states. norm, position, rms: its normalisation, the first where there are two, where that stands, and whether
    it is RMSNorm, not LayerNorm. after: the second norm, of what the block gives, where there is one. scale: weights
    (hidden,) by which what the block gives is multiplied before it is added (LayerScale), where there are such.
    query_norm, key_norm: of the queries and keys of each head, where there are such. head_attributes,
    width_attributes, sharing_attributes: what the module calls its number of heads, heads times head size, and heads
    for each key and value. plain: whether attention is softmax(query key / sqrt(head size) + a mask of padding) value,
    and nothing more: no rotation, relative positions, window or causality, one mask for all layers. fixed_heads: why no
    head can leave alone, where that is so; it must be, for a matrix of BY_HEAD. more: modules that hold weights which
    no cut changes, besides those that are named here.
    """

    module: str
    inputs: Mapping[str, str]
    output: str
    norm: str
    position: Position = "post"
    rms: bool = False
    after: str | None = None
    scale: str | None = None
    query_norm: str | None = None
    key_norm: str | None = None
    head_attributes: tuple[str, ...] = ()
    width_attributes: tuple[str, ...] = ()
    sharing_attributes: tuple[str, ...] = ()
    plain: bool = True
    fixed_heads: str | None = None
    more: tuple[str, ...] = ()

    @property
    def attributes(self) -> tuple[str, ...]:
        """All numbers of the module that a cut changes, by name."""
        return (*self.head_attributes, *self.width_attributes, *self.sharing_attributes)

    @property
    def further(self) -> tuple[str, ...]:
        """Modules with weights that no cut changes, besides `norm`."""
        return _modules(*self.more, self.query_norm, self.key_norm, self.after, scale=self.scale)


@dataclass(frozen=True, kw_only=True)
class FeedForwardBlock:
    """All paths start at the layer.

    module: what is replaced where the block is dropped, a module that adds nothing but the block itself; None where its
    matrices are replaced one by one. inputs, output, norm, position, rms, after, scale: as in AttentionBlock.
    activation: its module. Where there is a gate, the neurons are activation(gate) times what `ffn_in` gives.
    """

    module: str | None = None
    inputs: Mapping[str, str]
    output: str
    norm: str
    activation: str
    position: Position = "post"
    rms: bool = False
    after: str | None = None
    scale: str | None = None

    @property
    def further(self) -> tuple[str, ...]:
        """Modules with weights that no cut changes, besides `norm`."""
        return _modules(self.after, scale=self.scale)

    @property
    def gated(self) -> bool:
        """Whether two products meet in each neuron."""
        return sum(len(OUTPUTS[name]) for name in self.inputs) > 1


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """What surrounds the layers of a model that says what comes next, and how it numbers positions: all paths start at
    the base.

    norm: the last one. rotary: gives the angles by which queries and keys are turned. rms_offset: what is added to the
    weights of each RMSNorm. scaled_embeddings: whether embeddings are multiplied by the root of the hidden width.
    angles_by_type: whether layers of other types have other angles.
    """

    norm: str = "norm"
    rotary: str = "rotary_emb"
    rms_offset: float = 0.0
    scaled_embeddings: bool = False
    angles_by_type: bool = False


@dataclass(frozen=True, kw_only=True)
class Embeddings:
    """module: path of the embeddings' module, from the base. The other paths start there, None where there is none.

    words: the table of the tokens, '' where `module` is that itself; None in a model that reads no tokens. positions,
    types, norm: learned positions, token types, the normalisation. from_zero: whether the first token's position is 0,
    whatever the tokens are.
    """

    module: str
    words: str | None = None
    positions: str | None = None
    types: str | None = None
    norm: str | None = None
    from_zero: bool = False


def _modules(*paths: str | None, scale: str | None) -> tuple[str, ...]:
    """The paths that there are, and that of the module which holds `scale`."""
    holder = None if scale is None else scale.rpartition(".")[0]
    return tuple(path for path in (*paths, holder) if path is not None)
