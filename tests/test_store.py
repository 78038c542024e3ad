"""An entry of the store appears whole or not at all, is made once, and is made again where it was damaged."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compress.core.errors import InputError
from compress.store import MANIFEST, Store, content_key, find_damage, write_manifest


@pytest.fixture
def warnings() -> list[str]:
    """What the store warned about."""
    return []


@pytest.fixture
def store(tmp_path: Path, warnings: list[str]) -> Store:
    """An empty store."""
    return Store(tmp_path / "store", warnings.append)


def make(folder: Path) -> dict[str, Any]:
    """Two files, one of them in a folder, and a fact."""
    (folder / "model.safetensors").write_bytes(b"weights" * 1000)
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(b"graph")
    return {"parent": None}


def refuse(folder: Path) -> dict[str, Any]:
    """The maker of an entry that must be there already."""
    raise AssertionError("made again")


def test_an_entry_is_made_once(store: Store, tmp_path: Path) -> None:
    made = store.entry("artifacts", "k", make)
    found = store.entry("artifacts", "k", refuse)
    assert (made.reused, found.reused) == (False, True)
    assert made.folder == found.folder == tmp_path / "store" / "artifacts" / "k"
    assert made.facts == found.facts == {"parent": None}
    assert find_damage(made.folder) is None


def test_kinds_and_keys_are_apart(store: Store) -> None:
    store.entry("artifacts", "k", make)
    assert not store.entry("exports", "k", make).reused
    assert not store.entry("artifacts", "other", make).reused


def test_a_maker_that_fails_leaves_nothing(store: Store, tmp_path: Path) -> None:
    def fail(folder: Path) -> dict[str, Any]:
        make(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.entry("artifacts", "k", fail)
    assert list((tmp_path / "store" / "artifacts").iterdir()) == []
    assert not store.entry("artifacts", "k", make).reused


def _truncate(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"weights")


def _flip(folder: Path) -> None:
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[100] ^= 1
    (folder / "model.safetensors").write_bytes(content)


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "shorter": (_truncate, "model.safetensors has 7 bytes, not 7000"),
    "one bit": (_flip, "model.safetensors has changed"),
    "removed": (lambda folder: (folder / "onnx" / "model.onnx").unlink(), "onnx/model.onnx is missing"),
    "no manifest": (lambda folder: (folder / MANIFEST).unlink(), "its manifest is missing or malformed"),
    "half a manifest": (
        lambda folder: (folder / MANIFEST).write_text('{"files": {', encoding="utf-8"),
        "its manifest is missing or malformed",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_entry_is_set_aside_and_made_again(
    store: Store, tmp_path: Path, warnings: list[str], name: str
) -> None:
    damage, reason = DAMAGE[name]
    folder = store.entry("artifacts", "k", make).folder
    damage(folder)
    again = store.entry("artifacts", "k", make)
    assert not again.reused and find_damage(again.folder) is None
    (aside,) = (tmp_path / "store" / "damaged").iterdir()
    assert aside.name.startswith("artifacts-k-")
    assert warnings == [f"{folder} is set aside in {aside}: {reason}. It is made again."]


def test_a_manifest_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    text = '{"files": {"../secret": {"bytes": 0, "sha256": ""}}, "facts": {}}'
    (tmp_path / MANIFEST).write_text(text, encoding="utf-8")
    assert find_damage(tmp_path) == "its manifest names '../secret', which leaves the folder"


def test_work_stays_until_it_is_finished(store: Store) -> None:
    (store.work_folder("k") / "checkpoint").touch()
    assert (store.work_folder("k") / "checkpoint").exists()
    store.forget_work("k")
    assert list(store.work_folder("k").iterdir()) == []


def test_only_an_empty_folder_for_work_is_left_out(store: Store) -> None:
    begun, refused = store.work_folder("begun"), store.work_folder("refused")
    (begun / "checkpoint").touch()
    for key in ("begun", "refused", "never"):
        store.leave_no_empty_work(key)
    assert (begun.exists(), refused.exists()) == (True, False)


def test_a_store_under_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"store is .*file/store, which cannot be written \(Not a directory\)"):
        Store(tmp_path / "file" / "store", print)


def test_a_key_does_not_depend_on_the_order_of_mappings() -> None:
    assert content_key(a=1, b={"x": 1, "y": (2, 3)}) == content_key(b={"y": [2, 3], "x": 1}, a=1)
    assert content_key(a=1) != content_key(a="1") != content_key(a=None)
    with pytest.raises(TypeError, match="has no place in a key"):
        content_key(a=object())


# Several processes ---------------------------------------------------------------------------------------------------


def in_a_process(work: Callable[[], Any]) -> int:
    """Start a process that does `work` and ends, and return its number."""
    number = os.fork()
    if number == 0:
        try:
            work()
        finally:
            os._exit(0)
    return number


def died_by_kill(number: int) -> bool:
    """Wait for a process; whether SIGKILL ended it."""
    _, status = os.waitpid(number, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def kill_me(*arguments: Any, **settings: Any) -> Any:
    """End this process as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_of_two_processes_one_makes_and_the_other_waits(store: Store, tmp_path: Path) -> None:
    def slowly(folder: Path) -> dict[str, Any]:
        (tmp_path / "begun").touch()
        time.sleep(0.5)
        return make(folder)

    first = in_a_process(lambda: store.entry("artifacts", "k", slowly))
    while not (tmp_path / "begun").exists():
        time.sleep(0.01)
    started = time.monotonic()
    assert store.entry("artifacts", "k", refuse).reused
    assert time.monotonic() - started > 0.2
    assert not died_by_kill(first)


