"""What stands before the weights of a GGUF file: counted before it is believed."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import pytest

from compress.methods.teachers.gguf_header import read_gguf_header

# F32, and Q8_0: 32 values in 34 bytes.
BLOCKS = {0: (1, 4), 8: (32, 34)}
HUGE = (1 << 31, (1 << 62) + 7, (1 << 64) - 1)


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def setting(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def tensor(name: str, shape: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def array(kind: int, count: int, content: bytes = b"") -> bytes:
    return struct.pack("<IQ", kind, count) + content


def file_of(
    settings: tuple[bytes, ...] = (), tensors: tuple[bytes, ...] = (), weights: int = 0, version: int = 3
) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(settings)) + b"".join((*settings, *tensors))
    return head + b"\0" * (-len(head) % 32) + b"\0" * weights


SETTINGS = (
    setting("general.architecture", 8, text("llama")),
    setting("llama.block_count", 4, struct.pack("<I", 2)),
    setting("llama.rope.freq_base", 6, struct.pack("<f", 0.5)),
    setting("tokenizer.ggml.tokens", 9, array(8, 3, text("a") + text("") + text("\u6c49"))),
    setting("tokenizer.ggml.token_type", 9, array(5, 2, struct.pack("<2i", 1, -1))),
    setting("starts", 7, b"\1"),
)
# 4 x 3 numbers of 4 bytes, then 64 x 2 in four blocks of 34.
TENSORS = (tensor("a", (4, 3)), tensor("b", (64, 2), kind=8, offset=64))


def read(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    read_gguf_header(path, BLOCKS)


def test_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(file_of(SETTINGS, TENSORS, weights=64 + 4 * 34))
    header = read_gguf_header(tmp_path / "m.gguf", BLOCKS)
    assert header.settings == {
        "general.architecture": "llama",
        "llama.block_count": 2,
        "llama.rope.freq_base": 0.5,
        "tokenizer.ggml.tokens": 3,
        "tokenizer.ggml.token_type": 2,
        "starts": True,
    }
    assert header.tensors == {"a": (4, 3), "b": (64, 2)}


def test_weights_begin_where_they_are_aligned(tmp_path: Path) -> None:
    alignment = setting("general.alignment", 4, struct.pack("<I", 64))
    assert len(alignment) == 33
    one = tensor("abcd", (1,))
    assert len(one) == 36
    whole = file_of((alignment,), (one,)) + b"\0" * 36
    # 24 + 33 + 36 bytes before them, so that they begin at byte 128 in the file, and not at 96.
    read(tmp_path / "m.gguf", whole[:132])
    with pytest.raises(ValueError, match=r"'abcd' would end at byte 132, and the file has 131"):
        read(tmp_path / "m.gguf", whole[:131])


@pytest.mark.parametrize("number", HUGE)
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (lambda number: b"GGUF" + struct.pack("<IQQ", 3, number, 0), "tensors, and has room for 0"),
        (lambda number: b"GGUF" + struct.pack("<IQQ", 3, 0, number) + b"\0" * 40, "settings, and has room for 3"),
        (lambda number: file_of((struct.pack("<Q", number) + b"\0" * 64,)), "65536 are read at most"),
        (lambda number: file_of((setting("x", 8, struct.pack("<Q", number)),)), "it ends inside the setting 'x'"),
        (lambda number: file_of((setting("x", 9, array(0, number)),)), "entries of 'x', and has room for"),
        (lambda number: file_of((setting("x", 9, array(8, number)),)), "entries of 'x', and has room for"),
        (lambda number: file_of((setting("x", 9, array(8, 1, struct.pack("<Q", number))),)), "ends inside"),
        (lambda number: file_of((setting("x", 9, array(9, 1, array(9, number))),)), "array of the type 9"),
        (lambda number: file_of((), (tensor("x", (number,)),)), "would end at byte"),
        (lambda number: file_of((), (tensor("x", (number, number, number, number)),)), "would end at byte"),
        (lambda number: file_of((), (tensor("x", (4,), offset=number),)), "would end at byte"),
        (
            lambda number: file_of((), (text("x") + struct.pack("<I", number % (1 << 32)) + b"\0" * 64,)),
            "1 to 4 can be read",
        ),
    ],
)
def test_huge_numbers_are_refused_at_once(content: object, told: str, number: int, tmp_path: Path) -> None:
    assert callable(content)
    begun = time.process_time()
    with pytest.raises(ValueError, match=told):
        read(tmp_path / "m.gguf", content(number))
    assert time.process_time() - begun < 1


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "it is empty"),
        (b"GGU", "it ends inside its beginning"),
        (file_of(version=1), "of version 1; 2 and 3"),
        (file_of((SETTINGS[0], SETTINGS[0])), "'general.architecture' is there twice"),
        (file_of((), (TENSORS[0], TENSORS[0]), weights=64), "'a' is there twice"),
        (file_of((setting("x", 13, b"\0" * 8),)), "of the type 13"),
        (file_of((setting("x", 6, struct.pack("<f", float("nan"))),)), "'x' is nan"),
        (file_of((setting("x", 8, struct.pack("<Q", 1) + b"\xff"),)), "'x' is not UTF-8"),
        (file_of((setting("general.alignment", 4, struct.pack("<I", 0)),)), "is 0, no power of two"),
        (file_of((setting("general.alignment", 8, text("x")),)), "is x, no power of two"),
        (file_of((), (tensor("x", (0, 4)),)), "has the sizes"),
        (file_of((), (tensor("x", (33,), kind=8),), weights=64), "in blocks of 32 values"),
        (file_of((), (tensor("x", (4,), kind=77),), weights=64), "of the type 77"),
    ],
)
def test_what_is_no_header(content: bytes, told: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=told):
        read(tmp_path / "m.gguf", content)


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    whole = file_of(SETTINGS, TENSORS, weights=64 + 4 * 34)
    for length in range(len(whole)):
        with pytest.raises(ValueError, match=r"it is empty|it ends inside|has room for|would end at"):
            read(tmp_path / "m.gguf", whole[:length])


def test_more_entries_than_models_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all arrays together, whose entries the libraries read one by one."""
    monkeypatch.setattr("compress.methods.teachers.gguf_header.MOST_ENTRIES", 5)
    read(tmp_path / "m.gguf", file_of(SETTINGS))
    monkeypatch.setattr("compress.methods.teachers.gguf_header.MOST_ENTRIES", 4)
    with pytest.raises(ValueError, match=r"2 entries of 'tokenizer\.ggml\.token_type'; 1 are read at most"):
        read(tmp_path / "m.gguf", file_of(SETTINGS))
