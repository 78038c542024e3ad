"""A model as a folder: `config.json`, `model.safetensors`, `structure.json`. Loading is strict or it fails."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel

from compress.core.checks import nearest
from compress.core.content import require_all_inside, require_inside
from compress.core.errors import InputError
from compress.core.json_file import read_json
from compress.core.manifest import MANIFEST, require_undamaged
from compress.core.structure import Structure
from compress.nn.family import UnknownFamilyError, known_families, require_known_form
from compress.nn.layers import KINDS
from compress.nn.sentence_encoder import SentenceEncoder, has_readout
from compress.nn.settings import (
    require_countable,
    require_dense,
    require_no_adapter,
    require_usable,
    unread_settings,
)
from compress.nn.structure import apply_structure, plain_form, structure_of
from compress.nn.weights import (
    FLOATING,
    MADE,
    WEIGHTS,
    Header,
    differences,
    read_headers,
    require_floating,
    some,
    weight_files,
)

STRUCTURE = "structure.json"
HALF = ("F16", "BF16")


def save_model(model: PreTrainedModel, folder: Path) -> Structure:
    """Write the model's three files into an existing folder, and return its Structure.

    Where modules were replaced by kinds that a plain loader does not know, an empty tensor is stored under each
    original weight's name. A plain `from_pretrained` then stops at the shape mismatch; without it, it would warn that
    weights are missing and go on with random ones.
    """
    structure = structure_of(model)
    shared = shared_weights(model)
    stored = {name: tensor for name, tensor in model.state_dict().items() if name not in shared}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in stored.items()}
    for name in _replaced_weights(plain_form(model), structure) - shared.keys():
        tensors.setdefault(name, torch.empty(0))
    model.config.architectures = [type(model).__name__]
    model.config.dtype = torch.float32
    model.config.save_pretrained(folder)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / STRUCTURE).write_text(json.dumps(structure.to_json(), indent=1), encoding="utf-8")
    return structure


def shared_weights(model: PreTrainedModel) -> dict[str, str]:
    """Weights that are another's, such as a head's that are the embeddings': its name, and the name that it is stored
    by, the first. A folder holds each once, as those that Transformers writes do."""
    first: dict[int, str] = {}
    found = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        source = first.setdefault(id(parameter), name)
        if source != name:
            found[name] = source
    return found


def settle(model: PreTrainedModel) -> PreTrainedModel:
    """The same model on the CPU, in evaluation mode, every tensor in memory of its own that torch has aligned.

    A loader may leave tensors where the file was mapped. Matrix products then take another path and differ in the last
    bit from those of the very same weights loaded again.
    """
    model = model.cpu().eval()
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)
    return model


def load_model(folder: Path, *, verify: bool = False) -> PreTrainedModel:
    """The model of a folder that `save_model` wrote, in FP32 and evaluation mode.

    verify: whether its files are first compared with its manifest, where there is one. Raises InputError where anything
    is missing, left over, damaged or of the wrong shape: all of that is compared with the header of the weights before
    any memory is taken for them.
    """
    if verify and (folder / MANIFEST).exists():
        require_undamaged(folder)
    headers = check_checkpoint(folder)
    config, structure = read_config(folder), read_structure(folder)
    with torch.device("meta"):
        _, replaced = _edited_model(config, folder, structure, headers)
    model, _ = _edited_model(config, folder, structure, headers)
    tensors = {name: tensor for name, tensor in read_tensors(folder).items() if name not in replaced}
    tensors |= {name: tensors[source] for name, source in shared_weights(model).items()}
    # Copied, not assigned: torch aligns its own memory, and results are then the same bit for bit in every process.
    model.load_state_dict(tensors, strict=True)
    require_finite(model, folder)
    return model.eval()


def load_shapes(folder: Path, setting: str = "model.path") -> tuple[PreTrainedModel, int]:
    """The model of a folder with all its shapes and no weights, on torch's device `meta`, and the bits of its stored
    floating-point weights: 16 or 32.

    Nothing but headers is read, and no memory is taken, so the model may be larger than that. setting: which names the
    folder, one that `save_model` or `save_pretrained` wrote. Raises InputError as `load_model`.
    """
    headers = check_checkpoint(folder, setting)
    config, structure = read_config(folder, setting), read_structure(folder)
    sizes = {name: math.prod(found.shape) for name, found in headers.items() if found.dtype in FLOATING}
    halves = sum(size for name, size in sizes.items() if headers[name].dtype in HALF)
    bits = 16 if 2 * halves > sum(sizes.values()) else 32
    with torch.device("meta"):
        if (folder / STRUCTURE).exists():
            model, _ = _edited_model(config, folder, structure, headers)
            return model.eval(), bits
        model = _empty_model(config, folder)
    found = {name: Header("F32", header.shape) for name, header in headers.items() if not MADE.search(name)}
    shared = shared_weights(model)
    expected = {name: tensor for name, tensor in model.state_dict().items() if name not in shared}
    problems = differences(expected, {name: header for name, header in found.items() if name not in shared})
    if problems:
        raise InputError(f"{folder} does not fit its own config.json: {problems}. Save the model again.")
    return model.eval(), bits


def _edited_model(
    config: PretrainedConfig, folder: Path, structure: Structure, headers: Mapping[str, Header]
) -> tuple[PreTrainedModel, set[str]]:
    """A model of these shapes, and the names of what is stored for plain loaders to stop at."""
    model = _empty_model(config, folder)
    replaced = _replaced_weights(model, structure)
    apply_structure(model, structure)
    expected = model.state_dict()
    for name in shared_weights(model):
        del expected[name]
    replaced -= expected.keys()
    problems = differences(expected, {name: found for name, found in headers.items() if name not in replaced})
    if problems:
        raise InputError(f"{folder} does not fit its own structure.json: {problems}. Export the model again.")
    return model, replaced


def _replaced_weights(plain: PreTrainedModel, structure: Structure) -> set[str]:
    """Names of the plain model's weights that lie in modules of kinds which a plain loader does not know."""
    paths = tuple(f"{path}." for path, edit in structure.edits.items() if not KINDS[edit.kind].plain_keys)
    return {name for name in plain.state_dict() if name.endswith(".weight") and name.startswith(paths)}


