"""Models in llama.cpp's form, GGUF: what its integers stand for, as a folder of Transformers in FP32."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from compress.core.errors import InputError
from compress.tasks.text import refused_as

SUFFIX = ".gguf"
MAGIC = b"GGUF"
# As GGUF calls them; Transformers by the same names.
ARCHITECTURES = ("llama", "qwen2", "qwen3")


def write_plain(path: Path, target: Path) -> None:
    """Write into the folder `target` the model and the tokenizer of the file `path`: minutes, for a large one.

    Raises InputError where the package `gguf` is not installed, the file is damaged, or its architecture is another.
    """
    if find_spec("gguf") is None:
        raise InputError(
            f"model.path is {path}, and reading GGUF needs the package gguf, which is not installed. Install it "
            "(pip install 'compress[gguf]')."
        )
    architecture, head_size = _described(path)
    if architecture not in ARCHITECTURES:
        raise InputError(
            f"model.path is {path}, a GGUF file of the architecture {architecture!r}; {', '.join(ARCHITECTURES)} can "
            "be read. Give the folder of the model that it was made from."
        )
    # A file from elsewhere can fail anywhere in the libraries.
    with refused_as(f"model.path is {path}, which Transformers cannot load", "Copy it again."):
        _convert(path, target, head_size)


def _described(path: Path) -> tuple[str, int | None]:
    """The architecture, and the width of a head where the file says it."""
    from gguf import GGUFReader

    damaged = "is damaged or incomplete"
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise InputError(f"model.path is {path}, which {damaged}: it does not begin as GGUF does. Copy it again.")
    try:
        fields = GGUFReader(path).fields
        name = str(fields["general.architecture"].contents())
        width = fields.get(f"{name}.attention.key_length")
        return name, None if width is None else int(width.contents())
    except Exception as error:
        # The reader trusts what it reads, and stumbles somewhere.
        raise InputError(f"model.path is {path}, which {damaged} ({error!r}). Copy it again.") from error


def _convert(path: Path, target: Path, head_size: int | None) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    given = {"gguf_file": path.name, "local_files_only": True, "trust_remote_code": False}
    tokenizer = AutoTokenizer.from_pretrained(path.parent, **given)
    config = AutoConfig.from_pretrained(path.parent, **given)
    if head_size is not None and hasattr(config, "head_dim"):
        # Transformers does not read it, and takes that of most models of the architecture.
        config.head_dim = head_size
    model: Any = AutoModelForCausalLM.from_pretrained(path.parent, config=config, dtype=torch.float32, **given)
    # Or it would not be saved: Transformers takes it for quantized still.
    model.hf_quantizer, model.is_quantized = None, False
    vars(model.config).pop("quantization_config", None)
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
