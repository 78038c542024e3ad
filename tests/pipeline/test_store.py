"""An entry of the store appears whole or not at all, is made once, and is made again where it was damaged."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from compress.core.errors import DiskFullError, InputError
from compress.pipeline.store import MANIFEST, Store, content_key, find_damage, write_manifest


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


def test_an_entry_under_anothers_name_is_set_aside(store: Store, warnings: list[str]) -> None:
    folder = store.entry("artifacts", "k", make).folder
    folder.rename(folder.with_name("other"))
    assert not store.entry("artifacts", "other", make).reused
    assert "its manifest is that of k. It is made again." in warnings[0]


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


def test_of_two_that_set_an_entry_aside_the_second_finds_it_done(
    store: Store, tmp_path: Path, warnings: list[str]
) -> None:
    entry = store.entry("artifacts", "k", make)
    for _ in range(2):
        store.set_aside(entry, "its logits changed")
    assert len(warnings) == 1 and not entry.folder.exists()
    assert len(list((tmp_path / "store" / "damaged").iterdir())) == 1


def test_a_manifest_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    text = '{"files": {"../secret": {"bytes": 0, "sha256": "", "xxh3_128": ""}}, "facts": {}, "key": "k"}'
    (tmp_path / MANIFEST).write_text(text, encoding="utf-8")
    assert find_damage(tmp_path) == "its manifest names '../secret', which leaves the folder"


def test_work_stays_until_it_is_finished(store: Store) -> None:
    (store.work_folder("k") / "checkpoint").touch()
    assert (store.work_folder("k") / "checkpoint").exists()
    store.forget_work("k")
    assert list(store.work_folder("k").iterdir()) == []


def test_only_a_folder_for_work_without_work_is_left_out(store: Store) -> None:
    begun, refused, asked = (store.work_folder(key) for key in ("begun", "refused", "asked"))
    for path in (begun / "checkpoint", begun / "table", asked / "table"):
        path.touch()
    for key in ("begun", "refused", "asked", "never"):
        store.leave_no_empty_work(key, besides="table")
    assert [folder.exists() for folder in (begun, refused, asked)] == [True, False, False]


def test_a_better_entry_takes_the_place_of_one(store: Store) -> None:
    first = store.entry("tables", "k", lambda folder: {"share": 0.5})
    better = store.replace("tables", first, lambda folder: {"share": 0.1})
    assert (better.facts, better.folder, better.reused) == ({"share": 0.1}, first.folder, False)
    assert store.entry("tables", "k", lambda folder: {}).facts == {"share": 0.1}
    # Who read the first one, too, takes what another has put there since.
    other = store.replace("tables", first, lambda folder: {"share": 0.7})
    assert (other.facts, other.reused) == ({"share": 0.1}, True)
    with pytest.raises(KeyboardInterrupt):
        store.replace("tables", better, interrupted)
    assert store.entry("tables", "k", lambda folder: {}).facts == {"share": 0.1}
    assert [path.name for path in first.folder.parent.iterdir()] == ["k"]


def interrupted(folder: Path) -> dict[str, Any]:
    raise KeyboardInterrupt


def test_a_store_that_nothing_was_put_into_leaves_no_folders(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    new = Store(tmp_path / "mine" / "new" / "store", print)
    new.leave_none_empty()
    assert list((tmp_path / "mine").iterdir()) == []
    # One that was there, and one that something lies in, stay.
    Store(tmp_path / "mine", print).leave_none_empty()
    Store(tmp_path / "kept", print).entry("artifacts", "a1", lambda folder: {})
    Store(tmp_path / "kept", print).leave_none_empty()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "mine"]


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


def test_a_waiter_says_what_it_waits_for(store: Store, tmp_path: Path, warnings: list[str]) -> None:
    def slowly(folder: Path) -> dict[str, Any]:
        (tmp_path / "begun").touch()
        time.sleep(0.5)
        return make(folder)

    other = in_a_process(lambda: store.entry("artifacts", "k", slowly))
    while not (tmp_path / "begun").exists():
        time.sleep(0.01)
    assert store.entry("artifacts", "k", refuse, what="what distill makes").reused
    assert not died_by_kill(other)
    waiting = "another run is making what distill makes (artifacts/k); this one waits for it and uses it"
    assert warnings == [waiting]
    assert store.entry("artifacts", "k", refuse).reused and warnings == [waiting]


def test_the_lock_of_a_dead_process_is_taken_over(store: Store, tmp_path: Path, warnings: list[str]) -> None:
    def die(folder: Path) -> dict[str, Any]:
        # What it had started lives on, and holds nothing.
        orphan = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        (tmp_path / "orphan").write_text(str(orphan.pid), encoding="utf-8")
        kill_me()
        return {}

    assert died_by_kill(in_a_process(lambda: store.entry("artifacts", "k", die)))
    assert not store.entry("artifacts", "k", make).reused and warnings == []
    os.kill(int((tmp_path / "orphan").read_text(encoding="utf-8")), signal.SIGKILL)


# Deaths --------------------------------------------------------------------------------------------------------------

CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.truncate", "shutil.rmtree"}


def _changes(event: str, arguments: tuple[Any, ...], root: Path) -> bool:
    if event == "open":
        return str(root) in str(arguments[0]) and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    return event in CHANGES and str(root) in str(arguments[0])


def survives(number: int, root: Path, work: Callable[[], Any]) -> bool:
    """Whether a process gets through `work` that is killed before its number-th change under root: a file opened for
    writing, made or flushed, a name given or taken away."""
    left = [number]

    def count() -> None:
        left[0] -= 1
        if not left[0]:
            kill_me()

    def doomed() -> None:
        flush = os.fsync
        os.fsync = lambda descriptor: (count(), flush(descriptor))[1]  # type: ignore[assignment]
        sys.addaudithook(lambda event, arguments: count() if _changes(event, arguments, root) else None)
        work()

    return not died_by_kill(in_a_process(doomed))


@pytest.mark.parametrize("damaged", [False, True])
def test_a_kill_at_any_write_leaves_nothing_half_visible(tmp_path: Path, damaged: bool) -> None:
    kinds = set()
    for number in itertools.count(1):
        said: list[str] = []
        root = tmp_path / str(number) / "store"
        folder = root / "artifacts" / "k"
        if damaged:
            _truncate(Store(root, said.append).entry("artifacts", "k", make).folder)
        if survives(number, root, lambda root=root: Store(root, print).entry("artifacts", "k", make)):
            break
        problem = find_damage(folder) if folder.exists() else "absent"
        kinds.add(problem)
        store = Store(root, said.append)
        assert store.entry("artifacts", "k", refuse if problem is None else make).reused == (problem is None)
        assert find_damage(folder) is None and [path.name for path in folder.parent.iterdir()] == ["k"]
        assert len(said) == (problem not in (None, "absent"))
    assert number > 15
    assert kinds == {"absent", None} | ({"model.safetensors has 7 bytes, not 7000"} if damaged else set())


def test_what_a_killed_process_had_started_cannot_write_into_the_next_attempt(store: Store, tmp_path: Path) -> None:
    def die(folder: Path) -> dict[str, Any]:
        (tmp_path / "first").write_text(str(folder), encoding="utf-8")
        return kill_me()

    assert died_by_kill(in_a_process(lambda: store.entry("exports", "k", die)))
    first = Path((tmp_path / "first").read_text(encoding="utf-8"))

    def beside(folder: Path) -> dict[str, Any]:
        assert folder != first and not first.exists()
        return make(folder)

    assert find_damage(store.entry("exports", "k", beside).folder) is None


# Full disks ----------------------------------------------------------------------------------------------------------


def _plain_file(folder: Path) -> None:
    (folder / "weights").write_bytes(bytes(3_000_000))


def _safetensors(folder: Path) -> None:
    save_file({"weights": torch.zeros(750_000)}, folder / "weights")


def _torch_file(folder: Path) -> None:
    torch.save({"weights": torch.zeros(750_000)}, folder / "weights")


@pytest.mark.parametrize("write", [_plain_file, _safetensors, _torch_file])
def test_a_full_disk(small_disk: Callable[[str], Path], write: Callable[[Path], None]) -> None:
    def too_much(folder: Path) -> dict[str, Any]:
        write(folder)
        return {}

    store = Store(small_disk("size=2m") / "store", print)
    finished = store.entry("artifacts", "k", make)
    # 2 MiB are 2.1 MB, of which the first entry and the folders take less than 0.1.
    numbers = r"what distill makes needs about 3\.0 MB, and 2\.[01] MB are free, (1\.0|0\.9) MB too few"
    with pytest.raises(DiskFullError, match=rf"the disk of .*/store \(store\) is full: {numbers}\. What was finished"):
        store.entry("artifacts", "other", too_much, what="what distill makes", needed_bytes=3_000_000)
    assert [path.name for path in (store.root / "artifacts").iterdir()] == ["k"]
    assert find_damage(finished.folder) is None and store.entry("artifacts", "k", refuse).reused


@pytest.mark.parametrize("write", [_plain_file, _safetensors])
def test_a_file_that_may_not_become_so_large(store: Store, write: Callable[[Path], None]) -> None:
    def too_much(folder: Path) -> dict[str, Any]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
        try:
            write(folder)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        return {}

    with pytest.raises(
        DiskFullError, match=r"what distill makes needs about 3\.0 MB at .*store \(store\), and a file may"
    ):
        store.entry("artifacts", "k", too_much, what="what distill makes", needed_bytes=3_000_000)
    assert not any((store.root / "artifacts").iterdir())


def test_a_quota_that_is_used_up(store: Store) -> None:
    def quota(folder: Path) -> dict[str, Any]:
        raise OSError(errno.EDQUOT, "Disk quota exceeded", str(folder / "weights"))

    with pytest.raises(DiskFullError, match=r"an artifact needs about 1\.0 MB .* and your quota there is used up"):
        store.entry("artifacts", "k", quota, what="an artifact")

    def quota_elsewhere(folder: Path) -> dict[str, Any]:
        raise OSError(errno.EDQUOT, "Disk quota exceeded", "/elsewhere/weights")

    with pytest.raises(OSError, match="elsewhere"):
        store.entry("artifacts", "k", quota_elsewhere)


# Other users' stores ---------------------------------------------------------------------------------------------


@pytest.fixture
def as_another_user() -> Iterator[Callable[[], None]]:
    """Makes this process one without rights of its own, until the test ends."""
    user = os.geteuid()

    def become() -> None:
        if user == 0:
            os.seteuid(65534)

    yield become
    os.seteuid(user)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user may look into, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_store_that_may_only_be_read_is_used(
    shared: Path, as_another_user: Callable[[], None], warnings: list[str]
) -> None:
    Store(shared / "store", print).entry("artifacts", "k", make)
    for folder in (shared / "store", *(path for path in (shared / "store").rglob("*") if path.is_dir())):
        folder.chmod(0o555)
    as_another_user()
    store = Store(shared / "store", warnings.append)
    assert len(warnings) == 1 and "cannot be written (Permission denied): what is in it is used" in warnings[0]
    found = store.entry("artifacts", "k", refuse)
    assert found.reused and found.facts == {"parent": None}
    assert store.replace("artifacts", found, refuse) == found
    assert not any(store.work_folder("k").iterdir()) and store.cache_folder("batches").is_dir()
    store.forget_work("k")
    store.leave_none_empty()
    with pytest.raises(
        InputError, match=r"which cannot be written \(Permission denied\), and a table is not in it.*store=D"
    ):
        store.entry("tables", "other", refuse, what="a table")
    with pytest.raises(InputError, match=r"artifacts/k is wrong: other answers\. Name another folder"):
        store.set_aside(found, "other answers")


def test_an_empty_store_that_cannot_be_written_is_refused(shared: Path, as_another_user: Callable[[], None]) -> None:
    (shared / "store").mkdir(mode=0o555)
    as_another_user()
    with pytest.raises(InputError, match=r"store is .*, which cannot be written \(Permission denied\)\. Name another"):
        Store(shared / "store", print)


def test_a_damaged_entry_of_a_store_that_may_only_be_read(shared: Path, as_another_user: Callable[[], None]) -> None:
    entry = Store(shared / "store", print).entry("artifacts", "k", make)
    (entry.folder / "model.safetensors").write_bytes(b"rubbish")
    (shared / "store").chmod(0o555)
    as_another_user()
    with pytest.raises(InputError, match=r"and model\.safetensors has 7 bytes, not 7000"):
        Store(shared / "store", print).entry("artifacts", "k", make)


def test_an_entry_of_another_user_in_a_store_of_both(shared: Path, as_another_user: Callable[[], None]) -> None:
    Store(shared / "store", print).entry("artifacts", "k", make)
    # Whoever came first made the folders, and a lock that only they may write.
    (shared / "store").chmod(0o777)
    as_another_user()
    store = Store(shared / "store", print)
    assert store.entry("artifacts", "k", refuse).reused
    with pytest.raises(InputError, match=r"Permission denied.*the plots is not in it.*Ask its owner for the right"):
        store.entry("plots", "k", make, what="the plots")


def test_another_disk_that_is_full_is_not_the_stores(store: Store) -> None:
    def fail(folder: Path) -> dict[str, Any]:
        raise OSError(errno.ENOSPC, "No space left on device", "/elsewhere")

    with pytest.raises(OSError, match="elsewhere"):
        store.entry("artifacts", "k", fail)


def test_a_manifest_holds_sizes_hashes_key_and_facts(tmp_path: Path) -> None:

    (tmp_path / "a").write_bytes(b"abc")
    write_manifest(tmp_path, {"parent": "p"}, key="k")
    found = json.loads((tmp_path / MANIFEST).read_text(encoding="utf-8"))
    digest = hashlib.sha256(b"abc").hexdigest()
    assert (found["key"], found["facts"]) == ("k", {"parent": "p"})
    # XXH3 with 128 bits of "abc", as `xxhsum -H2` says.
    assert found["files"] == {"a": {"bytes": 3, "sha256": digest, "xxh3_128": "06b05ab6733a618578af5f94892f3950"}}


def test_a_manifest_of_before_there_was_an_xxh3(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    files = {"a": {"bytes": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}}
    (tmp_path / "manifest.json").write_text(json.dumps({"files": files, "facts": {}, "key": "k"}), "utf-8")
    assert find_damage(tmp_path) is None
    (tmp_path / "a").write_bytes(b"abd")
    assert find_damage(tmp_path) == "a has changed"
