"""A model as a folder: `config.json`, `model.safetensors`, `structure.json`. Loading is strict or it fails."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel

from compress.core.checks import nearest
from compress.core.errors import InputError
from compress.core.structure import Structure
from compress.nn.family import family_of_type, require_known_form
from compress.nn.layers import KINDS
from compress.nn.sentence_encoder import FIELD, SentenceEncoder
from compress.nn.structure import apply_structure, plain_form, structure_of

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
STRUCTURE = "structure.json"


def save_model(model: PreTrainedModel, folder: Path) -> Structure:
    """Write the model's three files into an existing folder, and return its Structure.

    Where modules were replaced by kinds that a plain loader does not know, an empty tensor is stored under each
    original weight's name. A plain `from_pretrained` then stops at the shape mismatch; without it, it would warn that
    weights are missing and go on with random ones.
    """
    structure = structure_of(model)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    for name in _replaced_weights(plain_form(model), structure):
        tensors.setdefault(name, torch.empty(0))
    model.config.architectures = [type(model).__name__]
    model.config.dtype = torch.float32
    model.config.save_pretrained(folder)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / STRUCTURE).write_text(json.dumps(structure.to_json(), indent=1), encoding="utf-8")
    return structure


def settle(model: PreTrainedModel) -> PreTrainedModel:
    """The same model on the CPU, in evaluation mode, every tensor in memory of its own that torch has aligned.

    A loader may leave tensors where the file was mapped. Matrix products then take another path and differ in the last
    bit from those of the very same weights loaded again.
    """
    model = model.cpu().eval()
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)
    return model


def load_model(folder: Path) -> PreTrainedModel:
    """The model of a folder that `save_model` wrote, in FP32 and evaluation mode.

    Raises InputError where anything is missing, left over, damaged or of the wrong shape.
    """
    check_checkpoint(folder)
    config = read_config(folder)
    model = _empty_model(config, folder)
    structure = read_structure(folder)
    replaced = _replaced_weights(model, structure)
    apply_structure(model, structure)
    tensors = read_tensors(folder)
    expected = model.state_dict()
    for name in replaced - expected.keys():
        tensors.pop(name, None)
    problems = _differences(expected, tensors)
    if problems:
        raise InputError(f"{folder} does not fit its own structure.json: {problems}. Export the model again.")
    # Copied, not assigned: torch aligns its own memory, and results are then the same bit for bit in every process.
    model.load_state_dict(tensors, strict=True)
    require_finite(model, folder)
    return model.eval()


def _replaced_weights(plain: PreTrainedModel, structure: Structure) -> set[str]:
    """Names of the plain model's weights that lie in modules of kinds which a plain loader does not know."""
    paths = tuple(f"{path}." for path, edit in structure.edits.items() if not KINDS[edit.kind].plain_keys)
    return {name for name in plain.state_dict() if name.endswith(".weight") and name.startswith(paths)}


def read_config(folder: Path) -> PretrainedConfig:
    """`config.json`, of a supported family. Raises InputError."""
    try:
        raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: config.json cannot be read ({error}). Save the model again.") from error
    if not isinstance(raw, dict) or "model_type" not in raw:
        raise InputError(f"{folder}: config.json names no model_type. Save it with Transformers' save_pretrained.")
    # Before Transformers reads it, which answers a type that it does not know with a page of advice.
    family_of_type(str(raw["model_type"]))
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ValueError, KeyError, TypeError, OSError, StrictDataclassError) as error:
        raise InputError(
            f"{folder}: config.json is refused by Transformers ({error}). Save the model again."
        ) from error
    require_known_form(config, f"{folder}: config.json")
    return config


def read_structure(folder: Path) -> Structure:
    """`structure.json`, or an empty Structure where there is none."""
    path = folder / STRUCTURE
    if not path.exists():
        return Structure()
    try:
        return Structure.from_json(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}). Export the model again.") from error


def check_checkpoint(folder: Path, setting: str = "model.path") -> None:
    """Raise InputError unless `folder`, the value of `setting`, is a checkpoint whose safetensors can be opened."""
    if not folder.exists():
        siblings = (path.name for path in folder.parent.iterdir()) if folder.parent.is_dir() else ()
        hint = nearest(folder.name, siblings) or "Give the folder of a saved model."
        raise InputError(f"{setting} is {folder}, which does not exist. {hint}")
    if not folder.is_dir():
        raise InputError(f"{setting} is {folder}, a file. Give the folder that holds config.json and the weights.")
    found = sorted(path.name for path in folder.iterdir())
    if "config.json" not in found:
        raise InputError(
            f"{setting} is {folder}, no checkpoint: it has no config.json (found: {_some(found)}). "
            "Give a folder that save_pretrained wrote."
        )
    for path in weight_files(folder, setting):
        try:
            with safe_open(path, framework="pt") as file:
                file.keys()
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path} is damaged or incomplete ({error}). Copy or save the model again.") from error


def weight_files(folder: Path, setting: str = "model.path") -> list[Path]:
    """The safetensors files of a checkpoint. Raises InputError for pickles, and for names that leave the folder."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        return [_inside(folder, name) for name in _indexed_names(folder / INDEX)]
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in {".bin", ".pt", ".pth", ".ckpt"})
    if pickles:
        raise InputError(
            f"{setting} is {folder}, whose weights are a pickle ({_some(pickles)}); pickles can run code and are not "
            "read. Where you trust it: AutoModelForSequenceClassification.from_pretrained(DIR).save_pretrained(OTHER)."
        )
    raise InputError(f"{setting} is {folder}, no checkpoint: it has no {WEIGHTS}. Save it with save_pretrained.")


def _indexed_names(index: Path) -> list[str]:
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{index} is malformed ({error!r}). Save the model again.") from error
    return names


def _inside(folder: Path, name: object) -> Path:
    if not isinstance(name, str) or Path(name).is_absolute() or ".." in Path(name).parts:
        raise InputError(f"{folder / INDEX} names {name!r}, which leaves its folder. Do not use this checkpoint.")
    path = folder / name
    if not path.is_file():
        raise InputError(f"{folder / INDEX} names {name!r}, which does not exist. Copy the model again.")
    return path


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
    architecture = _architecture(config)
    try:
        return architecture._from_config(config, dtype=torch.float32)
    except (ValueError, KeyError, TypeError, RuntimeError, ZeroDivisionError) as error:
        raise InputError(
            f"{folder}: no model can be built from config.json ({error!r}). Save the model again."
        ) from error


def _architecture(config: PretrainedConfig) -> type[PreTrainedModel]:
    # The name comes from a file: only a model class of the library, for this very configuration, is accepted.
    name = str((config.architectures or [""])[0])
    if name == SentenceEncoder.__name__ and hasattr(config, FIELD):
        return SentenceEncoder
    found = getattr(transformers, name, None) if name.isidentifier() else None
    if not (isinstance(found, type) and issubclass(found, PreTrainedModel) and found.config_class is type(config)):
        raise InputError(f"config.json names the architecture {name!r}, no {config.model_type} model of Transformers.")
    return found


def _differences(expected: dict[str, Tensor], found: dict[str, Tensor]) -> str:
    missing = sorted(expected.keys() - found.keys())
    surplus = sorted(found.keys() - expected.keys())
    reshaped = sorted(
        name
        for name in expected.keys() & found.keys()
        if expected[name].shape != found[name].shape or expected[name].dtype != found[name].dtype
    )
    named = (("missing", missing), ("not expected", surplus), ("of another shape or type", reshaped))
    return "; ".join(f"{word}: {_some(names)}" for word, names in named if names)


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") if names else "nothing"
