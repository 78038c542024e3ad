"""A fused layer by hand, and against torch's own."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn, tensor

from compress.nn.layers import FusedLayer
from compress.nn.layers.fused_layer import ACTIVATIONS, FusedLayerSizes

SMALL = FusedLayerSizes(
    hidden=2,
    heads=1,
    head_size=2,
    neurons=1,
    activation=ACTIVATIONS.index("relu"),
    epsilon_exponent=12,
    first_token=0,
    separate=0,
)
# As wide as torch's layer below.
WIDE = dataclasses.replace(
    SMALL, hidden=16, heads=4, head_size=4, neurons=24, activation=ACTIVATIONS.index("gelu"), epsilon_exponent=5
)


def filled(sizes: FusedLayerSizes, **values: list) -> FusedLayer:
    """A layer of zeros, but for norms and these weights and biases."""
    layer = FusedLayer(sizes).eval()
    with torch.no_grad():
        for name, value in layer.named_parameters():
            value.fill_(float(name.endswith("norm.weight")))
        for name, given in values.items():
            layer.get_parameter(name.replace("__", ".")).copy_(tensor(given))
    return layer


@pytest.fixture
def by_hand() -> FusedLayer:
    """Queries and keys are 0, so that all tokens are attended alike; values are the input. One neuron reads the first
    position and adds three times what it lets through to the second."""
    return filled(
        SMALL,
        query_key_value__weight=[[0.0, 0.0]] * 4 + [[1.0, 0.0], [0.0, 1.0]],
        attention_output__weight=[[1.0, 0.0], [0.0, 1.0]],
        ffn_in__weight=[[1.0, 0.0]],
        ffn_out__weight=[[0.0], [3.0]],
    )


STATES = tensor([[[1.0, 3.0], [5.0, 1.0]]])


def test_attention_by_hand(by_hand: FusedLayer) -> None:
    # The mean of the values is [3, 2]. Added: [4, 5] and [8, 3], which norm to [-1, 1] and [1, -1].
    torch.testing.assert_close(by_hand.attend(STATES, None), tensor([[[-1.0, 1.0], [1.0, -1.0]]]))
    # From the first token alone: [1, 3] + [1, 3] and [1, 3] + [5, 1] = [6, 4].
    expected = tensor([[[-1.0, 1.0], [1.0, -1.0]]])
    torch.testing.assert_close(by_hand.attend(STATES, tensor([[[[True, False]]]])), expected)
    # From the second alone: [5, 1] + [1, 3] = [6, 4], and [5, 1] + [5, 1].
    expected = tensor([[[1.0, -1.0], [1.0, -1.0]]])
    torch.testing.assert_close(by_hand.attend(STATES, tensor([[[[False, True]]]])), expected)
    torch.testing.assert_close(by_hand.attend(STATES, tensor([[[[-1e30, 0.0]]]])), expected)


def test_the_ffn_by_hand(by_hand: FusedLayer) -> None:
    # [-1, 1]: the neuron is below 0, so nothing is added. [1, -1]: 3 is added to -1, and [1, 2] norms to [-1, 1].
    found = by_hand.feed_forward(tensor([[[-1.0, 1.0], [1.0, -1.0]]]))
    torch.testing.assert_close(found, tensor([[[-1.0, 1.0], [-1.0, 1.0]]]))
    torch.testing.assert_close(by_hand(STATES), found)


def test_pre_norm_by_hand(by_hand: FusedLayer) -> None:
    """The same weights read what is normalised, and what they give is added to what is not."""
    layer = FusedLayer(dataclasses.replace(SMALL, pre_norm=1)).eval()
    layer.load_state_dict(by_hand.state_dict())
    # [1, 3] and [5, 1] norm to [-1, 1] and [1, -1], whose mean is 0: nothing is added.
    torch.testing.assert_close(layer.attend(STATES, None), STATES)
    # From the second alone, [1, -1] is added to both.
    expected = tensor([[[2.0, 2.0], [6.0, 0.0]]])
    torch.testing.assert_close(layer.attend(STATES, tensor([[[[False, True]]]])), expected)
    # The neuron sees -1 and 1: three times the second is added to the second position.
    torch.testing.assert_close(layer.feed_forward(STATES), tensor([[[1.0, 3.0], [5.0, 4.0]]]))


@pytest.mark.parametrize(("heads", "neurons"), [(0, 1), (1, 0), (0, 0)])
def test_pre_norm_what_was_dropped_leaves_no_norm(heads: int, neurons: int) -> None:
    layer = filled(dataclasses.replace(SMALL, pre_norm=1, heads=heads, neurons=neurons))
    assert sum(isinstance(part, nn.LayerNorm) for part in layer.modules()) == heads + neurons
    # All other weights are 0, so that what is there adds nothing.
    torch.testing.assert_close(layer(STATES), STATES)
    first = dataclasses.replace(layer.sizes, first_token=1)
    torch.testing.assert_close(filled(first)(STATES), STATES[:, :1])


def test_structures_from_before_pre_norm_are_post_norm() -> None:
    sizes = FusedLayer.sizes_of(FusedLayer(SMALL))
    assert "pre_norm" not in sizes
    assert FusedLayer.build(sizes).sizes == SMALL
    assert FusedLayer.sizes_of(FusedLayer(dataclasses.replace(SMALL, pre_norm=1))) == {**sizes, "pre_norm": 1}


def test_scores_are_products_of_query_and_key() -> None:
    # Queries are the input, keys the input times ln 2, in its first position: scores of the first token are 1 * 1 and
    # 1 * 3 times ln 2, shares 2 to 8. Values: the second position, 3 and 1: (2 * 3 + 8 * 1) / 10 = 1.4, beside the 5.0
    # that is added to the first position: [1 + 5, 3 + 1.4] norms to [1, -1].
    ln2 = 0.6931472
    layer = filled(
        SMALL,
        query_key_value__weight=[[1.0, 0.0], [0.0, 0.0], [ln2, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 1.0]],
    )
    seen: list[Tensor] = []
    layer.attention_output.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    layer.attend(tensor([[[1.0, 3.0], [3.0, 1.0]]]), None)
    # The second token: 3 and 9 times ln 2, shares 8 to 512, (8 * 3 + 512) / 520.
    torch.testing.assert_close(seen[0], tensor([[[0.0, 1.4], [0.0, 536 / 520]]]))


@pytest.fixture(params=[0, 1], ids=["post-norm", "pre-norm"])
def torchs(request: pytest.FixtureRequest) -> nn.TransformerEncoderLayer:
    torch.manual_seed(0)
    pre_norm = bool(request.param)
    layer = nn.TransformerEncoderLayer(16, 4, 24, dropout=0, activation="gelu", batch_first=True, norm_first=pre_norm)
    for parameter in layer.parameters():
        # Torch's biases are 0 and its norms 1.
        nn.init.normal_(parameter, std=0.5)
    return layer.eval()


def like(layer: nn.TransformerEncoderLayer, sizes: FusedLayerSizes) -> FusedLayer:
    """The fused layer that computes the same. Its query's weights hold the 1 / sqrt(4) of the head size."""
    fused = FusedLayer(sizes).eval()
    scale = torch.cat([torch.full((16,), 0.5), torch.ones(32)])
    weight, bias = layer.self_attn.in_proj_weight * scale[:, None], layer.self_attn.in_proj_bias * scale
    parts = {"query": slice(0, 16), "key": slice(16, 32), "value": slice(32, 48), "key_value": slice(16, 48)}
    parts["query_key_value"] = slice(0, 48)
    with torch.no_grad():
        for name, rows in parts.items():
            if hasattr(fused, name):
                getattr(fused, name).weight.copy_(weight[rows])
                getattr(fused, name).bias.copy_(bias[rows])
    same = {
        "attention_output": layer.self_attn.out_proj,
        "attention_norm": layer.norm1,
        "ffn_in": layer.linear1,
        "ffn_out": layer.linear2,
        "ffn_norm": layer.norm2,
    }
    for name, module in same.items():
        getattr(fused, name).load_state_dict(module.state_dict())
    return fused


