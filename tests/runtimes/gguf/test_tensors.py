"""Blocks as bytes, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from compress.core.errors import InputError
from compress.nn.layers import Int4BlockLinear, Int8BlockLinear, Int8DynamicLinear
from compress.runtimes.gguf.tensors import q4_0, q8_0, stored_matrix

# 0.5 in FP16 is 0x3800, -2 is 0xC000; the lower byte comes first.
HALF, MINUS_TWO = [0x00, 0x38], [0x00, 0xC0]


def test_eight_bits() -> None:
    values = torch.zeros(2, 32, dtype=torch.int8)
    values[0, 0], values[0, 31], values[1, 1] = -127, 5, -1
    found = q8_0(values, torch.tensor([[0.5], [-2.0]], dtype=torch.float16))
    assert found.shape == (2, 34)
    assert found[0].tolist() == [*HALF, 129, *[0] * 30, 5]
    assert found[1].tolist() == [*MINUS_TWO, 0, 255, *[0] * 30]


def test_four_bits() -> None:
    values = torch.zeros(1, 64, dtype=torch.int8)
    # Value 0 and value 16 share the first byte; the second block's last byte holds its values 15 and 31.
    values[0, 0], values[0, 16], values[0, 47], values[0, 63] = -8, 7, 1, -1
    found = q4_0(values, torch.tensor([[0.5, -2.0]], dtype=torch.float16))
    assert found.shape == (1, 36)
    assert found[0].tolist() == [*HALF, 0xF0, *[0x88] * 15, *MINUS_TWO, *[0x88] * 15, 0x79]


def test_rows_in_another_order_take_their_scales_along() -> None:
    layer = Int8BlockLinear.of(nn.Linear(64, 3, bias=False))
    plain, turned = stored_matrix("q", layer), stored_matrix("q", layer, torch.tensor([2, 0, 1]))
    assert plain.form == turned.form == "Q8_0"
    np.testing.assert_array_equal(turned.data, plain.data[[2, 0, 1]])


def test_what_has_no_form_is_refused() -> None:
    with pytest.raises(InputError, match=r"model.q is a Int8DynamicLinear, which GGUF has no form for"):
        stored_matrix("model.q", Int8DynamicLinear.of(nn.Linear(32, 2)))
    with pytest.raises(InputError, match=r"model.q has rows of 33 weights, and GGUF's are whole blocks of 32"):
        stored_matrix("model.q", Int4BlockLinear.of(nn.Linear(33, 2)))
