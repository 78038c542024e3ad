"""A program of torch alone: our operators are gone, integers stayed, any number of rows and any length."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from compress.core.errors import InputError
from compress.core.export_form import Exported
from compress.nn.fusion import fuse_layers
from compress.nn.layers import (
    Int4BlockLinear,
    Int8BlockEmbedding,
    Int8BlockLinear,
    Int8DynamicLinear,
    Int8StaticLinear,
)
from compress.nn.structure import replace_module
from compress.runtimes.torch_export.form import FILE, TorchExport
from compress.runtimes.torch_export.operators import operators_of
from compress.tasks.text_task import SIGNATURE

FORM = TorchExport(threads=1)


def static(linear: nn.Linear) -> Int8StaticLinear:
    return Int8StaticLinear.of(linear).fix_inputs(torch.tensor(0.03), torch.tensor(120.0))


def quantized(model: PreTrainedModel, kind: Callable[[nn.Linear], nn.Module]) -> PreTrainedModel:
    """Every dense layer of the encoder in another form."""
    for path, module in list(model.named_modules()):
        if type(module) is nn.Linear and ".layer." in path:
            replace_module(model, path, kind(module))
    return model.eval()


@pytest.mark.parametrize(
    "kind",
    [Int8DynamicLinear.of, static, Int8BlockLinear.of, Int4BlockLinear.of],
    ids=["dynamic", "static", "blocks", "four bits"],
)
def test_integers_in_torch_alone(kind: Callable, make_model: Callable, batch: dict, tmp_path: Path) -> None:
    model = quantized(make_model(layers=1), kind)
    words = model.get_input_embeddings()
    replace_module(model, "bert.embeddings.word_embeddings", Int8BlockEmbedding.of(words))
    FORM.write(Exported(folder=tmp_path, model=model, signature=SIGNATURE, batch=batch), tmp_path)
    program = torch.export.load(tmp_path / FILE)
    assert all(name.startswith("aten.") for name in operators_of(program))
    stored = {name: tensor.dtype for name, tensor in program.state_dict.items()}
    integers = [dtype for name, dtype in stored.items() if "weight_int8" in name or "weight_blocks" in name]
    # Six dense layers of the one layer there is, and the words.
    assert len(integers) == 7 and set(integers) <= {torch.int8, torch.uint8}
    session = FORM.open(tmp_path, SIGNATURE)
    for rows, length in ((1, 1), (2, 30), (9, 5)):
        ids = torch.randint(4, 34, (rows, length), generator=torch.Generator().manual_seed(rows))
        mask = torch.ones_like(ids)
        mask[0, length // 2 + 1 :] = 0
        with torch.inference_mode():
            expected = model(input_ids=ids, attention_mask=mask).logits
        found = session.run({"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        assert torch.allclose(torch.from_numpy(found), expected, atol=1e-6)


def test_fused_layers(make_model: Callable, batch: dict, tmp_path: Path) -> None:
    model = make_model(layers=2)
    fuse_layers(model, first_token=True)
    FORM.write(Exported(folder=tmp_path, model=model.eval(), signature=SIGNATURE, batch=batch), tmp_path)
    found = FORM.open(tmp_path, SIGNATURE).run({name: batch[name].numpy() for name in SIGNATURE.names})
    with torch.inference_mode():
        expected = model(**{name: batch[name] for name in SIGNATURE.names}).logits
    assert torch.allclose(torch.from_numpy(found), expected, atol=1e-6)


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no model\.pt2"):
        FORM.open(tmp_path, SIGNATURE)
    (tmp_path / FILE).write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"is refused by torch"):
        FORM.open(tmp_path, SIGNATURE)