KEPT = tensor([[True] * 7, [True] * 4 + [False] * 3])
BOOLEAN = KEPT[:, None, None, :]


@pytest.mark.parametrize(
    "mask",
    [BOOLEAN, BOOLEAN.expand(2, 1, 7, 7), (1 - BOOLEAN.float()) * torch.finfo(torch.float32).min],
    ids=["boolean", "square", "additive"],
)
@pytest.mark.parametrize("separate", [0, 1])
@pytest.mark.parametrize("first_token", [0, 1])
@torch.no_grad()
def test_it_is_torchs_own_layer(
    torchs: nn.TransformerEncoderLayer, mask: Tensor, separate: int, first_token: int
) -> None:
    states = torch.randn(2, 7, 16, generator=torch.Generator().manual_seed(1))
    sizes = dataclasses.replace(WIDE, separate=separate, first_token=first_token, pre_norm=int(torchs.norm_first))
    fused = like(torchs, sizes)
    # Torch's fast path sets what is padding to 0; the other does not.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        expected = torchs(states, src_key_padding_mask=~KEPT)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    found = fused(states, mask)
    assert found.shape == (2, 1 if first_token else 7, 16)
    torch.testing.assert_close(found, expected[:, :1] if first_token else expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("separate", "first_token"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_it_is_built_from_its_sizes(separate: int, first_token: int) -> None:
    layer = FusedLayer(dataclasses.replace(WIDE, separate=separate, first_token=first_token))
    again = FusedLayer.build(FusedLayer.sizes_of(layer))
    again.load_state_dict(layer.state_dict())
    states = torch.randn(1, 3, 16)
    assert torch.equal(again(states), layer(states))
    products = 3 if separate else 2 if first_token else 1
    assert sum(isinstance(part, nn.Linear) for part in layer.modules()) == products + 3


def test_an_activation_that_has_no_number() -> None:
    with pytest.raises(KeyError, match=f"activation {len(ACTIVATIONS)}"):
        FusedLayer.build({**FusedLayer.sizes_of(FusedLayer(SMALL)), "activation": len(ACTIVATIONS)})


def test_the_numbers_of_activations_stay() -> None:
    """Saved models hold them."""
    assert ACTIVATIONS[:6] == ("gelu", "relu", "gelu_new", "gelu_pytorch_tanh", "silu", "tanh")
