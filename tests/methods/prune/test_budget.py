"""What stays within a budget, on a table made up by hand."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch

from compress.core.context import LayerImportance, ProductImportance
from compress.core.errors import InputError
from compress.core.fact_table import FactTable
from compress.core.latency_table import LatencyTable
from compress.methods.importance.magnitude import Magnitude
from compress.methods.prune.budget import PruneToBudget
from compress.methods.training import gradual
from compress.methods.training.gradual import Gradual
from compress.methods.training.imitation import Imitation
from compress.nn.family import layers_of
from compress.nn.fusion import LayerSizes
from compress.nn.layers import LowRankLinear
from compress.nn.structure import structure_of
from compress.nn.surgery import drop_attention, drop_ffn
from compress.tasks.text_task import SIGNATURE

# A head costs 1, sixteen neurons 1, a layer 2 more for being there; the last layer a tenth of all that. A normalisation
# costs a half.
TABLE = LatencyTable(
    teacher=40.0,
    fixed=1.0,
    attention={0: 0.5, 1: 3.0, 4: 6.0},
    ffn={0: 0.5, 16: 1.0, 64: 4.0},
    last_attention={0: 0.05, 1: 0.3, 4: 0.6},
    last_ffn={0: 0.05, 16: 0.1, 64: 0.4},
)
# At rank 16 of 32 the heads' product saves 2 of 6, each of the FFN's 1 of 4; at 8 as much again.
LOW_RANK = dataclasses.replace(
    TABLE,
    low_rank={
        "attention_output": {4: {8: -4.0, 16: -2.0}},
        "ffn_in": {64: {8: -2.0, 16: -1.0}},
        "ffn_out": {64: {8: -2.0, 16: -1.0}},
    },
)


ACTIVATIONS = {"mpnet": "gelu", "modernbert": "gelu", "deberta-v2": "gelu", "qwen3": "silu"}
ACTIVATIONS |= {"gemma3_text": "gelu_pytorch_tanh"}


class Fixed:
    """Importances given by hand: layer 1 matters twice as much as layer 0, layer 2 hardly at all."""

    compares_layers = True

    def of(self, model: Any, context: Any) -> list[LayerImportance]:
        weights = [1.0, 2.0, 0.01, 1.0]
        return [
            LayerImportance(
                torch.tensor([4.0, 3.0, 2.0, 1.0], dtype=torch.float64)[: layer.heads] * weight,
                torch.full((layer.neurons,), 0.05 * weight, dtype=torch.float64),
                0.0,
            )
            for layer, weight in zip(layers_of(model), weights, strict=False)
        ]


class FixedComponents(Fixed):
    """The same, where half of what a product gives matters, all of it equally but for the FFN's second."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def of_components(self, model: Any, context: Any, factors: Any) -> dict[str, torch.Tensor]:
        self.seen.append(factors)
        worth = {layer.path_of("ffn_out"): 1.0 for layer in layers_of(model)}
        first = torch.arange(32) < 16
        return {path: torch.where(first, 1.0, worth.get(path, 0.0)).double() for path in factors}


@pytest.fixture
def ranked(stage: PruneToBudget) -> PruneToBudget:
    return dataclasses.replace(stage, ranks=True, importance=FixedComponents())


@pytest.fixture
def stage(imitation: Imitation) -> PruneToBudget:
    return PruneToBudget(
        target_speedup=None,
        target_latency_ms=1000.0,
        kept_importance=None,
        margin=0.0,
        importance=Fixed(),
        blocks=False,
        uniform=False,
        ranks=False,
        calibration_examples=8,
        neuron_multiple=16,
        recovery_epochs=0,
        gradual=Gradual(cuts=1, between=0.5),
        imitation=imitation,
    )


def sizes(model: Any) -> list[tuple[int, int]]:
    return [(layer.heads, layer.neurons) for layer in layers_of(model)]


def applied(stage: PruneToBudget, make_model: Callable, make_context: Callable) -> Any:
    teacher = make_model()
    return stage.apply(copy.deepcopy(teacher), make_context(teacher, latency=lambda _: TABLE))


def test_with_time_for_everything_nothing_is_cut(stage, make_model, make_context) -> None:
    assert sizes(applied(stage, make_model, make_context)) == [(4, 64)] * 4


