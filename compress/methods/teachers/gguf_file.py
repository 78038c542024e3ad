"""Models in llama.cpp's form, GGUF: what its integers stand for, as a folder of Transformers in FP32."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from compress.core.errors import InputError
from compress.methods.teachers.gguf_header import GgufHeader, read_gguf_header
from compress.methods.teachers.gguf_sizes import ARCHITECTURES, GgufSizes, gguf_sizes
from compress.tasks.text import refused_as

SUFFIX = ".gguf"
ELSEWHERE = "Give the folder of the model that it was made from."
# A head that has no weights of its own reads those of the embeddings.
OPTIONAL = frozenset({"output.weight"})


def write_plain(path: Path, target: Path) -> None:
    """Write into the folder `target` the model and the tokenizer of the file `path`: minutes, for a large one.

    Raises InputError where the package `gguf` is not installed, the file is damaged, or its architecture is another.
    """
    if find_spec("gguf") is None:
        raise InputError(
            f"model.path is {path}, and reading GGUF needs the package gguf, which is not installed. Install it "
            "(pip install 'compress[gguf]')."
        )
    header = _described(path)
    architecture = header.settings.get("general.architecture")
    if architecture not in ARCHITECTURES:
        raise InputError(
            f"model.path is {path}, a GGUF file of the architecture {str(architecture)[:60]!r}; "
            f"{', '.join(ARCHITECTURES)} can be read. {ELSEWHERE}"
        )
    try:
        sizes = gguf_sizes(header, architecture)
    except ValueError as error:
        raise InputError(f"model.path is {path}, which cannot be read ({error}). {ELSEWHERE}") from error
    _require_whole(path, header, sizes)
    # A file from elsewhere can fail anywhere in the libraries.
    with refused_as(f"model.path is {path}, which Transformers cannot load", "Copy it again."):
        _convert(path, target, sizes.head)


def _described(path: Path) -> GgufHeader:
    """What the file says of itself. Raises InputError where it is damaged."""
    from gguf.constants import GGML_QUANT_SIZES

    try:
        return read_gguf_header(path, {int(kind): sizes for kind, sizes in GGML_QUANT_SIZES.items()})
    except (OSError, ValueError) as error:
        raise InputError(f"model.path is {path}, which is damaged or incomplete ({error}). Copy it again.") from error


def _require_whole(path: Path, header: GgufHeader, sizes: GgufSizes) -> None:
    """Raise InputError unless the file holds every tensor of a model of these sizes, and no other.

    Transformers makes a model of the sizes that it is told, draws the weights that it does not find, and leaves out
    those that it does not know.
    """
    for name in sorted(header.tensors.keys() | sizes.tensors.keys()):
        found, wanted = header.tensors.get(name), sizes.tensors.get(name)
        if found is None and name not in OPTIONAL:
            raise InputError(
                f"model.path is {path}, whose settings are those of a model with {name}, and it has no such tensor. "
                "Copy it again."
            )
        if found is not None and wanted is None:
            raise InputError(
                f"model.path is {path}, which has the tensor {name[:60]!r}, and Transformers would leave it out. "
                f"{ELSEWHERE}"
            )
        if found is not None and found != wanted:
            raise InputError(
                f"model.path is {path}, whose tensor {name} has the sizes {found}, where its settings ask for "
                f"{wanted}. Copy it again."
            )


def _convert(path: Path, target: Path, head_size: int) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    given = {"gguf_file": path.name, "local_files_only": True, "trust_remote_code": False}
    tokenizer = AutoTokenizer.from_pretrained(path.parent, **given)
    config = AutoConfig.from_pretrained(path.parent, **given)
    if hasattr(config, "head_dim"):
        # Transformers does not read it, and takes that of most models of the architecture.
        config.head_dim = head_size
    model: Any = AutoModelForCausalLM.from_pretrained(path.parent, config=config, dtype=torch.float32, **given)
    # Or it would not be saved: Transformers takes it for quantized still.
    model.hf_quantizer, model.is_quantized = None, False
    vars(model.config).pop("quantization_config", None)
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
