"""The weights of a checkpoint, as their files' headers tell them: looked at before any memory is taken for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from compress.core.content import INDEX, indexed_files, require_inside
from compress.core.errors import InputError

WEIGHTS = "model.safetensors"
DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
FLOATING = ("F64", "F32", "F16", "BF16")
# `tf_model.h5` and its parts, and the two files of `model.ckpt`.
OF_TENSORFLOW = re.compile(r"^tf_model.*\.h5$|\.ckpt(-\d+)?\.(index|meta|data-\d+-of-\d+)$")
# What releases have stored besides weights: numbers of positions and the like, which a model makes itself.
MADE = re.compile(r"(^|\.)(position_ids|token_type_ids|inv_freq|num_batches_tracked)$")


@dataclass(frozen=True)
class Header:
    """One tensor of a file. dtype: as safetensors names it."""

    dtype: str
    shape: tuple[int, ...]


def weight_files(folder: Path, setting: str = "model.path") -> list[Path]:
    """The safetensors files of a checkpoint. Raises InputError for pickles, and for files outside the folder."""
    if (folder / WEIGHTS).is_file():
        require_inside(folder, folder / WEIGHTS)
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        return indexed_files(folder)
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in {".bin", ".pt", ".pth", ".ckpt"})
    if pickles:
        raise InputError(
            f"{setting} is {folder}, whose weights are a pickle ({some(pickles)}); pickles can run code and are not "
            "read. Where you trust it: AutoModelForSequenceClassification.from_pretrained(DIR).save_pretrained(OTHER)."
        )
    others = sorted(path.name for path in folder.iterdir() if OF_TENSORFLOW.search(path.name))
    if others:
        raise InputError(
            f"{setting} is {folder}, whose weights are TensorFlow's ({some(others)}), and Transformers 5 reads none. "
            "Convert them once, in an environment with transformers 4 (pip install 'transformers<5' torch tensorflow "
            "tf-keras): AutoModelForSequenceClassification.from_pretrained(DIR, from_tf=True).save_pretrained(OTHER)."
        )
    raise InputError(f"{setting} is {folder}, no checkpoint: it has no {WEIGHTS}. Save it with save_pretrained.")


def read_headers(folder: Path, setting: str = "model.path") -> dict[str, Header]:
    """Type and shape of every tensor of a checkpoint, by name. Raises InputError for a file that cannot be read, and
    for a tensor that two files hold."""
    found: dict[str, Header] = {}
    for path in weight_files(folder, setting):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - no mapping
                    part = file.get_slice(name)
                    if name in found:
                        raise InputError(f"{path} holds {name}, as another file of {folder} does. Save it again.")
                    found[name] = Header(part.get_dtype(), tuple(part.get_shape()))
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path} is damaged or incomplete ({error}). Copy or save the model again.") from error
    return found


def require_floating(headers: Mapping[str, Header], folder: Path) -> None:
    """Raise InputError where weights of a plain model are integers: a loader would take their values for weights."""
    other = sorted(name for name, found in headers.items() if found.dtype not in FLOATING and not MADE.search(name))
    if other:
        raise InputError(
            f"{folder} has weights of type {headers[other[0]].dtype} ({some(other)}), which are not what they stand "
            "for. Give the model as it was before it was quantized, in floating point."
        )


def differences(expected: Mapping[str, Tensor], found: Mapping[str, Header]) -> str:
    """What tells a file's tensors from those that a model has, in words; "" where nothing does."""
    missing = sorted(expected.keys() - found.keys())
    surplus = sorted(found.keys() - expected.keys())
    reshaped = sorted(
        name
        for name in expected.keys() & found.keys()
        if expected[name].shape != found[name].shape or expected[name].dtype != DTYPES.get(found[name].dtype)
    )
    named = (("missing", missing), ("not expected", surplus), ("of another shape or type", reshaped))
    return "; ".join(f"{word}: {some(names)}" for word, names in named if names)


def some(names: list[str]) -> str:
    """The first few names."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") if names else "nothing"
