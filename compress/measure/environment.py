"""What a measurement depends on besides the model: the machine and the libraries."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.core.processors import allowed_processors

if TYPE_CHECKING:
    from compress.core.runtime import Runtime

LIBRARIES = ("compress", "torch", "transformers", "onnx", "onnxscript", "datasets", "numpy")
NOTED_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimddp", "i8mm")


def allowed_cpus() -> list[int]:
    """The processors that this process may use, in order."""
    allowed = allowed_processors()
    return list(range(os.cpu_count() or 1)) if allowed is None else allowed


def describe_machine(runtime: Runtime) -> dict[str, Any]:
    """CPU, the flags that matter here, the runtime, its threads, platform and versions: for keys and reports."""
    return {
        **describe_processor(),
        "runtime": runtime.label,
        "threads": runtime.threads,
        "platform": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": versions((*LIBRARIES, *runtime.libraries)),
    }


def describe_processor() -> dict[str, Any]:
    """Its name, and the flags that matter here."""
    return {"cpu": _cpu_name(), "cpu_flags": [flag for flag in NOTED_FLAGS if flag in _cpu_flags()]}


def int8_weight_bits() -> int:
    """How many bits of an int8 weight this processor multiplies without loss: 7 on x86 without VNNI, else 8.

    Source: ONNX Runtime's guide to quantization, on U8S8 and saturation on AVX2 and AVX512.
    """
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    return 7 if x86 and not {"avx512_vnni", "avx_vnni", "amx_int8"} & _cpu_flags() else 8


def versions(libraries: Sequence[str]) -> dict[str, str]:
    """The installed versions of these libraries; those that are missing are left out."""
    found = {name: _version(name) for name in libraries}
    return {name: installed for name, installed in found.items() if installed is not None}


@cache
def _version(library: str) -> str | None:
    """What is imported once stays as it is for as long as the process lives."""
    # It takes a tenth of what importing a predictor takes, and that needs no versions.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(library)
    except PackageNotFoundError:
        return None


@cache
def _cpu_info() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0].splitlines()
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _cpu_name() -> str:
    info = _cpu_info()
    family = f" (family {info['cpu family']}, model {info['model']})" if "cpu family" in info else ""
    return (info.get("model name") or platform.processor() or platform.machine()) + family


def _cpu_flags() -> set[str]:
    info = _cpu_info()
    return set((info.get("flags") or info.get("Features") or "").split())
