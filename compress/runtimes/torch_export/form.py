"""An exported folder as one `.pt2` file, which torch alone loads and runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from compress.core.content import require_inside
from compress.core.errors import InputError
from compress.core.export_form import Exported, FormDefaults
from compress.core.runtime import OneCall
from compress.core.signature import Signature

if TYPE_CHECKING:
    from torch import Tensor

FILE = "model.pt2"
WAY_OUT = "Export the model again: compress-export RUN --to torch_export"


@dataclass(frozen=True, kw_only=True)
class TorchExport(FormDefaults):
    """threads: how many one inference uses."""

    threads: int

    name: ClassVar[str] = "torch_export"
    label: ClassVar[str] = "torch.export"
    package: ClassVar[tuple[str, str]] = ("torch", "torch")

    def write(self, exported: Exported, folder: Path) -> Sequence[str]:
        """Write `model.pt2`. Integers stay integers, and the file calls no operator of this package."""
        import torch

        from compress.runtimes.torch_export.operators import in_torch_alone, operators_of
        from compress.runtimes.torch_export.program import traced

        assert exported.signature is not None
        program = in_torch_alone(traced(exported.model, exported.signature, exported.batch))
        strange = sorted(name for name in operators_of(program) if not name.startswith(("aten.", "<built-in")))
        if strange:
            raise InputError(f"{exported.folder} computes {strange[0]}, which torch alone does not have.")
        torch.export.save(program, folder / FILE)
        return [
            f"{FILE}: any number of rows and any length, operators of torch alone"
            if exported.signature.mask is not None
            else f"{FILE}: any number of rows, operators of torch alone"
        ]

    def open(self, folder: Path, signature: Signature) -> ProgramSession:
        """Load `model.pt2`. Raises InputError where it is missing or damaged."""
        import torch

        path = folder / FILE
        if not path.is_file():
            raise InputError(f"{folder} has no {FILE}. {WAY_OUT}.")
        require_inside(folder, path)
        torch.set_num_threads(self.threads)
        try:
            program = torch.export.load(path)
        except Exception as error:
            raise InputError(f"{path} is refused by torch ({error}). {WAY_OUT}.") from error
        return ProgramSession(program.module(), signature)

    def usage(self, signature: Signature | None) -> str:
        """Python that loads and calls it."""
        assert signature is not None
        given = ", ".join(signature.names)
        return (
            "import torch\n\n"
            f'model = torch.export.load("{FILE}").module()\n'
            f"# {given}: tensors of {', '.join(port.dtype for port in signature.inputs)}, a row for each example\n"
            f"{signature.output.name} = model({given})\n"
        )


class ProgramSession(OneCall):
    """One loaded program."""

    def __init__(self, module: Any, signature: Signature) -> None:
        self._module, self._names = module, signature.names

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The output of one batch."""
        import torch

        given: list[Tensor] = [torch.from_numpy(inputs[name]) for name in self._names]
        with torch.inference_mode():
            return self._module(*given).numpy()


FORM = TorchExport
