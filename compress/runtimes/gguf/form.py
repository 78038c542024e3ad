"""An exported folder as GGUF, for llama.cpp and whatever reads its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from compress.core.errors import StageError
from compress.core.export_form import Exported, FormDefaults
from compress.core.runtime import Session
from compress.core.signature import Signature

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FILE = "model.gguf"


@dataclass(frozen=True, kw_only=True)
class GgufForm(FormDefaults):
    """threads: of no effect; nothing is computed."""

    threads: int

    name: ClassVar[str] = "gguf"
    label: ClassVar[str] = "llama.cpp"
    package: ClassVar[tuple[str, str]] = ("gguf", "'compress[gguf]'")
    opens: ClassVar[bool] = False
    decodes: ClassVar[bool] = True
    # The file holds them.
    companions: ClassVar[bool] = False

    def write(self, exported: Exported, folder: Path) -> Sequence[str]:
        """Write `model.gguf`, and read it again. Raises InputError for a model or a tokenizer that llama.cpp would not
        follow, and StageError where a tensor that was read is not the one that was written."""
        from compress.runtimes.gguf.writer import write_gguf
        from compress.tasks.text import load_tokenizer

        write_gguf(exported.model, load_tokenizer(exported.folder, pads=False), folder / FILE)
        return require_written(exported.model, folder / FILE)

    def open(self, folder: Path, signature: Signature) -> Session:
        """Raises ValueError: llama.cpp opens it, and what it must compute is told by the bytes."""
        raise ValueError(f"{FILE} is opened by llama.cpp alone")

    def usage(self, signature: Signature | None) -> str:
        """A command of llama.cpp."""
        return f'llama-cli --model {FILE} --prompt "The beginning of a text" --predict 64\n'


def require_written(model: PreTrainedModel, path: Path) -> list[str]:
    """Compare every tensor of the file, byte by byte, with the model's own. Returns sentences about them."""
    from gguf import GGUFReader

    from compress.runtimes.gguf.writer import tensors_of

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


FORM = GgufForm
