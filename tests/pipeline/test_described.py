"""What a manifest says of the task and the runtime is read, and nothing that it names is called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compress.core.errors import InputError
from compress.pipeline.described import runtime_of, task_of
from compress.runtimes.onnxruntime.runtime import OnnxRuntime
from compress.runtimes.torch.runtime import TorchRuntime
from compress.tasks.text_classification import TextClassification

FOLDER = Path("export")
TASK = {
    "_target_": "compress.tasks.text_classification.TextClassification",
    "text": "line",
    "label": "label",
    "max_length": 16,
}


def test_the_task_and_its_columns() -> None:
    assert task_of(FOLDER, {"task": TASK}, {"label": "kind"}) == TextClassification(
        text="line", label="kind", max_length=16
    )


def test_a_column_that_the_task_does_not_have() -> None:
    with pytest.raises(InputError, match=r"^max_length is no column of this task; it has text and label"):
        task_of(FOLDER, {"task": TASK}, {"max_length": "8"})


def test_the_runtime_that_it_was_made_for() -> None:
    settings = {"_target_": "compress.runtimes.torch.runtime.TorchRuntime", "threads": 8}
    assert runtime_of(FOLDER, {"runtime": settings}, 2) == TorchRuntime(threads=2)


def test_before_manifests_named_one_it_was_onnx_runtime() -> None:
    assert runtime_of(FOLDER, {"task": TASK}, 2) == OnnxRuntime(threads=2)


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "compress.tasks.text_classification.Path",
        "compress.tasks.nothing.Here",
        "compress.runtimes.torch.runtime.TorchRuntime",
        "TextClassification",
        "compress.tasks..Here",
        "",
        None,
        True,
    ],
)
def test_what_is_no_task_of_ours_is_refused(target: Any) -> None:
    with pytest.raises(InputError, match=r"none of compress\.tasks"):
        task_of(FOLDER, {"task": {**TASK, "_target_": target}}, {})


def test_settings_of_another_release() -> None:
    old: dict[str, Any] = {name: value for name, value in TASK.items() if name != "max_length"}
    with pytest.raises(InputError, match="does not say max_length of its task"):
        task_of(FOLDER, {"task": old}, {})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"max_length": "16"}, r"export: manifest\.json is malformed \(max_length is '16', no int"),
        ({"max_length": None}, r"max_length is None, no int"),
        ({"text": [1, 2]}, r"text is \[1, 2\], no str"),
    ],
)
def test_a_task_with_settings_of_other_types(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        task_of(FOLDER, {"task": {**TASK, **changes}}, {})


@pytest.mark.parametrize("described", [None, [], "compress.tasks.text_classification.TextClassification"])
def test_a_task_that_is_no_object(described: Any) -> None:
    with pytest.raises(InputError, match=r"none of compress\.tasks"):
        task_of(FOLDER, {"task": described}, {})


def test_a_runtime_with_a_setting_that_it_does_not_have() -> None:
    settings = {"_target_": "compress.runtimes.torch.runtime.TorchRuntime", "threads": 8, "x": 1}
    with pytest.raises(InputError, match=r"malformed \('x' is no setting of a TorchRuntime\)"):
        runtime_of(FOLDER, {"runtime": settings}, 2)
