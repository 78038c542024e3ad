"""A `.tflite` file: rows of any length up to the longest get the model's answers, and integers stay eight bits."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from compress.core.errors import InputError
from compress.core.export_form import Exported
from compress.core.signature import Port, Signature
from compress.nn.fusion import fuse_layers
from compress.nn.layers import Int8DynamicLinear, Int8Embedding
from compress.nn.structure import replace_module
from compress.runtimes.litert.form import FILE, LiteRtForm, lengths_of
from compress.tasks.text import save_tokenizer
from compress.tasks.text_task import SIGNATURE

FORM = LiteRtForm(threads=1)
installed = pytest.mark.skipif(
    find_spec("litert_torch") is None, reason="LiteRT's converter is not installed: pip install '.[litert]'"
)


def told_length(folder: Path, length: int) -> Path:
    (folder / "tokenizer.json").write_text(json.dumps({"truncation": {"max_length": length}}), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("longest", "lengths"), [(8, [8]), (16, [16]), (17, [16, 17]), (64, [16, 32, 64]), (100, [16, 32, 64, 100])]
)
def test_lengths_are_powers_of_two_and_the_longest(longest: int, lengths: list[int], tmp_path: Path) -> None:
    assert lengths_of(told_length(tmp_path, longest), SIGNATURE) == lengths


def test_images_have_no_lengths(tmp_path: Path) -> None:
    pixels = Port("pixel_values", ("batch", "channels", "height", "width"), "float32")
    assert (
        lengths_of(tmp_path, Signature(inputs=(pixels,), output=Port("logits", ("batch", "c"), "f"), mask=None)) == []
    )


@pytest.mark.parametrize("text", [None, "{", "{}", '{"truncation": null}', '{"truncation": {"max_length": "long"}}'])
def test_a_folder_that_does_not_say_how_long_rows_are(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "tokenizer.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"has no tokenizer\.json that says how long a text may be"):
        lengths_of(tmp_path, SIGNATURE)


@installed
@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
def test_integers_stay_and_rows_of_any_length_are_answered(
    fused: bool,
    make_model: Callable,
    make_tokenizer: Callable[[], PreTrainedTokenizerFast],
    batch: dict,
    tmp_path: Path,
) -> None:
    save_tokenizer(make_tokenizer(), tmp_path, max_length=20)
    model = make_model(layers=2)
    if fused:
        fuse_layers(model, first_token=True)
    for path, module in list(model.named_modules()):
        if type(module) is nn.Linear and ".layer" in path:
            replace_module(model, path, Int8DynamicLinear.of(module))
        if type(module) is nn.Embedding and module.num_embeddings == 34:
            replace_module(model, path, Int8Embedding.of(module))
    model = model.eval()
    inputs = {name: batch[name] for name in SIGNATURE.names}
    cases = []
    for rows, length in ((1, 1), (3, 20), (2, 16)):
        ids = torch.randint(4, 34, (rows, length), generator=torch.Generator().manual_seed(rows))
        mask = torch.ones_like(ids)
        mask[0, length // 2 + 1 :] = 0
        with torch.inference_mode():
            cases.append((ids, mask, model(input_ids=ids, attention_mask=mask).logits.numpy()))
    (told,) = FORM.write(Exported(folder=tmp_path, model=model, signature=SIGNATURE, batch=inputs), tmp_path)
    assert "one row of 16 or 20 positions, weights of dense layers and tables in eight bits" in told
    session = FORM.open(tmp_path, SIGNATURE)
    for ids, mask, expected in cases:
        found = session.run({"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() < 0.02 * max(1.0, np.abs(expected).max())
    long = np.ones((1, 21), dtype=np.int64)
    with pytest.raises(InputError, match=r"a row has 21 positions, and model\.tflite takes 20 at most"):
        session.run({"input_ids": long, "attention_mask": long})


@installed
def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no model\.tflite"):
        FORM.open(tmp_path, SIGNATURE)
    (tmp_path / FILE).write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"is refused by LiteRT"):
        FORM.open(tmp_path, SIGNATURE)
