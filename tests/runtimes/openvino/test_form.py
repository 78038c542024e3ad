"""OpenVINO's own representation: integers stay integers, and the answers stay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compress.core.errors import InputError
from compress.core.export_form import Exported
from compress.methods.quantize.int8 import Calibration, QuantizeInt8
from compress.tasks.text_task import SIGNATURE

# Nobody is imitated without recovery.
UNUSED: Any = None

openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install '.[openvino]'")


def test_integers_stay(make_model: Callable, make_context: Callable, tmp_path: Path) -> None:
    from compress.runtimes.openvino.form import GRAPH, WEIGHTS, OpenVinoForm, stored_bytes

    context = make_context(make_model())
    calibration = Calibration(method="minmax", percentile=99.9, examples=16)
    stage = QuantizeInt8(
        scheme="static",
        embeddings=True,
        embedding_bits=8,
        weight_bits=8,
        keep_float=[],
        float_share=0,
        sensitivity_examples=4,
        calibration=calibration,
        smoothing=None,
        static_inner=False,
        recovery_epochs=0,
        imitation=UNUSED,
    )
    model = stage.apply(make_model(), context).eval()
    batch = context.collate(list(context.train)[:4])
    inputs = {name: batch[name] for name in SIGNATURE.names}
    form = OpenVinoForm(threads=1)
    (told,) = form.write(Exported(folder=tmp_path, model=model, signature=SIGNATURE, batch=inputs), tmp_path)
    read = openvino.Core().read_model(tmp_path / GRAPH)
    integers, _ = stored_bytes(read)
    # Four layers of 4 * 32 * 32 and 2 * 32 * 64, the pooler, two labels, and 34 words of 32.
    assert integers >= 4 * (4 * 32 * 32 + 2 * 32 * 64) + 32 * 32 + 2 * 32 + 34 * 32
    assert (tmp_path / WEIGHTS).stat().st_size < 2 * integers
    assert "MB of weights in integers" in told
    with torch.inference_mode():
        expected = model(**inputs).logits.numpy()
    found = np.array(form.open(tmp_path, SIGNATURE).run({name: value.numpy() for name, value in inputs.items()}))
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(InputError, match=r"has no openvino_model\.bin"):
        form.open(tmp_path, SIGNATURE)
