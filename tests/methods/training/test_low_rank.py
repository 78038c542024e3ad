"""Which products may become two thin ones, what is known of them, and the exchange."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from compress.core.context import LayerImportance
from compress.methods.training.calibration import show_examples
from compress.methods.training.low_rank import factorize, ranks_of, with_products
from compress.nn.family import layers_of
from compress.nn.surgery import drop_attention, drop_ffn

NOTHING = torch.zeros(0, dtype=torch.float64)


class ByPlace:
    """A component is worth its place."""

    compares_layers = True

    def of(self, model: Any, context: Any) -> list[LayerImportance]:
        return [LayerImportance(NOTHING, NOTHING, 0.0) for _ in layers_of(model)]

    def of_components(self, model: Any, context: Any, factors: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        return {path: torch.arange(len(down), dtype=torch.float64) for path, (_, down) in factors.items()}


def test_what_is_computed_for_all_tokens_may_be_thin(
    first_token_type: str, make_model: Callable, make_context: Callable
) -> None:
    model, importance = make_model(first_token_type), ByPlace()
    drop_ffn(model, layers_of(model)[0])
    drop_attention(model, layers_of(model)[1])
    drop_attention(model, layers_of(model)[3])
    context = make_context(model)
    found = with_products(model, context, importance.of(model, context), importance, 8)
    # The third layer has the last attention: what it gives, and all after it, is computed for one token.
    assert [list(layer.products) for layer in found] == [["attention_output"], ["ffn_in", "ffn_out"], [], []]
    assert [(product.hidden, product.unit) for layer in found for product in layer.products.values()] == [
        (32, 8),
        (32, 1),
        (32, 1),
    ]
    assert found[0].products["attention_output"].components.tolist() == list(range(32))


def test_one_layer_has_none(make_model: Callable, make_context: Callable) -> None:
    model = make_model(layers=1)
    given = ByPlace().of(model, None)
    # No criterion is asked: there is nothing that it could look at.
    assert with_products(model, make_context(model), given, None, 8) == given  # type: ignore[arg-type]


def test_the_factors_are_the_best_on_what_the_model_is_given(make_model: Callable, make_context: Callable) -> None:
    model, context = make_model(layers=2), make_context(make_model(layers=2))
    layer = layers_of(model)[0]
    path, before = layer.path_of("ffn_out"), layer.part("ffn_out")
    seen: list[torch.Tensor] = []
    show_examples(model, context, {path: before}, 8, lambda _, inputs: seen.append(inputs.double()))
    inputs = torch.cat(seen)
    factorize(model, context, [{"ffn_out": 5}, {}], 8)
    assert ranks_of(model) == [{"ffn_out": 5}, {}]
    after = model.get_submodule(path)
    assert torch.equal(after.up.bias, before.bias)
    weight = before.weight.detach().double()
    lost = (inputs @ (weight - (after.up.weight @ after.down.weight).detach().double()).T).pow(2).sum()
    # Eckart and Young: the rest of what the outputs are made of, and nothing of rank 5 leaves less.
    rest = torch.linalg.svdvals(inputs @ weight.T)[5:].pow(2).sum()
    torch.testing.assert_close(lost, rest, rtol=1e-4, atol=1e-8)


def test_nothing_is_shown_where_all_stays_whole(make_model: Callable) -> None:
    model = make_model(layers=2)
    factorize(model, None, [{}, {}], 8)  # type: ignore[arg-type]
    assert ranks_of(model) == [{}, {}]
