"""An exported folder as OpenVINO's own representation, `openvino.xml` and `openvino.bin`."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from compress.core.content import require_inside
from compress.core.errors import InputError
from compress.core.export_form import Exported, FormDefaults
from compress.core.signature import Signature
from compress.runtimes.onnx.file import onnx_file
from compress.runtimes.openvino.runtime import OpenVinoRuntime

if TYPE_CHECKING:
    from compress.runtimes.openvino.runtime import OpenVinoSession

# As Optimum names them.
GRAPH, WEIGHTS = "openvino_model.xml", "openvino_model.bin"
EIGHT_BITS = ("i8", "u8", "i4", "u4")


@dataclass(frozen=True, kw_only=True)
class OpenVinoForm(FormDefaults):
    """threads: how many one inference uses."""

    threads: int

    name: ClassVar[str] = "openvino"
    label: ClassVar[str] = "OpenVINO"
    package: ClassVar[tuple[str, str]] = ("openvino", "'compress[openvino]'")
    refuses: ClassVar[Mapping[str, str]] = {"int8_dynamic_linear": OpenVinoRuntime.refuses["int8_dynamic"]}

    def write(self, exported: Exported, folder: Path) -> Sequence[str]:
        """Write both files. Integers stay as many bits as they have; float weights stay FP32."""
        import openvino

        assert exported.signature is not None
        runtime = OpenVinoRuntime(threads=self.threads, precision="f32")
        with tempfile.TemporaryDirectory() as temporary:
            # Anew from the checkpoint: what was measured may use operators that OpenVINO does not read.
            runtime.export(exported.model, exported.signature, exported.batch, Path(temporary))
            try:
                model = openvino.convert_model(onnx_file(Path(temporary)))
            except RuntimeError as error:
                raise InputError(f"{exported.folder} is refused by OpenVINO's converter ({error}).") from error
            openvino.save_model(model, folder / GRAPH, compress_to_fp16=False)
        integers, floats = stored_bytes(model)
        return [f"{GRAPH}: {integers / 1e6:.1f} MB of weights in integers, {floats / 1e6:.1f} MB in FP32"]

    def open(self, folder: Path, signature: Signature) -> OpenVinoSession:
        """Open them, in FP32 arithmetic. Raises InputError where one is missing or damaged."""
        for name in (GRAPH, WEIGHTS):
            if not (folder / name).is_file():
                raise InputError(f"{folder} has no {name}. Export it again: compress-export RUN --to openvino")
            require_inside(folder, folder / name)
        return OpenVinoRuntime(threads=self.threads, precision="f32").compile(folder / GRAPH, signature)

    def usage(self, signature: Signature | None) -> str:
        """Python that compiles and calls it."""
        assert signature is not None
        settings = '{"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}'
        inputs = ", ".join(f'"{name}": {name}' for name in signature.names)
        return (
            "import openvino\n\n"
            f'model = openvino.Core().compile_model("{GRAPH}", "CPU", {settings})\n'
            f"# arrays of {', '.join(port.dtype for port in signature.inputs)}, a row for each example\n"
            f'{signature.output.name} = model({{{inputs}}})["{signature.output.name}"]\n'
        )


def stored_bytes(model: Any) -> tuple[int, int]:
    """How many bytes of a model's constants are integers of at most eight bits, and how many FP32."""
    integers = floats = 0
    for node in model.get_ops():
        if node.get_type_name() == "Constant":
            kind, count = node.get_element_type(), node.get_byte_size()
            integers += count if kind.get_type_name() in EIGHT_BITS else 0
            floats += count if kind.get_type_name() == "f32" else 0
    return integers, floats


FORM = OpenVinoForm
