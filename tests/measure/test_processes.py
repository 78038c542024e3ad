"""One measurement at a time on a machine, whoever makes it, and whatever happened to the one before."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from compress.measure.processes import one_measurement_at_a_time


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files as systems have it: everybody may write, nobody may remove what is not theirs."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o1777)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    shutil.rmtree(folder)


def measure(said: Path, *, seconds: float = 0.0, user: int | None = None) -> int:
    """A process that measures for so long, as another user perhaps; it writes what happened. Returns its number."""
    number = os.fork()
    if number == 0:
        try:
            if user is not None:
                os.setuid(user)
            with one_measurement_at_a_time():
                said.write_text("measuring", encoding="utf-8")
                time.sleep(seconds)
            said.write_text(f"done at {time.monotonic()}", encoding="utf-8")
        except BaseException as error:  # noqa: BLE001 - a forked process must not return into the tests
            said.write_text(repr(error), encoding="utf-8")
        finally:
            os._exit(0)
    return number


def wait_for(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.01)


def test_the_second_waits_for_the_first(shared: Path) -> None:
    said = shared / "said"
    other = measure(said, seconds=0.3)
    wait_for(said.exists)
    with one_measurement_at_a_time():
        began = time.monotonic()
    os.waitpid(other, 0)
    assert began > float(said.read_text(encoding="utf-8").removeprefix("done at ")) - 0.3
    assert said.read_text(encoding="utf-8").startswith("done at ")


def test_a_dead_measurement_blocks_nobody(shared: Path) -> None:
    said = shared / "said"
    other = measure(said, seconds=600)
    wait_for(said.exists)
    os.kill(other, signal.SIGKILL)
    os.waitpid(other, 0)
    with one_measurement_at_a_time():
        assert said.read_text(encoding="utf-8") == "measuring"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(("first", "second"), [(0, 65534), (65534, 0), (65533, 65534)])
def test_users_share_the_lock(shared: Path, first: int, second: int) -> None:
    for user in (first, second):
        said = shared / f"said-{user}"
        os.waitpid(measure(said, user=user), 0)
        assert said.read_text(encoding="utf-8").startswith("done at "), user
