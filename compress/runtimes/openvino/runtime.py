"""OpenVINO on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from compress.core.checks import require_choice, require_integer
from compress.core.errors import InputError
from compress.core.runtime import OneCall
from compress.core.signature import Signature
from compress.runtimes.onnx.file import onnx_file
from compress.runtimes.onnx.form import OnnxForm

if TYPE_CHECKING:
    from torch import Tensor

FORMATS = {"f32": "FP32", "bf16": "bfloat16", "f16": "FP16"}


@dataclass(frozen=True, kw_only=True)
class OpenVinoRuntime(OnnxForm):
    """threads: how many threads one inference uses. precision: of float arithmetic, `f32`, `bf16`, or `auto`: what
    OpenVINO takes by itself on this processor, which is bfloat16 where there are instructions for it."""

    threads: int
    precision: str

    name: ClassVar[str] = "openvino"
    # Release 2026.0 refuses a graph that has it, 2026.4 takes it apart.
    attention_operator: ClassVar[bool] = False
    decodes: ClassVar[bool] = False
    libraries: ClassVar[tuple[str, ...]] = ("openvino",)
    refuses: ClassVar[Mapping[str, str]] = {
        "int8_dynamic": "OpenVINO has no 8-bit kernels for ranges found anew for each batch, and is slower at them "
        "than in FP32. Use ranges fixed by calibration, stage/quantize@stages.quantize=static, or runtime=onnxruntime"
    }

    def __post_init__(self) -> None:
        require_integer("runtime.threads", self.threads, 1, "Leave it out to use every core this process may use.")
        require_choice("runtime.precision", self.precision, ("f32", "bf16", "auto"))
        if find_spec("openvino") is None:
            raise InputError(
                "runtime is openvino, whose package is not installed. "
                "Install it (pip install 'compress[openvino]'), or use runtime=onnxruntime."
            )
        if self.precision == "bf16" and "BF16" not in capabilities():
            raise InputError(
                "runtime.precision is bf16; this processor has no bfloat16 arithmetic, and OpenVINO would compute in "
                "FP32. Use runtime.precision=f32."
            )

    @property
    def label(self) -> str:
        """OpenVINO with its precision, and whether it chose that by itself."""
        own = " (its own choice)" if self.precision == "auto" else ""
        return f"OpenVINO in {FORMATS.get(self.chosen, self.chosen)}{own}"

    @property
    def chosen(self) -> str:
        """The precision of float arithmetic on this machine."""
        return default_precision() if self.precision == "auto" else self.precision

    @property
    def rounds(self) -> bool:
        """Whether that is less than FP32."""
        return self.chosen != "f32"

    @property
    def snippet(self) -> tuple[str, str, str]:
        """See Runtime."""
        settings = f'{{"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "{self.chosen}"}}'
        return "openvino", f'model = openvino.Core().compile_model("model.onnx", "CPU", {settings})', "model(INPUTS)[0]"

    def export(self, model: Any, signature: Signature, batch: Mapping[str, Tensor], folder: Path) -> None:
        """Write `folder/model.onnx`. Raises InputError for weights in blocks that OpenVINO does not read."""
        from compress.nn.layers import Int8BlockLinear, TiedBlockHead
        from compress.nn.ops.blocks import BLOCK

        for path, module in model.named_modules():
            if isinstance(module, Int8BlockLinear | TiedBlockHead) and module.in_features % BLOCK:
                raise InputError(
                    f"runtime is openvino, which reads weights in blocks only where a row is whole blocks of {BLOCK}; "
                    f"{path} has {module.in_features} inputs. Leave it in float (stages.quantize.keep_float), cut to a "
                    f"multiple of {BLOCK}, or use runtime=onnxruntime."
                )
        super().export(model, signature, batch, folder)

    def open(self, folder: Path, signature: Signature) -> OpenVinoSession:
        """Open `folder/model.onnx`. Raises InputError where it is missing, damaged or names a file elsewhere."""
        return self.compile(onnx_file(folder), signature)

    def compile(self, path: Path, signature: Signature) -> OpenVinoSession:
        """Open a file that OpenVINO reads. Raises InputError where it is refused."""
        import openvino

        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": self.threads,
            "INFERENCE_PRECISION_HINT": self.chosen,
        }
        try:
            model = openvino.Core().compile_model(path, "CPU", settings)
        except RuntimeError as error:
            raise InputError(f"{path} is refused by OpenVINO ({error}). Export the model again.") from error
        return OpenVinoSession(model, signature.output.name)


class OpenVinoSession(OneCall):
    """One compiled graph."""

    def __init__(self, model: Any, output: str) -> None:
        self._output = output
        self._request = model.create_infer_request()
        self._names = [entry.any_name for entry in model.inputs]

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The output of one batch."""
        return self._request.infer({name: inputs[name] for name in self._names})[self._output]


@cache
def capabilities() -> tuple[str, ...]:
    """What OpenVINO can compute on this processor, in its own words, such as `BF16`."""
    import openvino

    return tuple(openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


@cache
def default_precision() -> str:
    """What OpenVINO computes in on this processor where nobody says otherwise, such as `bf16`."""
    import openvino

    return str(openvino.Core().get_property("CPU", "INFERENCE_PRECISION_HINT").get_type_name())