def test_a_layer_that_hardly_matters_goes_first(stage, make_model, make_context, notes, tables) -> None:
    # Whole: 1 + 3 x 10 + 1 = 32. Without layer 2: 22.
    found = applied(dataclasses.replace(stage, target_latency_ms=22.0), make_model, make_context)
    assert sizes(found) == [(4, 64)] * 3
    assert [row[1] for row in tables[-1].rows] == [0, 1, 3]
    assert any("predicted: 22.000 ms" in note and "1.8 times" in note for note in notes)


def test_what_is_predicted_is_told_as_a_number(stage, make_model, make_context) -> None:
    teacher, predicted = make_model(), []
    context = make_context(teacher, latency=lambda _: TABLE, predict=predicted.append)
    dataclasses.replace(stage, target_latency_ms=22.0).apply(copy.deepcopy(teacher), context)
    assert predicted == [pytest.approx(TABLE.teacher / 22.0)]


def test_heads_and_neurons_compete(stage, make_model, make_context) -> None:
    # 12 for everything: 1 fixed, 1 for the whole last layer, 10 for the whole of layer 1, and then nothing is left.
    found = applied(dataclasses.replace(stage, target_latency_ms=12.0), make_model, make_context)
    assert sizes(found) == [(4, 64), (4, 64)]
    # With 4 less, layer 1 loses what gives least for its time: neurons at 0.1 each, 1.6 for a unit of time, against
    # heads at 8, 6, 4 and 2.
    found = applied(dataclasses.replace(stage, target_latency_ms=9.0), make_model, make_context)
    assert sizes(found) == [(4, 16), (4, 64)]


def test_the_speedup_is_against_the_teacher_with_a_margin(stage, make_model, make_context) -> None:
    # 40 / 2 = 20 ms; a tenth less is 18.
    asked = dataclasses.replace(stage, target_latency_ms=None, target_speedup=2.0, margin=0.1)
    given = dataclasses.replace(stage, target_latency_ms=18.0)
    assert sizes(applied(asked, make_model, make_context)) == sizes(applied(given, make_model, make_context))


def test_kept_importance_takes_the_least_time(stage, make_model, make_context) -> None:
    # Layer 2 holds 0.13 of 4.01 x 13.2 in all.
    asked = dataclasses.replace(stage, target_latency_ms=None, kept_importance=0.99)
    assert sizes(applied(asked, make_model, make_context)) == [(4, 64)] * 3


def test_cutting_in_several_steps_ends_at_the_same_budget(stage, make_model, make_context) -> None:
    at_once = dataclasses.replace(stage, target_latency_ms=12.0)
    steps = dataclasses.replace(at_once, gradual=Gradual(cuts=3, between=0.5))
    # All cuts are made at once where nothing recovers between them.
    assert sizes(applied(steps, make_model, make_context)) == sizes(applied(at_once, make_model, make_context))


def test_a_budget_below_what_cannot_be_cut_is_refused(stage, make_model, make_context) -> None:
    asked = dataclasses.replace(stage, target_latency_ms=None, target_speedup=100.0)
    with pytest.raises(InputError, match=r"target_speedup is 100\.0, a budget of 0\.400 ms here; .* take 1\.400 ms"):
        applied(asked, make_model, make_context)


@pytest.mark.parametrize(
    ("asked", "told", "name", "advised"),
    [
        # 40 / 1.4 = 28.57 times, and 28.6 would be refused again.
        ({"target_latency_ms": None, "target_speedup": 100.0}, "28.5 times or less", "target_speedup", 28.5),
        ({"target_latency_ms": 1.0}, "1.401 ms or more", "target_latency_ms", 1.401),
        # 1.4 / 0.95 = 1.4737 ms, of which a twentieth is kept back.
        ({"target_latency_ms": 1.0, "margin": 0.05}, "1.474 ms or more", "target_latency_ms", 1.474),
    ],
)
def test_what_is_advised_instead_can_be_had(
    stage, make_model, make_context, asked: dict[str, Any], told: str, name: str, advised: float
) -> None:
    refused = dataclasses.replace(stage, **asked)
    with pytest.raises(InputError, match=f"Ask for {told}"):
        applied(refused, make_model, make_context)
    assert sizes(applied(dataclasses.replace(refused, **{name: advised}), make_model, make_context))


