"""Tokens as a model knows them: the rows of its word embeddings, and the numbers in its configuration."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from compress.core.errors import InputError
from compress.nn.family import family_of
from compress.nn.layers import LowRankEmbedding
from compress.nn.structure import replace_module


def named_tokens(config: PretrainedConfig, size: int) -> set[int]:
    """The numbers below `size` that the configuration names: `pad_token_id` and its like."""
    return {number for number in _token_fields(config).values() if 0 <= number < size}


def reads_tokens(model: PreTrainedModel) -> bool:
    """Whether there are word embeddings: a model of images has none."""
    return family_of(model.config).words is not None


def require_tokens(model: PreTrainedModel) -> None:
    """Raise InputError for a model that reads no tokens."""
    if not reads_tokens(model):
        raise InputError(
            f"the model is a {type(model).__name__}, which reads no tokens and has no word embeddings. Take the stage "
            "that trims or factorizes them out of order."
        )


def require_only_read(model: PreTrainedModel) -> None:
    """Raise InputError for a model that reads no tokens, or whose embeddings are not only looked up."""
    require_tokens(model)
    if model.get_output_embeddings() is not None:
        raise InputError(
            f"the model is a {type(model).__name__}, which also writes tokens; only the word embeddings of a model "
            "that reads them can be trimmed or factorized. Take the stage that does so out of order."
        )


def word_embeddings(model: PreTrainedModel) -> nn.Embedding:
    """The table with a row for each token; the narrow one where the embeddings were factorized. Raises InputError for
    a model that reads no tokens."""
    require_tokens(model)
    words = model.get_input_embeddings()
    table = words.table if isinstance(words, LowRankEmbedding) else words
    assert isinstance(table, nn.Embedding)
    return table


def factorize_word_embeddings(model: PreTrainedModel, table: Tensor, up: Tensor) -> None:
    """Put a table (tokens, rank) and a product (width, rank) in the place of the word embeddings, in place."""
    require_tokens(model)
    path = f"{model.base_model_prefix}.{family_of(model.config).words}"
    replace_module(model, path, LowRankEmbedding.of(table, up))


def keep_tokens(model: PreTrainedModel, kept: Sequence[int]) -> None:
    """Keep these tokens' embeddings (numbers, ascending), in place. Token kept[i] becomes token i.

    The configuration follows; a token that it names and that is not kept is named no longer.
    """
    words = word_embeddings(model)
    place = {old: new for new, old in enumerate(kept)}
    padding = None if words.padding_idx is None else place[words.padding_idx]
    weight = words.weight.detach()[torch.tensor(kept, device=words.weight.device)]
    # In place: some families multiply what they look up, and go on doing so.
    words.weight = nn.Parameter(weight)
    words.num_embeddings, words.padding_idx = len(kept), padding
    for name, number in _token_fields(model.config).items():
        setattr(model.config, name, place.get(number))
    model.config.vocab_size = len(kept)


def _token_fields(config: PretrainedConfig) -> dict[str, int]:
    values = {name: value for name, value in vars(config).items() if name.endswith("_token_id")}
    return {name: value for name, value in values.items() if isinstance(value, int)}