def test_of_two_threads_one_makes_and_the_other_waits(store: Store) -> None:
    makers = []

    def slowly(folder: Path) -> dict[str, Any]:
        makers.append(folder)
        time.sleep(0.2)
        return make(folder)

    threads = [threading.Thread(target=store.entry, args=("artifacts", "k", slowly)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(makers) == 1


def _dies_at_flush(number: int) -> Callable[[pytest.MonkeyPatch], None]:
    def arrange(patch: pytest.MonkeyPatch) -> None:
        flush, left = os.fsync, [number]

        def counted(descriptor: int) -> None:
            left[0] -= 1
            (flush if left[0] else kill_me)(descriptor)

        patch.setattr("os.fsync", counted)

    return arrange


def _dies_while_making(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Path, "write_bytes", lambda path, data: (path.touch(), kill_me()))


# make: the folder is there, one file is empty. flush 1 and 2: the two files; 3: the manifest; 4: the folder. Then the
# new name, which flush 5 brings to the disk.
DEATHS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], bool]] = {
    "while making": (_dies_while_making, False),
    "before the manifest": (lambda patch: patch.setattr("compress.store.write_manifest", kill_me), False),
    "at the first file's flush": (_dies_at_flush(1), False),
    "at the second file's flush": (_dies_at_flush(2), False),
    "at the manifest's flush": (_dies_at_flush(3), False),
    "at the folder's flush": (_dies_at_flush(4), False),
    "before the rename": (lambda patch: patch.setattr(Path, "rename", kill_me), False),
    "after the rename": (_dies_at_flush(5), True),
}


@pytest.mark.parametrize("point", DEATHS)
def test_a_kill_leaves_nothing_half_visible(store: Store, tmp_path: Path, warnings: list[str], point: str) -> None:
    arrange, whole = DEATHS[point]

    def die() -> None:
        with pytest.MonkeyPatch.context() as patch:
            arrange(patch)
            store.entry("artifacts", "k", make)

    assert died_by_kill(in_a_process(die))
    folder = tmp_path / "store" / "artifacts" / "k"
    assert folder.exists() == whole
    taken_over = store.entry("artifacts", "k", refuse if whole else make)
    assert taken_over.reused == whole and find_damage(taken_over.folder) is None
    assert warnings == [] and [path.name for path in folder.parent.iterdir()] == ["k"]


def test_a_manifest_holds_sizes_hashes_key_and_facts(tmp_path: Path) -> None:
    import hashlib
    import json

    (tmp_path / "a").write_bytes(b"abc")
    write_manifest(tmp_path, {"parent": "p"}, key="k")
    found = json.loads((tmp_path / MANIFEST).read_text(encoding="utf-8"))
    digest = hashlib.sha256(b"abc").hexdigest()
    assert (found["key"], found["facts"]) == ("k", {"parent": "p"})
    assert found["files"] == {"a": {"bytes": 3, "sha256": digest}}
