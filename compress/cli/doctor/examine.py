"""Looking at this machine, this installation and the folders of a run."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from importlib.util import find_spec
from pathlib import Path

import psutil
import torch
from huggingface_hub import constants
from packaging.requirements import Requirement as Wanted

from compress.cli.doctor.facts import Facts, Memory, Noise, Place, Processor, Requirement
from compress.cli.doctor.limits import cpu_limit, memory_limit
from compress.cli.doctor.noise import measure_noise, timer_step_ns
from compress.core.errors import CompressError
from compress.measure.environment import allowed_cpus, describe_machine
from compress.report.svg import inline_svg, new_figure
from compress.runtimes.onnxruntime.runtime import OnnxRuntime

SECONDS_OF_LISTENING = 1.0
POOLS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_WAIT_POLICY", "KMP_BLOCKTIME")


def examine(store: Path) -> Facts:
    """Everything. Takes ten to thirty seconds, most of them for timing a small model against itself.

    store: where finished work is kept. Nothing is left behind.
    """
    # First, while nothing of ours runs.
    processor = _processor()
    noise, problem = _noise(processor.allowed)
    return Facts(
        platform=f"{platform.system()} {platform.release()} {platform.machine()}, Python {platform.python_version()}",
        processor=processor,
        threads={"runtime.threads": processor.allowed, "torch": torch.get_num_threads()},
        thread_variables={name: os.environ[name] for name in POOLS if name in os.environ},
        memory=Memory(
            total=psutil.virtual_memory().total, available=psutil.virtual_memory().available, limit=memory_limit()
        ),
        places=(place("store", store), place("temporary files", Path(tempfile.gettempdir()))),
        gpus=tuple(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())),
        requirements=tuple(_requirements()),
        openvino_precision=_openvino_precision(),
        draws=_why_not_drawn(),
        offline=constants.HF_HUB_OFFLINE,
        timer_step_ns=timer_step_ns(),
        noise=noise,
        noise_problem=problem,
    )


def place(purpose: str, path: Path) -> Place:
    """A folder, which need not exist yet."""
    path = path.expanduser().resolve()
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    usage = psutil.disk_usage(str(existing))
    problem = None
    try:
        # A file without a name: nothing is seen of it.
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        problem = error.strerror
    return Place(
        purpose=purpose,
        path=str(path),
        existing=str(existing),
        free=usage.free,
        total=usage.total,
        problem=problem,
    )


def _processor() -> Processor:
    allowed = allowed_cpus()
    busy = psutil.cpu_percent(interval=SECONDS_OF_LISTENING, percpu=True)
    machine = describe_machine(OnnxRuntime(threads=len(allowed)))
    return Processor(
        name=machine["cpu"],
        x86=platform.machine().lower() in ("x86_64", "amd64"),
        flags=frozenset(machine["cpu_flags"]),
        cores=os.cpu_count() or 1,
        allowed=len(allowed),
        limit=cpu_limit(),
        busy=sum(busy[cpu] for cpu in allowed if cpu < len(busy)) / 100,
    )


def _noise(threads: int) -> tuple[Noise | None, str | None]:
    try:
        return measure_noise(OnnxRuntime(threads=threads)), None
    except (CompressError, OSError) as error:
        return None, str(error)


def _requirements() -> Iterator[Requirement]:
    """What compress declares to need, but for its own developers, and what of it is installed."""
    extras = [None, *(extra for extra in metadata("compress").get_all("Provides-Extra") or () if extra != "dev")]
    for wanted in map(Wanted, requires("compress") or ()):
        for extra in extras:
            if (extra is None) == (wanted.marker is None) and _wanted_by(wanted, extra):
                yield _requirement(wanted, extra)


def _wanted_by(wanted: Wanted, extra: str | None) -> bool:
    return wanted.marker is None or wanted.marker.evaluate({"extra": extra or ""})


def _requirement(wanted: Wanted, extra: str | None) -> Requirement:
    try:
        installed = version(wanted.name)
    except PackageNotFoundError:
        installed = None
    return Requirement(
        package=wanted.name,
        extra=extra,
        wanted=str(wanted.specifier),
        installed=installed,
        accepted=installed is not None and wanted.specifier.contains(installed, prereleases=True),
    )


def _openvino_precision() -> str | None:
    if find_spec("openvino") is None:
        return None
    from compress.runtimes.openvino.runtime import default_precision

    return default_precision()


def _why_not_drawn() -> str | None:
    """None where a report's plots can be drawn here, without a screen and without a browser."""
    try:
        figure = new_figure(1, 1)
        figure.subplots()
        inline_svg(figure, "doctor", "An empty plot.")
    except (ImportError, RuntimeError, OSError) as error:
        return str(error)
    return None