def read_config(folder: Path, setting: str = "model.path") -> PretrainedConfig:
    """`config.json`, of a supported family. setting: which names the folder. Raises InputError, also for what would run
    code or be dropped."""
    raw = _raw_config(folder)
    require_dense(raw, folder, setting)
    # Before Transformers reads it, which answers a type that it does not know with a page of advice.
    if str(raw["model_type"]) not in known_families():
        raise UnknownFamilyError(str(raw["model_type"]), setting)
    require_usable(raw, folder)
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        # The library checks types here and there, and a file from elsewhere may have any.
        raise InputError(
            f"{folder}: config.json is refused by Transformers ({error}). Save the model again."
        ) from error
    require_known_form(config, f"{folder}: config.json")
    for name in config.architectures or ():
        architecture_of(config, name)
    return config


def doubts_about(folder: Path) -> list[str]:
    """A sentence about the settings in `config.json` that the library knows nothing of, where there are any."""
    unread = unread_settings(_raw_config(folder))
    told = "config.json sets what the library does not read, so it has no effect here"
    return [f"{folder}: {told}: {some(unread)}"] if unread else []


def _raw_config(folder: Path) -> dict[str, Any]:
    require_inside(folder, folder / "config.json")
    raw = read_json(folder / "config.json", object, way_out="Save the model again.")
    if not isinstance(raw, dict) or "model_type" not in raw:
        raise InputError(f"{folder}: config.json names no model_type. Save it with Transformers' save_pretrained.")
    return raw


def read_structure(folder: Path) -> Structure:
    """`structure.json`, or an empty Structure where there is none."""
    path = folder / STRUCTURE
    if not path.exists():
        return Structure()
    require_inside(folder, path)
    return Structure.from_json(read_json(path, way_out="Export the model again."))


def check_checkpoint(folder: Path, setting: str = "model.path") -> dict[str, Header]:
    """What the headers of the weights say. Raises InputError unless `folder`, the value of `setting`, is a checkpoint
    of safetensors, all in that folder, whose configuration asks for no more layers than there are weights."""
    if not folder.exists():
        siblings = (path.name for path in folder.parent.iterdir()) if folder.parent.is_dir() else ()
        hint = nearest(folder.name, siblings) or "Give the folder of a saved model."
        raise InputError(f"{setting} is {folder}, which does not exist. {hint}")
    if not folder.is_dir():
        raise InputError(f"{setting} is {folder}, a file. Give the folder that holds config.json and the weights.")
    require_no_adapter(folder)
    found = sorted(path.name for path in folder.iterdir())
    if "config.json" not in found:
        raise InputError(
            f"{setting} is {folder}, no checkpoint: it has no config.json (found: {some(found)}). "
            "Give a folder that save_pretrained wrote."
        )
    require_all_inside(folder)
    headers = read_headers(folder, setting)
    if not (folder / STRUCTURE).exists():
        require_floating(headers, folder)
    require_countable(_raw_config(folder), folder, tensors=len(headers))
    return headers


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint, by name."""
    tensors: dict[str, Tensor] = {}
    for path in weight_files(folder):
        tensors.update(load_file(path))
    return tensors


def require_finite(model: PreTrainedModel, folder: Path) -> None:
    """Raise InputError where a weight is NaN or infinite."""
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise InputError(f"{folder}: the weight {name} has values that are not finite. Copy or train it again.")


def _empty_model(config: PretrainedConfig, folder: Path) -> PreTrainedModel:
    architecture = architecture_of(config, str((config.architectures or [""])[0]))
    try:
        return architecture._from_config(config, dtype=torch.float32)
    except Exception as error:
        # A number from a file can fail anywhere in a model's making.
        raise InputError(
            f"{folder}: no model can be built from config.json ({error!r}). Save the model again."
        ) from error


def architecture_of(config: PretrainedConfig, name: str) -> type[PreTrainedModel]:
    """The library's class of this name. Raises InputError for all but a model class for this very configuration: the
    name comes from a file."""
    if name == SentenceEncoder.__name__ and has_readout(config):
        return SentenceEncoder
    found = getattr(transformers, name, None) if isinstance(name, str) and name.isidentifier() else None
    if not (isinstance(found, type) and issubclass(found, PreTrainedModel) and found.config_class is type(config)):
        raise InputError(
            f"config.json names the architecture {name!r}, no {config.model_type} model of Transformers. Save the "
            "model with a class of the library's own."
        )
    return found
