"""The files by which sentence-transformers knows how a folder's encoder makes vectors: read, and written again."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModel

from compress.core.checks import require_choice
from compress.core.content import require_inside
from compress.core.errors import InputError
from compress.core.json_file import read_json
from compress.nn.checkpoint import read_config, read_tensors
from compress.nn.sentence_encoder import (
    ACTIVATIONS,
    FIELD,
    POOLINGS,
    Readout,
    SentenceEncoder,
    encoder_class,
    without_pooler,
)
from compress.tasks.heads import require_all_read

MODULES, ENCODER, WHOLE = "modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"
NO_DENSE_LAYER: Mapping[str, Any] = {"dimensions": 0, "bias": False, "activation": "identity"}
# How earlier releases say which pooling it is: one of these is true.
FLAGS: Mapping[str, str] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
TORCH_ACTIVATIONS: Mapping[str, str] = {"Identity": "identity", "Tanh": "tanh"}
CLASSES: Mapping[str, str] = {
    "Transformer": "sentence_transformers.models.Transformer",
    "Pooling": "sentence_transformers.models.Pooling",
    "Dense": "sentence_transformers.models.Dense",
    "Normalize": "sentence_transformers.models.Normalize",
}


@dataclass(frozen=True, kw_only=True)
class SentenceFolder:
    """What a folder says of its vectors.

    dense: the folder of the dense layer, or None. max_length: the longest input in tokens, or None where the tokenizer
    decides. lower_case: whether texts are made lower case first.
    """

    readout: Readout
    dense: Path | None
    max_length: int | None
    lower_case: bool


def load_encoder(folder: Path, pooling: str | None) -> SentenceEncoder:
    """The encoder of `folder` with its readout, all of it from there, in FP32 and evaluation mode.

    pooling: as of `read_folder`. Raises InputError where weights are missing.
    """
    said = read_folder(folder, pooling)
    encoder, loading = AutoModel.from_pretrained(
        folder,
        dtype=torch.float32,
        local_files_only=True,
        trust_remote_code=False,
        output_loading_info=True,
        **without_pooler(encoder_class(read_config(folder))),
    )
    missing = ", ".join(sorted(loading["missing_keys"])[:4])
    if missing:
        raise InputError(
            f"model.path is {folder}, whose weights are incomplete (missing: {missing}). Copy or save it again."
        )
    require_all_read(folder, loading["unexpected_keys"])
    if said.dense is not None:
        # Before memory is taken for as many as the settings say.
        weights, width = _dense_weights(said.dense), int(encoder.config.hidden_size)
        wanted: dict[str, tuple[int, ...]] = {"weight": (said.readout.dimensions, width)}
        wanted |= {"bias": (said.readout.dimensions,)} if said.readout.bias else {}
        if {name: tuple(value.shape) for name, value in weights.items()} != wanted:
            raise InputError(
                f"{said.dense} has weights of other shapes than its config.json, or than the encoder, says. Save the "
                "model again."
            )
    model = SentenceEncoder(with_readout(encoder.config, said.readout))
    model.encoder.load_state_dict(encoder.state_dict())
    if model.dense is not None:
        model.dense.load_state_dict(weights)
    return model.eval()


def with_readout(config: Any, readout: Readout) -> Any:
    """A copy of an encoder's configuration that says how its vectors are made."""
    config = copy.deepcopy(config)
    setattr(config, FIELD, readout.to_json())
    return config


def save_sentence_folder(folder: Path, *, max_length: int) -> None:
    """Write what sentence-transformers reads beside the encoder that `save_model` wrote into `folder`."""
    config = read_config(folder)
    readout = Readout.of(config)
    write_folder(folder, readout, max_length=max_length, width=int(config.hidden_size))
    if readout.dimensions:
        found = read_tensors(folder)
        weights = {name.replace("dense.", "linear."): found[name] for name in found if name.startswith("dense.")}
        save_file(weights, folder / "2_Dense" / "model.safetensors")


