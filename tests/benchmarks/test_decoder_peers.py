"""What the comparison of language models makes and computes, on tiny ones. Other programs are not started."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import decoder_openers
from compress.measure.latency import Turns


def test_tokens_after_the_first_by_hand() -> None:
    pytest.importorskip("gguf", reason="the package gguf is not installed: pip install '.[gguf]'")
    from benchmarks.decoder_peers import after_first

    turns = Turns(whole=((10.0, 7.0), (9.0, 8.0)), first=((4.0, 3.0), (3.5, 3.0)), peak_bytes=0)
    assert after_first(turns) == ((6.0, 4.0), (5.5, 5.0))


def test_a_token_is_handed_on_as_the_likeliest() -> None:
    for token in (3, 0, 7, 2):
        assert int(decoder_openers.chosen(token).argmax(axis=-1)[0]) == token


def test_what_is_made_is_whole_or_not_there(tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="the package gguf is not installed: pip install '.[gguf]'")
    from benchmarks.decoder_peers import made

    def fails(folder: Path) -> None:
        (folder / "half").touch()
        raise RuntimeError("full")

    with pytest.raises(RuntimeError, match="full"):
        made(tmp_path / "form", fails)
    assert not (tmp_path / "form").exists()
    # What was left is no obstacle, and what is there is not made again.
    assert made(tmp_path / "form", lambda folder: (folder / "whole").touch()) == tmp_path / "form"
    assert [path.name for path in made(tmp_path / "form", fails).iterdir()] == ["whole"]


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0"])
def test_matrices_are_rounded_as_the_package_rounds_and_norms_are_not(kind: str, tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf", reason="the package gguf is not installed: pip install '.[gguf]'")
    from benchmarks.decoder_peers import round_gguf
    from compress.runtimes.gguf.writer import write_gguf
    from tests.runtimes.gguf.conftest import gguf_tokenizer, tiny_decoder

    write_gguf(tiny_decoder("llama"), gguf_tokenizer(), tmp_path / "full.gguf")
    round_gguf(tmp_path / "full.gguf", kind, tmp_path / "model.gguf")
    full, found = (gguf.GGUFReader(tmp_path / name) for name in ("full.gguf", "model.gguf"))
    # All that is said of model and tokenizer stands there as before.
    assert {name for name in found.fields if not name.startswith("GGUF.")} == {
        name for name in full.fields if not name.startswith("GGUF.")
    }
    assert found.fields["tokenizer.ggml.tokens"].contents() == full.fields["tokenizer.ggml.tokens"].contents()
    forms = set()
    for before, after in zip(full.tensors, found.tensors, strict=True):
        assert before.name == after.name
        values = gguf.dequantize(after.data, after.tensor_type)
        if before.data.ndim < 2:
            np.testing.assert_array_equal(values, before.data)
            continue
        forms.add((after.tensor_type.name, after.name.startswith(("token_embd", "output."))))
        expected = gguf.quants.quantize(np.asarray(before.data), after.tensor_type)
        np.testing.assert_array_equal(np.asarray(after.data), expected)
    assert forms == {("Q8_0", True), (kind, False)}
