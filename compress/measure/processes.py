"""Starting workers, talking to them, and keeping two measurements on one machine apart."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock

from compress.core.errors import InputError, StageError
from compress.core.runtime import Runtime, Session
from compress.core.signature import Signature
from compress.core.waiting import as_users_wait
from compress.measure.description import describe
from compress.measure.environment import allowed_cpus

# Ours may lie in a folder that only the one who started this process named: it comes last, behind all libraries.
PROGRAM = (
    "import runpy, sys; module, folder = sys.argv[1:]; sys.path.append(folder); "
    "runpy.run_module(module, run_name='__main__', alter_sys=True)"
)
# Where nothing says whether a thread runs, and the most where one never stops.
BLIND_REST_S, LONGEST_REST_S = 0.05, 0.5


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What a worker opens: a folder, with a runtime. signature: of what is in it."""

    runtime: Runtime
    folder: Path
    signature: Signature


class Opener(Protocol):
    """What opens a folder in a process of its own: a runtime, or what stands before one. A dataclass, so that
    `describe` can say it."""

    @property
    def threads(self) -> int:
        """How many threads it uses, and processors it may."""
        ...

    def open(self, folder: Path, signature: Signature) -> Session:
        """Open the folder. Raises InputError where it cannot be used."""
        ...


class Timed(Protocol):
    """What a worker needs of a candidate."""

    @property
    def runtime(self) -> Opener:
        """What opens the folder."""
        ...

    @property
    def folder(self) -> Path:
        """What is opened."""
        ...

    @property
    def signature(self) -> Signature:
        """Of what is in it."""
        ...


class Worker:
    """A process that runs `compress.measure.worker`. Use as a context manager: it ends with the block."""

    def __init__(self, candidate: Timed, batches: Path) -> None:
        self._candidate = candidate
        # A file: into a pipe that nobody reads, a library that talks much would wait forever, and we for it.
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            isolated("compress.measure.worker"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            env=clean_environment(candidate.runtime.threads),
        )
        cpus = allowed_cpus()[: candidate.runtime.threads]
        self.ask(
            {
                "runtime": describe(candidate.runtime),
                "folder": str(candidate.folder),
                "signature": candidate.signature.to_json(),
                "batches": str(batches),
                "cpus": cpus,
            }
        )

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def wait_until_asleep(self) -> None:
        """Return once no thread of the process runs, or after `LONGEST_REST_S`.

        The threads of a pool look for more work after the last of it (ONNX Runtime's for 32 ms), each on a processor
        that a thread of the next process is bound to: the two then wait for each other for a scheduler's tick.
        """
        tasks = Path(f"/proc/{self.pid}/task")
        if not tasks.exists():
            time.sleep(BLIND_REST_S)
            return
        latest = time.monotonic() + LONGEST_REST_S
        while _runs(tasks) and time.monotonic() < latest:
            time.sleep(0.001)

    def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        """Send one command and wait for its answer. Raises InputError or StageError where the worker gave up."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._process.wait()
            self._said.seek(0)
            trace = self._said.read().decode(errors="replace")[-2000:]
            raise StageError(f"the measuring process of {self._candidate.folder} ended by itself: {trace}")
        answer = json.loads(line)
        if "error" in answer:
            raise InputError(answer["error"])
        return answer

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *reason: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._said.close()


def _runs(tasks: Path) -> bool:
    """Whether a thread of these, a folder of /proc, is on a processor or waits for one."""
    for task in tasks.iterdir():
        # A thread may end between two looks.
        with contextlib.suppress(OSError):
            stat = (task / "stat").read_text(encoding="utf-8", errors="replace")
            # The name before it may contain anything, a bracket too.
            if stat.rpartition(")")[2].split()[0] == "R":
                return True
    return False


def isolated(module: str) -> list[str]:
    """The command that runs a module of ours in a process of its own.

    `python -m` would look for every library in the current folder first: a `numpy.py` beside the user's data would be
    run. `-P` leaves that folder out.
    """
    return [sys.executable, "-P", "-c", PROGRAM, module, str(Path(__file__).resolve().parents[2])]


def clean_environment(threads: int) -> dict[str, str]:
    """The caller's environment, with every thread pool set to `threads` and no network for the libraries."""
    pools = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {
        **as_users_wait(os.environ),
        **dict.fromkeys(pools, str(threads)),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        # What libraries start in turn is isolated likewise.
        "PYTHONSAFEPATH": "1",
    }


@contextlib.contextmanager
def one_measurement_at_a_time() -> Iterator[None]:
    """Hold the machine-wide lock: two measurements at once would spoil each other."""
    path = Path(tempfile.gettempdir()) / "compress-measurement.lock"
    with FileLock(path, mode=0o666):
        yield
