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
    return {number for numbers in _token_fields(config).values() for number in numbers if 0 <= number < size}


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
            "that reads them can be factorized. Take the stage that does so out of order."
        )


def require_trimmable(model: PreTrainedModel) -> None:
    """Raise InputError for a model that reads no tokens, or that writes them by a head whose rows are not cut."""
    require_tokens(model)
    head = model.get_output_embeddings()
    if head is None:
        return
    if family_of(model.config).decoder is None:
        raise InputError(
            f"the model is a {type(model).__name__}, which also writes tokens; the vocabulary is trimmed of models "
            "that only read them, and of those that go on with a text. Take the stage that does so out of order."
        )
    if type(head) is not nn.Linear:
        raise InputError(
            f"the model's head is a {type(head).__name__}, of which no rows are cut. Trim the vocabulary before the "
            "stage that makes it one."
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
    """Keep these tokens' embeddings (numbers, ascending), and their rows of the head where there is one, in place.
    Token kept[i] becomes token i.

    The configuration follows; a token that it names and that is not kept is named no longer.
    """
    require_trimmable(model)
    words, head = word_embeddings(model), model.get_output_embeddings()
    tied = head is not None and head.weight is words.weight
    place = {old: new for new, old in enumerate(kept)}
    padding = None if words.padding_idx is None else place[words.padding_idx]
    weight = words.weight.detach()[torch.tensor(kept, device=words.weight.device)]
    # In place: some families multiply what they look up, and go on doing so.
    words.weight = nn.Parameter(weight)
    words.num_embeddings, words.padding_idx = len(kept), padding
    if isinstance(head, nn.Linear):
        _keep_rows(head, kept, words.weight if tied else None)
    for name, numbers in _token_fields(model.config).items():
        found = [place[number] for number in numbers if number in place]
        several = isinstance(getattr(model.config, name), list)
        setattr(model.config, name, found if several and found else found[0] if found else None)
    model.config.vocab_size = len(kept)


def _keep_rows(head: nn.Linear, kept: Sequence[int], table: nn.Parameter | None) -> None:
    """table: the weights that the head shares; its own where None."""
    rows = torch.tensor(kept, device=head.weight.device)
    head.weight = nn.Parameter(head.weight.detach()[rows]) if table is None else table
    if head.bias is not None:
        head.bias = nn.Parameter(head.bias.detach()[rows])
    head.out_features = len(kept)


def _token_fields(config: PretrainedConfig) -> dict[str, list[int]]:
    """The fields that name tokens, such as `eos_token_id`, which may name several."""
    values = {name: value for name, value in vars(config).items() if name.endswith("_token_id")}
    found = {name: value if isinstance(value, list) else [value] for name, value in values.items()}
    return {name: numbers for name, numbers in found.items() if numbers and all(type(n) is int for n in numbers)}
