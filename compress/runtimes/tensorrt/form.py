"""An exported folder as ONNX that keeps TensorRT's rules."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from compress.core.errors import InputError
from compress.core.export_form import Exported, FormDefaults
from compress.core.runtime import Session
from compress.core.signature import Signature

if TYPE_CHECKING:
    import onnx

FILE = "model.onnx"
NAMED = 3
WAY_OUT = (
    "Quantize so that they hold: stage/quantize@stages.quantize=static "
    "stages.quantize.calibration.method=symmetric stages.quantize.embeddings=false, or not at all"
)


@dataclass(frozen=True, kw_only=True)
class TensorRtForm(FormDefaults):
    """threads: how many one inference of ONNX Runtime uses, which computes what is compared."""

    threads: int

    name: ClassVar[str] = "tensorrt"
    label: ClassVar[str] = "TensorRT, by its rules"
    package: ClassVar[tuple[str, str]] = ("onnxruntime", "onnxruntime")
    refuses: ClassVar[Mapping[str, str]] = {
        "int8_dynamic_linear": "TensorRT has no ranges that are found anew for each batch. Use ranges fixed by "
        "calibration, stage/quantize@stages.quantize=static stages.quantize.calibration.method=symmetric"
    }

    def write(self, exported: Exported, folder: Path) -> Sequence[str]:
        """Write `model.onnx`. Raises InputError where a rule does not hold, with the node that breaks it."""
        import onnx

        from compress.runtimes.onnx.export import export_onnx
        from compress.runtimes.tensorrt.rules import RULES
        from compress.runtimes.tensorrt.signed import make_signed

        assert exported.signature is not None
        with tempfile.TemporaryDirectory() as temporary:
            path = export_onnx(
                exported.model, exported.signature, exported.batch, Path(temporary), attention_operator=False
            )
            model = onnx.load(path)
        make_signed(model)
        require_rules(model, exported.folder)
        onnx.save(model, folder / FILE)
        quantized = sum(node.op_type == "QuantizeLinear" for node in model.graph.node)
        return [
            f"{len(RULES)} of {len(RULES)} rules of TensorRT hold: {', '.join(rule.name for rule in RULES)}",
            f"{quantized} inputs are rounded to INT8; no engine was built, and the outputs are ONNX Runtime's",
        ]

    def open(self, folder: Path, signature: Signature) -> Session:
        """Open it in ONNX Runtime. Raises InputError where it is missing or damaged."""
        from compress.runtimes.onnxruntime.runtime import OnnxRuntime

        return OnnxRuntime(threads=self.threads).open(folder, signature)

    def usage(self, signature: Signature | None) -> str:
        """A command of TensorRT."""
        assert signature is not None
        sizes = {"batch": (1, 8, 32), "sequence": (1, 64, 128)}
        shapes = (
            ",".join(
                f"{port.name}:{'x'.join(str(sizes[axis][place]) for axis in port.axes if axis in sizes)}"
                for port in signature.inputs
            )
            for place in range(3)
        )
        least, usual, most = shapes
        return f"trtexec --onnx={FILE} --stronglyTyped --minShapes={least} --optShapes={usual} --maxShapes={most}\n"


def require_rules(model: onnx.ModelProto, folder: Path) -> None:
    """Raise InputError for a graph that breaks a rule, with the nodes that do."""
    from compress.runtimes.tensorrt.rules import broken

    found = broken(model)
    if found:
        told = "; ".join(
            f"{rule.says} ({rule.source}), but {', '.join(breaks[:NAMED])}"
            + (f" and {len(breaks) - NAMED} more" if len(breaks) > NAMED else "")
            for rule, breaks in found
        )
        raise InputError(f"--to is tensorrt, and {folder} breaks its rules: {told}. {WAY_OUT}.")


FORM = TensorRtForm
