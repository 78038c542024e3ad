"""An exported folder as GGUF, for llama.cpp and whatever reads its files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from transformers import PreTrainedModel

from compress.core.errors import StageError
from compress.nn.checkpoint import load_model
from compress.runtimes.gguf.writer import tensors_of, write_gguf
from compress.tasks.text import load_tokenizer

FILE = "model.gguf"


def export_gguf(source: Path, folder: Path) -> list[str]:
    """Write `model.gguf` into `folder`, and read it again. source: a folder that a run exported.

    Returns sentences about what is in it. Raises InputError for a model or a tokenizer that llama.cpp would not follow,
    and StageError where a tensor that was read is not the one that was written.
    """
    model, tokenizer = load_model(source, verify=True), load_tokenizer(source, pads=False)
    write_gguf(model, tokenizer, folder / FILE)
    return require_written(model, folder / FILE)


def require_written(model: PreTrainedModel, path: Path) -> list[str]:
    """Compare every tensor of the file, byte by byte, with the model's own. Returns sentences about them."""
    from gguf import GGUFReader

    found = {tensor.name: tensor for tensor in GGUFReader(path).tensors}
    counts: dict[str, int] = {}
    for name, stored in tensors_of(model):
        tensor = found.pop(name, None)
        if tensor is None or tensor.tensor_type.name != stored.form:
            raise StageError(f"{path} has no tensor {name} in {stored.form}")
        if np.ascontiguousarray(tensor.data).tobytes() != np.ascontiguousarray(stored.data).tobytes():
            raise StageError(f"{path}: the tensor {name} is not the one that was written")
        counts[stored.form] = counts.get(stored.form, 0) + 1
    if found:
        raise StageError(f"{path} has tensors that the model does not have: {', '.join(sorted(found)[:4])}")
    forms = ", ".join(f"{count} in {form}" for form, count in sorted(counts.items()))
    return [f"{sum(counts.values())} tensors, read again and equal byte for byte: {forms}"]