def test_blocks_compete_too(stage, make_model, make_context, notes: list[str], tables: list[FactTable]) -> None:
    # Of 8.5, 1 is fixed and 1 for the last layer. For 6.5 layer 1 keeps its heads, worth 20, and a normalisation; three
    # heads and sixteen neurons would be worth 18 + 1.6 for 6.
    asked = dataclasses.replace(stage, target_latency_ms=8.5, blocks=True)
    assert sizes(applied(asked, make_model, make_context)) == [(4, 0), (4, 64)]
    # 33.2 of 52.932.
    assert "kept 62.7% of all importance in 8.500 ms; all of it takes 32.000 ms" in notes
    why, left = tables
    # 20 and 6.4 of 52.932 are the heads and the neurons of layer 1.
    assert why.rows[1] == (
        1,
        4,
        4,
        pytest.approx(20 / 52.932),
        pytest.approx(20 / 52.932),
        0,
        64,
        0.0,
        pytest.approx(6.4 / 52.932),
        6.5,
        10.0,
        "",
    )
    assert left.rows == ((0, 1, 4, 0, ""), (1, 3, 4, 64, ""))
    assert any(note.startswith("predicted: 8.500 ms") for note in notes)


def test_what_no_cut_reaches_is_refused_with_nothing_but_the_table(stage, make_model) -> None:
    # The embeddings and the head take 1, one head 0.3, and 0.1 for sixteen neurons or 0.05 for none.
    seen: list[Any] = []

    def latency(sizes: Any) -> LatencyTable:
        seen.append(sizes)
        return TABLE

    reachable = dataclasses.replace(stage, target_latency_ms=1.36)
    dataclasses.replace(reachable, blocks=True).check_latency(make_model(), latency)
    with pytest.raises(InputError, match=r"target_latency_ms is 1\.36, .* take 1\.400 ms"):
        reachable.check_latency(make_model(), latency)
    assert [(size.heads, size.neurons) for size in seen] == [(4, 64)] * 2
    dataclasses.replace(stage, target_latency_ms=None, kept_importance=0.1).check_latency(make_model(), latency)


def test_where_the_first_layer_must_stay_two_are_the_least(stage: PruneToBudget, make_model: Callable) -> None:
    # A head and sixteen neurons take 3 + 1, the last layer a tenth of that, and 1 is fixed.
    asked = dataclasses.replace(stage, target_speedup=None, target_latency_ms=4.0, margin=0.0)
    asked.check_latency(make_model("mpnet"), lambda _: TABLE)
    with pytest.raises(InputError, match=r"target_latency_ms is 4.0, .* take 5\.400 ms"):
        asked.check_latency(make_model("modernbert"), lambda _: TABLE)
    asked.check_latency(make_model("modernbert", layers=1), lambda _: TABLE)


def test_ranks_need_a_fused_form(ranked: PruneToBudget, make_model: Callable) -> None:
    message = (
        r"stages.prune.ranks needs layers that can be fused, and those of a mpnet model have no .* Set ranks=false"
    )
    with pytest.raises(InputError, match=message):
        ranked.check(make_model("mpnet"))
    dataclasses.replace(ranked, ranks=False).check(make_model("mpnet"))


@pytest.mark.parametrize("model_type", ["mpnet", "modernbert", "deberta-v2", "qwen3", "gemma3_text"])
def test_layers_without_a_fused_form_are_cut_to_a_budget(
    model_type: str, stage: PruneToBudget, make_model: Callable, make_context: Callable
) -> None:
    model, seen = make_model(model_type), []
    asked = dataclasses.replace(stage, importance=Magnitude(), target_speedup=None, target_latency_ms=14.0, margin=0.0)
    asked.check(model)
    table = dataclasses.replace(TABLE, last_attention={}, last_ffn={})
    found = asked.apply(model, make_context(make_model(model_type), latency=lambda asked: seen.append(asked) or table))
    assert seen == [LayerSizes(layers_of(make_model(model_type))[0].heads, 64, ACTIVATIONS[model_type])]
    assert table.predict(sizes(found)) <= 14.0 < table.predict(sizes(make_model(model_type)))


def test_a_model_without_some_blocks_is_cut_again(plain_type, stage, make_model, make_context) -> None:
    model = make_model(plain_type)
    drop_attention(model, layers_of(model)[3])
    drop_ffn(model, layers_of(model)[0])
    asked = dataclasses.replace(stage, target_latency_ms=8.0, blocks=True)
    found = asked.apply(copy.deepcopy(model), make_context(make_model(plain_type), latency=lambda _: TABLE))
    assert all(heads or neurons for heads, neurons in sizes(found))
    assert TABLE.predict(sizes(found)) <= 8.0


