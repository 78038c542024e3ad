"""Heads that share keys and values: which may leave, with what, and that nothing else of the answer changes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from compress.core.errors import InputError
from compress.methods.importance.magnitude import Magnitude
from compress.nn.checkpoint import load_model, save_model, settle
from compress.nn.family import family_of, known_families, layers_of
from compress.nn.head import positions_read
from compress.nn.structure import structure_of
from compress.nn.surgery import keep_heads, narrow, tell_heads
from compress.tasks.text import require_findable_padding
from compress.tasks.text_task import SIGNATURE


@pytest.fixture(params=sorted(name for name, family in known_families().items() if family.sharing_field is not None))
def sharing_type(request: pytest.FixtureRequest) -> str:
    """Every family whose heads may share keys and values."""
    return str(request.param)


def small(model_type: str, *, heads: int, shared: int, head_size: int = 8) -> PreTrainedModel:
    """Two layers of width 32, random; the heads of 8, or of `head_size` where the family lets that be chosen."""
    family = family_of(AutoConfig.for_model(model_type))
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 34, "pad_token_id": 0}
    sizes |= {"num_attention_heads": heads, "num_key_value_heads": shared}
    if family.head_size_field is not None:
        sizes[family.head_size_field] = head_size
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(AutoConfig.for_model(model_type, **sizes)).eval()
    with torch.no_grad():
        for layer in layers_of(model):
            for part in layer.parts:
                layer.part(part).weight.mul_(8)
    return model


@torch.no_grad()
def logits(model: PreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
    return model(**batch).logits


@pytest.fixture
def words() -> dict[str, Tensor]:
    """Three rows of 9, 5 and 2 tokens."""
    mask = (torch.arange(9) < torch.tensor([9, 5, 2])[:, None]).long()
    ids = torch.randint(4, 34, (3, 9), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids * mask, "attention_mask": mask}


# heads of the queries, keys and values; what can leave one by one, and how wide it is; what stays of it; then the
# heads and the keys that are left, and the columns of the output projection that are gone.
CASES = [
    (4, 2, 2, 16, [1], (2, 1), range(16)),
    (4, 4, 4, 8, [0, 2], (2, 2), [*range(8, 16), *range(24, 32)]),
    (4, 1, 4, 8, [0, 1, 3], (3, 1), range(16, 24)),
]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize(("heads", "shared", "units", "width", "kept", "left", "gone"), CASES)
def test_what_leaves_and_what_stays(
    sharing_type, attention, heads, shared, units, width, kept, left, gone, words, tmp_path: Path
) -> None:
    model = small(sharing_type, heads=heads, shared=shared)
    model.set_attn_implementation(attention)
    layer = layers_of(model)[0]
    assert (layer.heads, layer.head_width, layer.query_heads) == (units, width, heads)
    silenced = copy.deepcopy(model)
    with torch.no_grad():
        layers_of(silenced)[0].part("attention_output").weight[:, list(gone)] = 0
    before = logits(model, words)
    keep_heads(model, layer, torch.tensor(kept))
    assert (layer.heads, layer.query_heads) == (len(kept), left[0])
    assert tuple(layer.weight("query").shape) == (left[0] * 8, 32)
    assert tuple(layer.weight("key").shape) == tuple(layer.weight("value").shape) == (left[1] * 8, 32)
    assert layer.part("attention").num_key_value_groups == left[0] // left[1]
    torch.testing.assert_close(logits(model, words), logits(silenced, words), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(logits(model, words), before, rtol=1e-3, atol=1e-4)
    save_model(settle(model), tmp_path)
    again = load_model(tmp_path)
    again.set_attn_implementation(attention)
    assert structure_of(again) == structure_of(model)
    assert torch.equal(logits(again, words), logits(model, words))


@pytest.mark.parametrize(("heads", "shared", "units", "width", "kept", "left", "gone"), CASES)
def test_the_configuration_is_told_of_heads_that_all_layers_have(
    sharing_type, heads, shared, units, width, kept, left, gone, words
) -> None:
    model = small(sharing_type, heads=heads, shared=shared)
    for layer in layers_of(model):
        # Before one is cut, and while the other has more.
        tell_heads(model)
        assert (model.config.num_attention_heads, model.config.num_key_value_heads) == (heads, shared)
        keep_heads(model, layer, torch.tensor(kept))
    cut, tells = logits(model, words), family_of(model.config).tells_heads
    tell_heads(model)
    told = model.config.num_attention_heads, model.config.num_key_value_heads
    assert told == (left if tells else (heads, shared))
    assert structure_of(model).is_plain == tells
    assert [layer.query_heads for layer in layers_of(model)] == [left[0]] * 2
    assert torch.equal(logits(model, words), cut)


def test_heads_wider_than_their_part_of_the_hidden_states(words: dict[str, Tensor], tmp_path: Path) -> None:
    """Four heads of 16 over a width of 32."""
    model = small("llama", heads=4, shared=2, head_size=16)
    layer = layers_of(model)[1]
    assert (layer.heads, layer.head_width) == (2, 32)
    assert layer.ranges("query") == [("heads", 0, 64)]
    assert layer.ranges("value") == [("shared", 0, 32)]
    silenced = copy.deepcopy(model)
    with torch.no_grad():
        layers_of(silenced)[1].part("attention_output").weight[:, 32:] = 0
    keep_heads(model, layer, torch.tensor([0]))
    assert tuple(layer.weight("attention_output").shape) == (32, 32)
    torch.testing.assert_close(logits(model, words), logits(silenced, words), rtol=1e-5, atol=1e-6)
    save_model(settle(model), tmp_path)
    assert torch.equal(logits(load_model(tmp_path), words), logits(model, words))


@torch.no_grad()
def test_weights_that_leave_together_count_together(
    sharing_type: str, make_model: Callable, make_context: Callable
) -> None:
    model = make_model(sharing_type, layers=2)
    layer = layers_of(model)[1]
    for part in layer.parts:
        layer.part(part).weight.zero_()
    # The second key and value, a query of the third head and a column of the fourth: 1 + 4 + 4 + 16.
    layer.part("key").weight[8, 0] = 1
    layer.part("value").weight[15, 0] = 2
    layer.part("query").weight[16, 0] = 2
    layer.part("attention_output").weight[0, 31] = 4
    # sqrt(9 + 16) of the gate and the other product, times 2.
    layer.part("ffn_gate").weight[5, 0] = 3
    layer.part("ffn_in").weight[5, 1] = 4
    layer.part("ffn_out").weight[0, 5] = 2
    found = Magnitude().of(model, make_context(model))[1]
    assert found.heads.tolist() == [0, 5]
    torch.testing.assert_close(found.neurons, 10.0 * (torch.arange(64) == 5).double())


def test_padding_changes_nothing(sharing_type: str, make_model: Callable, words: dict[str, Tensor]) -> None:
    model = make_model(sharing_type)
    assert positions_read(model, SIGNATURE, words) == "last"
    alone = [
        {name: value[row : row + 1, :length] for name, value in words.items()} for row, length in enumerate((9, 5, 2))
    ]
    together = torch.cat([logits(model, row) for row in alone])
    torch.testing.assert_close(logits(model, words), together, rtol=1e-5, atol=1e-6)


def test_another_number_for_padding_is_refused(sharing_type: str, make_model: Callable, tokenizer) -> None:
    config = make_model(sharing_type, layers=1).config
    require_findable_padding(tokenizer, config)
    for number in (None, 1):
        config.pad_token_id = number
        with pytest.raises(InputError, match=rf"pad_token_id={number} .* padding is token 0; a {sharing_type} class"):
            require_findable_padding(tokenizer, config)
    bert = make_model("bert", layers=1).config
    bert.pad_token_id = None
    require_findable_padding(tokenizer, bert)


def test_the_hidden_width_stays(sharing_type: str, make_model: Callable) -> None:
    with pytest.raises(InputError, match=rf"a {sharing_type} model cannot change here, because its heads share keys"):
        narrow(make_model(sharing_type), 16)
