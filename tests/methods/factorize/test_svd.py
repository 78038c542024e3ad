"""Which layers are factorized, to what rank, and what is said about the others."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from compress.core.errors import InputError
from compress.core.fact_table import FactTable
from compress.methods.factorize import svd
from compress.methods.factorize.svd import FactorizeSvd
from compress.methods.training.imitation import Imitation
from compress.nn.family import layers_of
from compress.nn.layers import LowRankLinear
from compress.nn.structure import structure_of
from compress.tasks.text_task import SIGNATURE

FFN_IN = "bert.encoder.layer.0.intermediate.dense"
QUERY = "bert.encoder.layer.0.attention.self.query"


@pytest.fixture
def stage(imitation: Imitation) -> FactorizeSvd:
    """By a share of values; tests change what they are about."""
    return FactorizeSvd(
        kept_energy=None,
        ratio=0.5,
        rank=None,
        rank_multiple=1,
        min_saving=0.0,
        one_token_products=True,
        calibration_examples=24,
        recovery_epochs=0,
        imitation=imitation,
    )


def ranks(model: nn.Module) -> dict[str, int]:
    return {path: m.rank for path, m in model.named_modules() if isinstance(m, LowRankLinear)}


def test_by_ratio(
    stage: FactorizeSvd,
    plain_type: str,
    make_model: Callable,
    make_context: Callable,
    notes: list[str],
    tables: list[FactTable],
) -> None:
    model = make_model(plain_type, layers=1)
    found = stage.apply(model, make_context(make_model(plain_type)))
    layer = layers_of(found)[0]
    # 32 x 32: 512 values in two factors of 64 a rank; 64 x 32: 1024 in two of 96, rounded down.
    attention = [layer.path_of(part) for part in ("query", "key", "value", "attention_output")]
    ffn = [layer.path_of(part) for part in ("ffn_in", "ffn_out")]
    assert ranks(found) == dict.fromkeys(attention, 8) | dict.fromkeys(ffn, 10)
    assert notes == ["6 of 6 dense layers became two thin products: what saves 0% at least"]
    # 10 of 96 values of 2,048.
    assert tables[0].rows == (
        *((path, 8, 32, 0.5, "is two products") for path in attention),
        *((path, 10, 32, 0.53125, "is two products") for path in ffn),
    )
    assert structure_of(found).kinds() == {"low_rank"}


def test_by_rank(stage: FactorizeSvd, make_model: Callable, make_context: Callable) -> None:
    model = make_model(layers=2)
    found = dataclasses.replace(stage, ratio=None, rank=4).apply(model, make_context(model))
    assert len(ranks(found)) == 12
    assert set(ranks(found).values()) == {4}


@torch.no_grad()
def make_low_rank(module: nn.Linear, rank: int) -> None:
    generator = torch.Generator().manual_seed(0)
    outputs, inputs = module.weight.shape
    left, right = (torch.randn(*shape, generator=generator) for shape in ((outputs, rank), (rank, inputs)))
    module.weight.copy_(0.01 * left @ right)


def test_by_energy_only_where_there_is_something_to_save(
    stage: FactorizeSvd, make_model: Callable, make_context: Callable, tables: list[FactTable]
) -> None:
    model = make_model(layers=1)
    make_low_rank(model.get_submodule(QUERY), 3)
    teacher = copy.deepcopy(model)
    context = make_context(teacher)
    stage = dataclasses.replace(stage, ratio=None, kept_energy=0.999999, min_saving=0.25)
    found = stage.apply(model, context)
    assert ranks(found) == {QUERY: 3}
    # 3 * 64 of 1024.
    first, *others = tables[0].rows
    assert first == (QUERY, 3, 32, 1 - 192 / 1024, "is two products")
    assert [row[-1] for row in others] == ["stays whole"] * 5
    assert others[-1][0] == "bert.encoder.layer.0.output.dense"
    # Nothing that the inputs use was lost, and the bias is there.
    assert torch.equal(found.get_submodule(QUERY).up.bias, teacher.get_submodule(QUERY).bias)
    batch = context.collate(list(context.train))
    inputs = {name: batch[name] for name in SIGNATURE.names}
    with torch.no_grad():
        torch.testing.assert_close(found(**inputs).logits, teacher(**inputs).logits, rtol=1e-4, atol=1e-5)


def test_the_rank_is_what_the_inputs_use(stage: FactorizeSvd, make_model: Callable, make_context: Callable) -> None:
    """A full matrix that only ever sees one direction needs rank one."""
    model = make_model(layers=1)
    # Every neuron is then GELU of its bias, whatever the input: the second FFN matrix always sees the same vector.
    with torch.no_grad():
        model.get_submodule(FFN_IN).weight.zero_()
        model.get_submodule(FFN_IN).bias.copy_(torch.linspace(-1, 1, 64))
    context = make_context(copy.deepcopy(model))
    found = dataclasses.replace(stage, ratio=None, kept_energy=0.999999).apply(model, context)
    assert ranks(found)["bert.encoder.layer.0.output.dense"] == 1


def test_ranks_are_rounded_up_to_blocks(
    stage: FactorizeSvd, make_model: Callable, make_context: Callable, tables: list[FactTable]
) -> None:
    model = make_model(layers=1)
    found = dataclasses.replace(stage, rank_multiple=16).apply(model, make_context(model))
    # 8 becomes 16, at which 32 x 32 saves nothing; 10 becomes 16, at which 64 x 32 saves a quarter.
    assert ranks(found) == {FFN_IN: 16, "bert.encoder.layer.0.output.dense": 16}
    assert tables[0].rows[0] == (QUERY, 16, 32, 0.0, "stays whole")
    assert tables[0].rows[-1] == ("bert.encoder.layer.0.output.dense", 16, 32, 0.25, "is two products")


def test_least_saving(stage: FactorizeSvd, make_model: Callable, make_context: Callable) -> None:
    model = make_model(layers=1)
    found = dataclasses.replace(stage, min_saving=0.51).apply(model, make_context(model))
    assert set(ranks(found).values()) == {10}
    assert len(ranks(found)) == 2


def test_where_nothing_is_factorized_nothing_is_trained(
    stage: FactorizeSvd, make_model: Callable, make_context: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(svd, "imitate", None)
    model = make_model()
    found = dataclasses.replace(stage, min_saving=0.9, recovery_epochs=2).apply(model, make_context(model))
    assert structure_of(found).is_plain


def test_recovery_keeps_the_factors(stage: FactorizeSvd, make_model: Callable, make_context: Callable) -> None:
    model = make_model(layers=2)
    context = make_context(copy.deepcopy(model))
    plain = stage.apply(copy.deepcopy(model), context)
    found = dataclasses.replace(stage, recovery_epochs=1).apply(model, context)
    assert ranks(found) == ranks(plain)
    assert not torch.equal(found.get_submodule(QUERY).up.weight, plain.get_submodule(QUERY).up.weight)
    assert not found.training


def test_check_refuses_a_rank_at_which_everything_grows(
    stage: FactorizeSvd, make_model: Callable, make_context: Callable
) -> None:
    # 64 * 32 // 96
    dataclasses.replace(stage, ratio=None, rank=21).check(make_model())
    with pytest.raises(InputError, match=r"rank is 22; above 21 every layer of this model would grow"):
        dataclasses.replace(stage, ratio=None, rank=22).check(make_model())
    factorized = stage.apply(make_model(), make_context(make_model()))
    with pytest.raises(InputError, match=r"rank is 4; above 0 every layer"):
        dataclasses.replace(stage, ratio=None, rank=4).check(factorized)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ratio": None}, r"has none of kept_energy, ratio, rank set; exactly one decides"),
        ({"rank": 4}, r"has ratio and rank set; exactly one decides"),
        ({"ratio": 1.5}, r"stages.factorize.ratio is 1.5; it must lie in \(0, 1\]"),
        ({"ratio": None, "kept_energy": 0}, r"stages.factorize.kept_energy is 0"),
        ({"ratio": None, "rank": 0}, r"stages.factorize.rank is 0"),
        ({"rank_multiple": 0}, r"stages.factorize.rank_multiple is 0"),
        ({"min_saving": -0.1}, r"stages.factorize.min_saving is -0.1"),
        ({"calibration_examples": 0}, r"stages.factorize.calibration_examples is 0"),
        ({"recovery_epochs": -1}, r"stages.factorize.recovery_epochs is -1"),
    ],
)
def test_settings_are_checked_when_built(change: dict[str, Any], message: str, stage: FactorizeSvd) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(stage, **change)


def test_what_is_computed_for_one_token_stays_whole(
    stage: FactorizeSvd, make_model: Callable, make_context: Callable, notes: list[str]
) -> None:
    model = make_model(layers=2)
    found = dataclasses.replace(stage, one_token_products=False).apply(model, make_context(model))
    last = "bert.encoder.layer.1"
    assert {path for path in ranks(found) if path.startswith(last)} == {
        f"{last}.attention.self.key",
        f"{last}.attention.self.value",
    }
    assert len(ranks(found)) == 6 + 2
    assert f"{last}: left whole but for keys and values, its first token alone is read" in notes


def test_without_a_fused_form_the_last_layer_computes_every_token(
    stage: FactorizeSvd, make_model: Callable, make_context: Callable
) -> None:
    model = make_model("mpnet", layers=2)
    found = dataclasses.replace(stage, one_token_products=False).apply(model, make_context(model))
    assert len(ranks(found)) == 6 + 6
