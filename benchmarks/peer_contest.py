"""Who takes part besides compress: one teacher in the forms of other tools."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import peer_models as forms
from benchmarks.contest import Contender, Contest, tell
from benchmarks.peer_runtimes import CTranslate2, OpenVinoFile, TorchDynamicInt8
from compress.core.errors import InputError
from compress.core.runtime import Runtime
from compress.measure.processes import Candidate
from compress.nn.checkpoint import load_model
from compress.runtimes.onnxruntime.runtime import OnnxRuntime
from compress.runtimes.openvino.runtime import OpenVinoRuntime
from compress.runtimes.torch.runtime import TorchRuntime
from compress.tasks.text_task import SIGNATURE


class Peers(Contest):
    """All forms of one teacher, and what compress made of it. calibration: training examples that NNCF sees."""

    script = "peers"
    reference = "PyTorch FP32"
    baseline = "ONNX Runtime FP32"

    def __init__(self, *given: Any, calibration: int, **settings: Any) -> None:
        super().__init__(*given, **settings)
        self.calibration = calibration

    def contenders(self) -> Iterator[Contender]:
        """The teacher in every form, made as it goes, then ours."""
        threads, teacher, reading = self.threads, self.runs[0].teacher, self.reading
        exported, nncf, work = self.work / "onnx", self.work / "nncf", self.work
        full = OpenVinoRuntime(threads=threads, precision="f32")

        def peer(name: str, runtime: Runtime, folder: Path, size: int) -> Contender:
            return Contender(name, Candidate(runtime=runtime, folder=folder, signature=SIGNATURE), size, reading)

        weights = (teacher / "model.safetensors").stat().st_size
        yield peer(self.reference, TorchRuntime(threads=threads), teacher, weights)
        size = forms.as_torch_dynamic(load_model(teacher), work / "torch")
        yield peer("PyTorch dynamic INT8", TorchDynamicInt8(threads=threads), teacher, size)
        example = self.task.collate(list(reading.examples.select(range(2))), self.processor)
        size = forms.as_onnx(self.model, SIGNATURE, example, exported)
        yield peer(self.baseline, OnnxRuntime(threads=threads), exported, size)
        dynamic = forms.as_onnxruntime_dynamic(exported, work / "dynamic")
        yield peer("ONNX Runtime quantize_dynamic", OnnxRuntime(threads=threads), work / "dynamic", dynamic)
        yield peer("OpenVINO FP32", full, exported, size)
        smaller = forms.as_nncf(exported, self.calibrating(), nncf)
        yield peer("OpenVINO NNCF INT8, rest FP32", OpenVinoFile(threads=threads, precision="f32"), nncf, smaller)
        try:
            coarse = OpenVinoRuntime(threads=threads, precision="bf16")
            yield peer("OpenVINO bfloat16", coarse, exported, size)
            both = OpenVinoFile(threads=threads, precision="bf16")
            yield peer("OpenVINO NNCF INT8, rest bfloat16", both, nncf, smaller)
        except InputError as error:
            tell(f"without bfloat16: {error}")
        try:
            size = forms.as_ctranslate2(self.model, self.processor, work / "ctranslate2")
            yield peer("CTranslate2 INT8", CTranslate2(threads=threads), work / "ctranslate2", size)
        except ValueError as error:
            tell(f"without CTranslate2: {error}")
        for run in self.runs:
            yield self.own(run)

    def calibrating(self) -> list[dict[str, np.ndarray]]:
        """Training examples, drawn with a fixed seed, one row each."""
        drawn = np.random.default_rng(0).permutation(len(self.train))[: self.calibration]
        rows = self.task.encode(self.train.select(drawn), self.processor, self.model.config, "train")
        batches = (self.task.collate([row], self.processor) for row in rows)
        return [{name: batch[name].numpy() for name in SIGNATURE.names} for batch in batches]