def read_folder(folder: Path, pooling: str | None) -> SentenceFolder:
    """What `folder` says. pooling: what the user says, for a plain encoder. Raises InputError where neither or both
    say it, and for what is not supported, by name."""
    if pooling is not None:
        require_choice("model.pooling", pooling, POOLINGS)
    if not (folder / MODULES).is_file():
        if pooling is None:
            others = ", ".join(name for name in POOLINGS if name != "mean")
            raise InputError(
                f"model.path is {folder}, a plain encoder: it has no {MODULES}, which says how one vector is made of "
                f"its tokens'. Say it: model.pooling=mean (or {others})."
            )
        readout = Readout(pooling=pooling, normalize=True, prompts={}, **NO_DENSE_LAYER)
        return SentenceFolder(readout=readout, dense=None, max_length=None, lower_case=False)
    kinds, paths = _modules(folder)
    found = _pooling(folder, _settings(folder, paths[1] / "config.json"))
    if pooling is not None and pooling != found:
        raise InputError(
            f"model.pooling is {pooling}, and model.path is {folder}, whose {MODULES} says {found}: its vectors would "
            "be others. Use model.pooling=null."
        )
    dense = _dense(folder, _settings(folder, paths[2] / "config.json")) if "Dense" in kinds else NO_DENSE_LAYER
    own, whole = (_settings(folder, folder / name) if (folder / name).exists() else {} for name in (ENCODER, WHOLE))
    given, length = whole.get("prompts") or {}, own.get("max_seq_length")
    if not isinstance(given, dict):
        raise InputError(f"{folder / WHOLE} has prompts that are no names with texts ({given!r:.60}). Save it again.")
    if length is not None and (not isinstance(length, int) or length < 1):
        raise InputError(f"{folder / ENCODER} sets max_seq_length to {length!r:.60}, no length. Use null, or a number.")
    prompts = {str(name): str(prompt) for name, prompt in given.items()}
    _require_no_usual_prompt(folder, whole, prompts)
    return SentenceFolder(
        readout=Readout(pooling=found, normalize="Normalize" in kinds, prompts=prompts, **dense),
        dense=paths[2] if "Dense" in kinds else None,
        max_length=length,
        lower_case=bool(own.get("do_lower_case")),
    )


def write_folder(folder: Path, readout: Readout, *, max_length: int, width: int) -> None:
    """Write the files beside an encoder in `folder`, without the weights of a dense layer. width: of the encoder.

    They are written as releases from 2 on read them.
    """
    parts = [("Transformer", ""), ("Pooling", "1_Pooling")]
    parts += [("Dense", "2_Dense")] if readout.dimensions else []
    parts += [("Normalize", f"{len(parts)}_Normalize")] if readout.normalize else []
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": CLASSES[kind]}
        for number, (kind, path) in enumerate(parts)
    ]
    for kind, path in parts:
        if kind in ("Pooling", "Dense"):
            (folder / path).mkdir()
    _write(folder / MODULES, modules)
    flags = {flag: pooling == readout.pooling for flag, pooling in FLAGS.items()}
    _write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": width, **flags, "include_prompt": True})
    if readout.dimensions:
        name = next(torch for torch, ours in TORCH_ACTIVATIONS.items() if ours == readout.activation)
        _write(
            folder / "2_Dense" / "config.json",
            {
                "in_features": width,
                "out_features": readout.dimensions,
                "bias": readout.bias,
                "activation_function": f"torch.nn.modules.{'linear' if name == 'Identity' else 'activation'}.{name}",
            },
        )
    _write(folder / ENCODER, {"max_seq_length": max_length, "do_lower_case": False})
    _write(
        folder / WHOLE,
        {"prompts": dict(readout.prompts), "default_prompt_name": None, "similarity_fn_name": "cosine"},
    )


def _settings(folder: Path, path: Path, top: type = dict) -> Any:
    """What a file of `folder` says. Raises InputError where it lies elsewhere, too."""
    if path.exists():
        require_inside(folder, path)
    return read_json(path, top, way_out="Copy or save the model again.")