def test_layers_of_one_size(stage, make_model, make_context, notes: list[str], tables: list[FactTable]) -> None:
    # 1 is fixed, and the last layer takes a tenth. Two whole layers, 11, keep 13.2 x (2 + 1). With four heads and 32
    # neurons a layer takes 8, three of them 16.8, and they keep 11.6 x (1 + 2 + 1): more.
    asked = dataclasses.replace(stage, target_latency_ms=18.0, uniform=True)
    found = applied(asked, make_model, make_context)
    assert sizes(found) == [(4, 32)] * 3
    assert structure_of(found).is_plain and found.config.intermediate_size == 32
    assert [row[1] for row in tables[-1].rows] == [0, 1, 3]
    # 46.4 of 52.932 in 1 + 2.1 x 8.
    assert any("kept 87.7% of all importance in 17.800 ms" in note for note in notes)


def test_configurations_that_cannot_say_fewer_heads_keep_them(stage, make_model, make_context) -> None:
    # Two layers of four heads take 1.1 x 7 at least, more than the 5.6 that are left; with one head they would fit.
    asked = dataclasses.replace(stage, target_latency_ms=6.6, uniform=True)
    assert sizes(applied(asked, make_model, make_context)) == [(4, 64)]


@pytest.mark.parametrize("budget", [14.0, 20.0])
def test_the_configuration_says_what_layers_of_one_size_keep(
    stage: PruneToBudget, make_model: Callable, make_context: Callable, budget: float
) -> None:
    table = dataclasses.replace(TABLE, last_attention={}, last_ffn={})
    asked = dataclasses.replace(stage, importance=Magnitude(), target_latency_ms=budget, uniform=True)
    found = asked.apply(make_model("qwen3"), make_context(make_model("qwen3"), latency=lambda _: table))
    assert structure_of(found).is_plain
    (queries,) = {layer.query_heads for layer in layers_of(found)}
    assert found.config.num_attention_heads == queries
    assert found.config.num_hidden_layers == len(layers_of(found))


@pytest.mark.parametrize("lost", [drop_attention, drop_ffn])
def test_what_is_uneven_already_is_refused(stage: PruneToBudget, make_model: Callable, lost: Callable) -> None:
    model = make_model("qwen3")
    lost(model, layers_of(model)[1])
    with pytest.raises(InputError, match=r"uniform is true, and layer 1 has lost its \w+, so layers of one size"):
        dataclasses.replace(stage, uniform=True).check(model)


def low_ranks(model: Any) -> list[dict[str, int]]:
    names = ("query", "key", "value", "attention_output", "ffn_in", "ffn_out")
    parts = [{name: layer.part(name) for name in names} for layer in layers_of(model)]
    return [{name: part.rank for name, part in layer.items() if isinstance(part, LowRankLinear)} for layer in parts]


def test_ranks_compete_too(first_token_type, ranked, make_model, make_context, notes, tables) -> None:
    teacher = make_model(first_token_type)
    asked: list[Any] = []

    def latency(sizes: Any, **given: Any) -> LatencyTable:
        asked.append(given)
        return LOW_RANK

    # Whole 32. At half of their ranks the heads' products and the FFN's first save 2 and 1 for nothing in each layer
    # but the last, 9 in all.
    context = make_context(teacher, latency=latency)
    found = dataclasses.replace(ranked, target_latency_ms=23.0).apply(copy.deepcopy(teacher), context)
    assert asked == [{"low_rank": True}]
    assert sizes(found) == [(4, 64)] * 4
    assert low_ranks(found) == [{"attention_output": 16, "ffn_in": 16}] * 3 + [{}]
    assert structure_of(found).kinds() == {"low_rank"}
    # What matters is known of every product that may be thin: three in each of three layers, each in its components.
    (factors,) = ranked.importance.seen
    assert len(factors) == 9
    for path, (up, down) in factors.items():
        outputs, inputs = teacher.get_submodule(path).weight.shape
        assert (up.shape, down.shape) == ((outputs, 32), (32, inputs))
    assert "kept 100.0% of all importance in 23.000 ms; all of it takes 32.000 ms" in notes
    why, left = tables
    assert str(why.rows[0][-1]).startswith(
        "attention_output of rank 16: 2.000 ms less for 0.0% of all importance; ffn_in"
    )
    assert left.rows[0] == (0, 0, 4, 64, "attention_output 16, ffn_in 16")
    assert any(note.startswith("predicted: 23.000 ms") for note in notes)


