"""What an exported folder says to whoever serves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.core.content import require_inside
from compress.core.errors import InputError
from compress.core.json_file import read_json
from compress.core.run_files import EXPORT
from compress.core.serving import Serving
from compress.core.signature import BATCH, SEQUENCE, Port, Signature
from compress.deploy.settings import SESSIONS

# The same name as in `core.manifest`, which needs a package more to look at hashes.
MANIFEST = "manifest.json"
TOKENS = tuple(Port(name, (BATCH, SEQUENCE), "int64") for name in ("input_ids", "attention_mask"))
PIXELS = (Port("pixel_values", (BATCH, "channels", "height", "width"), "float32"),)
LABELS = Port("logits", (BATCH, "labels"), "float32")
# What exports are for of which the manifest says the task only, as releases before `serving` wrote it.
EARLIER: Mapping[str, tuple[str, Signature]] = {
    "TextClassification": ("text-classification", Signature(inputs=TOKENS, output=LABELS, mask="attention_mask")),
    "TokenClassification": (
        "token-classification",
        Signature(inputs=TOKENS, output=Port("logits", (BATCH, SEQUENCE, "labels"), "float32"), mask="attention_mask"),
    ),
    "SentenceEmbedding": (
        "sentence-similarity",
        Signature(
            inputs=TOKENS, output=Port("sentence_embedding", (BATCH, "dimensions"), "float32"), mask="attention_mask"
        ),
    ),
    "ImageClassification": ("image-classification", Signature(inputs=PIXELS, output=LABELS, mask=None)),
}


@dataclass(frozen=True, kw_only=True)
class Export:
    """key: of the artifact in it. runtime: its name; runtime_settings, task_settings: the run's own. missing: what a
    release before this one did not write, in sentences."""

    folder: Path
    key: str
    serving: Serving
    runtime: str
    runtime_settings: Mapping[str, Any]
    task_settings: Mapping[str, Any]
    missing: tuple[str, ...]


def read_export(folder: Path) -> Export:
    """What `folder` says. Raises InputError where it is no export, not whole, or not one that can be served.

    Files are compared with the manifest by their size; `compress.load` and `compress-tune` compare every byte.
    """
    manifest = _manifest(folder)
    try:
        facts, key, files = manifest["facts"], str(manifest["key"]), manifest["files"]
        task, runtime = dict(facts["task"]), dict(facts.get("runtime", {"_target_": "OnnxRuntime"}))
        sizes = {str(name): int(entry["bytes"]) for name, entry in files.items()}
        name = _runtime_of(folder, str(runtime["_target_"]))
        serving, missing = _serving(folder, facts, str(task["_target_"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{folder} is no export: its {MANIFEST} is malformed ({error!r}). Export it again.") from error
    _require_sizes(folder, sizes)
    return Export(
        folder=folder,
        key=key,
        serving=serving,
        runtime=name,
        runtime_settings=runtime,
        task_settings=task,
        missing=missing,
    )


def _manifest(folder: Path) -> Mapping[str, Any]:
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder. Give the folder `export` of a finished run.")
    if not (folder / MANIFEST).is_file():
        way_out = "Give the folder `export` of a finished run, copied whole."
        if (folder / EXPORT / MANIFEST).is_file():
            way_out = f"It is a run's folder: give {folder / EXPORT}."
        raise InputError(f"{folder} is no export: it has no {MANIFEST}. {way_out}")
    require_inside(folder, folder / MANIFEST)
    return read_json(folder / MANIFEST, way_out="Copy the export again.")


def _require_sizes(folder: Path, sizes: Mapping[str, int]) -> None:
    for name, size in sizes.items():
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise InputError(f"{folder / MANIFEST} names {name!r}, which leaves its folder. Do not use this export.")
        path = folder / name
        # The checkpoint and what only it needs may be left behind.
        if path.is_file() and path.stat().st_size != size:
            raise InputError(
                f"{folder} is damaged: {name} has {path.stat().st_size} bytes, not {size}. Copy the export again."
            )


def _serving(folder: Path, facts: Mapping[str, Any], target: str) -> tuple[Serving, tuple[str, ...]]:
    if "serving" in facts:
        return Serving.from_json(facts["serving"]), ()
    kind = target.rpartition(".")[2]
    if kind not in EARLIER:
        raise InputError(
            f"{folder} does not say how it is served: its task is {target}, and another release made it. Export it "
            "again."
        )
    tag, signature = EARLIER[kind]
    told = (
        f"{folder} does not say whether answers depend on what else is in a batch: an earlier release made it. One "
        "example is computed at a time; compress-tune measures it."
    )
    return Serving(pipeline_tag=tag, signature=signature, batch_effect=None), (told,)


def _runtime_of(folder: Path, target: str) -> str:
    names = {"OnnxRuntime": "onnxruntime", "OpenVinoRuntime": "openvino"}
    kind = target.rpartition(".")[2]
    if names.get(kind) not in SESSIONS:
        raise InputError(
            f"{folder} was made for {target}, which is not served. Served are exports for ONNX Runtime and OpenVINO: "
            "runtime=onnxruntime; compress.load opens what PyTorch runs."
        )
    return names[kind]