def _modules(folder: Path) -> tuple[Sequence[str], Sequence[Path]]:
    """The names of the classes and the folders of the modules, in order."""
    try:
        found = _settings(folder, folder / MODULES, list)
        entries = [(str(entry["type"]).rpartition(".")[2], str(entry["path"])) for entry in found]
    except (KeyError, TypeError) as error:
        raise InputError(f"{folder / MODULES} is malformed ({error!r}). Copy or save the model again.") from error
    kinds = [kind for kind, _ in entries]
    if kinds not in (
        ["Transformer", "Pooling"],
        ["Transformer", "Pooling", "Normalize"],
        ["Transformer", "Pooling", "Dense"],
        ["Transformer", "Pooling", "Dense", "Normalize"],
    ):
        raise InputError(
            f"model.path is {folder}, whose {MODULES} names {', '.join(kinds) or 'nothing'}; supported are "
            "Transformer, Pooling, then perhaps Dense, then perhaps Normalize, in this order."
        )
    if entries[0][1]:
        raise InputError(
            f"model.path is {folder}, whose encoder lies in a folder of its own, {entries[0][1]!r}. Load it with "
            "sentence-transformers and save it again: SentenceTransformer(DIR).save(OTHER)."
        )
    for _, path in entries[1:]:
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise InputError(f"{folder / MODULES} names {path!r}, which leaves its folder. Do not use this model.")
    return kinds, [folder / path for _, path in entries]


def _pooling(folder: Path, settings: Mapping[str, Any]) -> str:
    """The pooling by its name, as either form of the file says it."""
    given = settings.get("pooling_mode")
    asked = [str(name) for name in given] if isinstance(given, list) else [] if given is None else [str(given)]
    asked = asked or [name for flag, name in FLAGS.items() if settings.get(flag)]
    if len(asked) != 1 or asked[0] not in POOLINGS:
        raise InputError(
            f"model.path is {folder}, whose pooling is {' and '.join(asked) or 'not named'}; supported is one of "
            f"{', '.join(POOLINGS)}."
        )
    if settings.get("include_prompt", True) is not True:
        raise InputError(
            f"model.path is {folder}, which leaves a prompt's tokens out of its pooling (include_prompt); that is not "
            "supported, because an exported graph does not know which they are."
        )
    return asked[0]


def _require_no_usual_prompt(folder: Path, whole: Mapping[str, Any], prompts: Mapping[str, str]) -> None:
    usual = whole.get("default_prompt_name")
    if usual is not None and prompts.get(str(usual)):
        raise InputError(
            f"model.path is {folder}, whose {WHOLE} puts the prompt {usual!r} before every text; only prompts for "
            "queries and documents are supported. Set default_prompt_name to null there, and name the prompts so."
        )


def _dense(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    name = str(settings.get("activation_function")).rpartition(".")[2]
    if name not in TORCH_ACTIVATIONS or TORCH_ACTIVATIONS[name] not in ACTIVATIONS:
        raise InputError(
            f"model.path is {folder}, whose dense layer has the activation {name}; supported are "
            f"{', '.join(TORCH_ACTIVATIONS)}."
        )
    width = settings.get("out_features")
    if not isinstance(width, int) or isinstance(width, bool) or width < 1:
        raise InputError(f"model.path is {folder}, whose dense layer has {width!r:.60} for out_features, no width.")
    return {
        "dimensions": width,
        "bias": bool(settings.get("bias", True)),
        "activation": TORCH_ACTIVATIONS[name],
    }


def _dense_weights(folder: Path) -> dict[str, Tensor]:
    path = folder / "model.safetensors"
    if not path.is_file():
        raise InputError(f"{folder} has no model.safetensors, the weights of a dense layer. Save the model again.")
    require_inside(folder.parent, path)
    return {name.removeprefix("linear."): value for name, value in load_file(path).items()}


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