def test_two_thin_products_are_the_best_on_what_they_are_given(ranked, make_model, make_context) -> None:
    teacher = make_model(layers=2)
    half = make_low_rank(teacher, ("attention_output", "ffn_in", "ffn_out"), 16)
    context = make_context(teacher, latency=lambda *_, **__: LOW_RANK)
    # Whole 12: the budget asks for the two that lose nothing.
    found = dataclasses.replace(ranked, target_latency_ms=9.0).apply(copy.deepcopy(half), context)
    assert low_ranks(found) == [{"attention_output": 16, "ffn_in": 16}, {}]
    batch = context.collate(list(context.train))
    inputs = {name: batch[name] for name in SIGNATURE.names}
    with torch.no_grad():
        torch.testing.assert_close(found(**inputs).logits, half(**inputs).logits, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def make_low_rank(model: Any, parts: tuple[str, ...], rank: int) -> Any:
    """The model with products in its first layer that have no higher rank."""
    for name in parts:
        weight = layers_of(model)[0].part(name).weight
        left, singular, right = torch.linalg.svd(weight, full_matrices=False)
        weight.copy_(left[:, :rank] * singular[:rank] @ right[:rank])
    return model


def test_ranks_come_with_the_last_cut(ranked, make_model, make_context, monkeypatch) -> None:
    trained: list[list[dict[str, int]]] = []
    monkeypatch.setattr(gradual, "imitate", lambda model, *_, **__: trained.append(low_ranks(model)))
    teacher = make_model()
    stage = dataclasses.replace(ranked, target_latency_ms=23.0, recovery_epochs=1, gradual=Gradual(cuts=2, between=0.5))
    stage.apply(copy.deepcopy(teacher), make_context(teacher, latency=lambda *_, **__: LOW_RANK))
    assert [any(ranks) for ranks in trained] == [False, True]


def test_a_criterion_that_cannot_say_what_a_rank_loses_is_refused(stage) -> None:
    with pytest.raises(InputError, match=r"ranks is true and importance is Fixed, which cannot say .*ranks=false"):
        dataclasses.replace(stage, ranks=True)


def test_it_says_what_ranks_leave_and_read(stage, ranked) -> None:
    assert (stage.leaves, stage.unread) == (frozenset(), {"calibration_examples"})
    assert (ranked.leaves, ranked.unread) == ({"low_rank"}, frozenset())
    assert ranked.refuses.keys() - stage.refuses.keys() == {"sparse"}


def test_shares_of_a_layer_are_taken_of_its_components_too(ranked) -> None:
    values = torch.tensor([2.0, 1.0], dtype=torch.float64)
    products = {name: ProductImportance(values, 2, 1) for name in ("attention_output", "ffn_out")}
    ranked.importance.compares_layers = False
    # 4 in heads, 8 in neurons.
    (found,) = ranked._comparable([LayerImportance(2 * values[:1], 4 * values[:1], 0.0, products)])
    assert found.products["attention_output"].components.tolist() == [0.5, 0.25]
    assert found.products["ffn_out"].components.tolist() == [0.25, 0.125]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ranks": "yes"}, "ranks is 'yes'; it must be true or false"),
        ({"calibration_examples": 0}, "calibration_examples is 0"),
        ({"target_speedup": 3.0}, "has target_speedup and target_latency_ms set"),
        ({"target_latency_ms": 0}, "target_latency_ms is 0"),
        ({"target_latency_ms": None, "kept_importance": 1.5}, "kept_importance is 1.5"),
        ({"margin": 1}, "margin is 1"),
        ({"blocks": 1}, "blocks is 1; it must be true or false"),
        ({"uniform": "yes"}, "uniform is 'yes'; it must be true or false"),
        ({"uniform": True, "blocks": True}, r"uniform is true and stages\.prune\.blocks too, .*blocks=false"),
        ({"neuron_multiple": 0}, "neuron_multiple is 0"),
        ({"importance": "fisher"}, "importance is 'fisher'"),
    ],
)
def test_settings_that_cannot_be(stage: PruneToBudget, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(stage, **changes)


def test_something_must_say_how_much_stays(stage: PruneToBudget, make_model: Callable) -> None:
    with pytest.raises(InputError, match="has none of target_speedup, target_latency_ms, kept_importance set"):
        dataclasses.replace(stage, target_latency_ms=None).check(make_model())
