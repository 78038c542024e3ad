"""An encoder with what makes one vector of its last layer: pooling, perhaps a dense layer, perhaps a length of 1."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import MODEL_MAPPING, PretrainedConfig, PreTrainedModel

# What of the configuration holds `Readout.to_json`.
FIELD = "sentence_encoder"
ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {"identity": lambda values: values, "tanh": torch.tanh}


@dataclass(frozen=True, kw_only=True)
class Readout:
    """How the last layer's output becomes one vector.

    pooling: a name in POOLINGS. dimensions, bias, activation: of a dense layer after it; 0 dimensions for none.
    normalize: whether the vector then gets the length 1. prompts: what is put before a text, by what the text is, such
    as `query`.
    """

    pooling: str
    dimensions: int
    bias: bool
    activation: str
    normalize: bool
    prompts: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain values, for the configuration."""
        return {**vars(self), "prompts": dict(self.prompts)}

    @classmethod
    def of(cls, config: PretrainedConfig) -> Readout:
        """What the configuration says. Raises ValueError where that is no readout."""
        found = getattr(config, FIELD, None)
        try:
            readout = cls(**found)  # type: ignore[arg-type]
        except TypeError:
            raise ValueError(f"{FIELD} is {found!r}, which does not say how a vector is made") from None
        if readout.pooling not in POOLINGS or readout.activation not in ACTIVATIONS:
            raise ValueError(f"{FIELD} names {readout.pooling!r} and {readout.activation!r}; one is not known")
        return readout


def has_readout(config: PretrainedConfig) -> bool:
    """Whether a configuration says how its encoder's output becomes a vector."""
    return getattr(config, FIELD, None) is not None


@dataclass(frozen=True)
class SentenceEncoding:
    """sentence_embedding: (rows, dimensions). last_hidden_state: (rows, positions, width), what it was made of.
    hidden_states: the embeddings' output, then each layer's, where asked for, else None."""

    sentence_embedding: Tensor
    last_hidden_state: Tensor
    hidden_states: tuple[Tensor, ...] | None


class SentenceEncoder(PreTrainedModel):
    """The library's own encoder for a configuration, under the name by which heads keep it, and the readout of its
    `sentence_encoder` field. An encoder's own loader reads the weights, as it reads those under any head."""

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__(config)
        kind = encoder_class(config)
        self.base_model_prefix = kind.base_model_prefix
        # One configuration for both: surgery changes it, and layers read it.
        setattr(self, self.base_model_prefix, kind(config, **without_pooler(kind)))
        self.readout = readout = Readout.of(config)
        width = config.hidden_size
        self.dense = nn.Linear(width, readout.dimensions, bias=readout.bias) if readout.dimensions else None

    # Asked by the constructor, before there is an encoder.
    @property
    def _supports_sdpa(self) -> bool:  # type: ignore[override]
        return bool(encoder_class(self.config)._supports_sdpa)

    @property
    def encoder(self) -> PreTrainedModel:
        """The model under the readout."""
        return getattr(self, self.base_model_prefix)

    @property
    def dimensions(self) -> int:
        """How long a vector is."""
        return self.readout.dimensions or int(self.config.hidden_size)

    def keep_dimensions(self, config: PretrainedConfig) -> None:
        """Let the vectors of a model of `config`, which may be narrower, be as long as this one's, by a dense layer."""
        if not self.readout.dimensions:
            setattr(config, FIELD, {**self.readout.to_json(), "dimensions": self.dimensions})

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, output_hidden_states: bool = False
    ) -> SentenceEncoding:
        """input_ids: (rows, positions). attention_mask: the same, 1 where a position is real; or what an exported graph
        adds to the attention's scores, (rows, 1, 1, positions), 0 there."""
        answer = self.encoder(input_ids, attention_mask=attention_mask, output_hidden_states=output_hidden_states)
        states = answer.last_hidden_state
        real = attention_mask if attention_mask.dim() == 2 else attention_mask[:, 0, 0, :] == 0
        vector = POOLINGS[self.readout.pooling](states, real.to(states.dtype)[:, :, None])
        if self.dense is not None:
            vector = ACTIVATIONS[self.readout.activation](self.dense(vector))
        if self.readout.normalize:
            vector = functional.normalize(vector, dim=-1)
        return SentenceEncoding(vector, states, answer.hidden_states if output_hidden_states else None)

    def get_input_embeddings(self) -> nn.Module:
        """The encoder's."""
        return self.encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """The encoder's."""
        self.encoder.set_input_embeddings(value)

    def get_output_embeddings(self) -> None:
        """None: it writes no tokens."""
        return

    def _init_weights(self, module: nn.Module) -> None:
        self.encoder._init_weights(module)


def encoder_class(config: PretrainedConfig) -> type[PreTrainedModel]:
    """The library's model without a head for this configuration."""
    return cast(type[PreTrainedModel], MODEL_MAPPING[type(config)])


def without_pooler(kind: type[PreTrainedModel]) -> dict[str, bool]:
    """The argument that leaves out a layer on top which no vector is made of, for classes that have one."""
    named = inspect.signature(kind.__init__).parameters
    return {"add_pooling_layer": False} if "add_pooling_layer" in named else {}


def first(states: Tensor, real: Tensor) -> Tensor:
    """The first position. states: (rows, positions, width), real: (rows, positions, 1), 1 or 0; so in all of these."""
    return states[:, 0]


def last(states: Tensor, real: Tensor) -> Tensor:
    """The last real position; padding is at the end."""
    place = real.sum(dim=1, keepdim=True).long() - 1
    return states.gather(1, place.expand(-1, -1, states.shape[2])).squeeze(1)


def mean(states: Tensor, real: Tensor) -> Tensor:
    """The mean of the real positions."""
    return (states * real).sum(dim=1) / real.sum(dim=1).clamp(min=1e-9)


def mean_by_root(states: Tensor, real: Tensor) -> Tensor:
    """Their sum, divided by the root of their number."""
    return (states * real).sum(dim=1) / real.sum(dim=1).clamp(min=1e-9).sqrt()


def weighted_mean(states: Tensor, real: Tensor) -> Tensor:
    """Their mean, weighted by their places from 1 on. Source: Muennighoff 2022, SGPT, section 3."""
    weights = real * torch.arange(1, states.shape[1] + 1, device=states.device, dtype=states.dtype)[None, :, None]
    return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)


def largest(states: Tensor, real: Tensor) -> Tensor:
    """The largest value of each dimension among the real positions."""
    return states.masked_fill(real == 0, torch.finfo(states.dtype).min).amax(dim=1)


# By the names that sentence-transformers gives them.
POOLINGS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cls": first,
    "lasttoken": last,
    "mean": mean,
    "mean_sqrt_len_tokens": mean_by_root,
    "weightedmean": weighted_mean,
    "max": largest,
}
