"""What every stage must do, found by its YAML alone: build, apply to every family, survive a save, run in ONNX Runtime.

A new method is tested by existing.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file
from transformers import PreTrainedModel, set_seed

from compress.cli.config import build, compose_settings, settings_root
from compress.core.blame import Setback
from compress.core.errors import InputError
from compress.core.latency_table import LatencyTable
from compress.core.recipe import Recipe
from compress.core.signature import Signature
from compress.core.stage import Stage
from compress.core.structure import Edit, Structure
from compress.nn.checkpoint import save_model, settle
from compress.nn.family import known_families
from compress.nn.vocabulary import reads_tokens
from compress.pipeline.preflight import MEANING, check_order, check_settings, check_teacher
from compress.runtimes.onnx.export import export_onnx

ROOT = settings_root() / "conf" / "stage"
FILES = sorted(path.relative_to(ROOT).with_suffix("").as_posix() for path in ROOT.rglob("*.yaml"))
# Methods that leave something else behind with other settings: the file, and these.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "prune/neurons": ("prune/structured", {"heads": 1.0, "refit": True, "refit_examples": 16}),
    "prune/budget_ranks": ("prune/budget", {"ranks": True, "neuron_multiple": 4}),
    "quantize/four_bits": ("quantize/blocks", {"bits": 4, "corrected": False}),
    "quantize/unrecovered": ("quantize/dynamic", {"recovery_epochs": 0}),
    "distill/given": ("distill/layers", {"layers": 2, "target_speedup": None}),
}
METHODS = [*FILES, *VARIANTS]
FAMILIES = sorted(known_families())
FUSION, SIMPLEST = "fuse/layers", "quantize/dynamic"
# So that little work is done, and that it is done at all on matrices this small.
TINY = {
    "epochs": 1,
    "examples": 4,
    "batch_size": 8,
    "kept_energy": 0.6,
    "rank": 8,
    "rank_multiple": 1,
    "min_saving": 0.0,
    "min_count": 4,
    "shortest_epoch": 1,
}
SHAPES = [(1, 2), (1, 9), (3, 5), (4, 16)]

# Run where nothing else has been imported or computed: compares each folder's logits with those from before saving.
RELOAD = """
import json, sys, torch
from safetensors.torch import load_file
import compress
torch.set_num_threads(1)
differences = {}
for folder in json.loads(sys.stdin.read()):
    model, stored = compress.load(folder), load_file(folder + "/expected.safetensors")
    largest = 0.0
    with torch.no_grad():
        for number in range(sum(name.endswith("logits") for name in stored)):
            inputs = {name.partition(".")[2]: value for name, value in stored.items() if name.startswith(f"{number}.")}
            expected = inputs.pop("logits")
            largest = max(largest, float((model(**inputs).logits - expected).abs().max()))
    differences[folder] = largest
print(json.dumps(differences))
"""


def settings_in(node: Any, path: str) -> Iterator[str]:
    """The full names of all settings under a node."""
    for name, value in node.items():
        yield f"{path}.{name}"
        if OmegaConf.is_dict(value):
            yield from settings_in(value, f"{path}.{name}")


@cache
def recipe() -> Recipe:
    """A recipe that holds every method there is, each by its own file, set to do little."""
    names = {method: method.replace("/", "_") for method in METHODS}
    files = {method: VARIANTS[method][0] if method in VARIANTS else method for method in METHODS}
    given = [(names[method], *file.split("/")) for method, file in files.items()]
    overrides = [f"+stage/{kind}@stages.{name}={file}" for name, kind, file in given]
    gates = [f"+gate@gates.{name}=non_inferiority" for name in names.values()]
    settings = compose_settings(
        "text_classification", ["model.path=nowhere", "data.train=nowhere", "objective.speedup=8", *overrides, *gates]
    )
    for stage in names.values():
        for path in list(settings_in(settings.stages[stage], f"stages.{stage}")):
            last = path.rpartition(".")[2]
            for ending, value in TINY.items():
                if last.endswith(ending) and OmegaConf.select(settings, path) is not None:
                    OmegaConf.update(settings, path, value)
    for method, (_, changes) in VARIANTS.items():
        for name, value in changes.items():
            OmegaConf.update(settings, f"stages.{names[method]}.{name}", value)
    return build(settings, "contract")


def stage_of(method: str) -> Stage:
    return recipe().stages[method.replace("/", "_")]


def batches(model: PreTrainedModel) -> list[dict[str, torch.Tensor]]:
    """Inputs of several shapes; all but the first row of each have padding. Images have one shape."""
    generator = torch.Generator().manual_seed(0)
    if not reads_tokens(model):
        return [{"pixel_values": torch.randn(rows, 3, 16, 16, generator=generator)} for rows, _ in SHAPES]
    made, tokens = [], model.config.vocab_size
    for rows, length in SHAPES:
        mask = (torch.arange(length) < (length - torch.arange(rows)[:, None]).clamp(min=2)).long()
        made.append(
            {"input_ids": torch.randint(4, tokens, (rows, length), generator=generator) * mask, "attention_mask": mask}
        )
    return made


@torch.no_grad()
def logits(model: PreTrainedModel) -> list[torch.Tensor]:
    return [model(**inputs).logits for inputs in batches(model)]


def refusal(method: str, model: PreTrainedModel) -> str:
    """What a method says before any work where it cannot be applied to a model of this family; empty where it can."""
    try:
        check_settings(in_order(method), model)
    except InputError as error:
        return str(error)
    return ""


@dataclasses.dataclass(frozen=True)
class Made:
    """What a stage made of a tiny model, and where it was saved."""

    teacher: PreTrainedModel
    model: PreTrainedModel
    folder: Path
    notes: list[str]
    signature: Signature


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Made | None]:
    """What has been made so far, so that nothing is made twice."""
    return {}


@pytest.fixture
def make(
    made: dict[tuple[str, str], Made | None],
    make_model: Callable,
    make_context: Callable,
    notes: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str, str], Made | None]:
    """`make(method, family)`. None where the family is refused."""

    def apply(method: str, family: str) -> Made | None:
        teacher = make_model(family)
        if refusal(method, teacher):
            made[method, family] = None
        if (method, family) not in made:
            folder = tmp_path_factory.mktemp("artifact")
            context = make_context(teacher, count=16, work_folder=folder / "work", cache_folder=folder / "cache")
            set_seed(0)
            model = settle(stage_of(method).apply(copy.deepcopy(teacher), context))
            save_model(model, folder)
            shown = enumerate(batches(model))
            stored = {f"{i}.{name}": value for i, inputs in shown for name, value in inputs.items()}
            stored |= {f"{i}.logits": value for i, value in enumerate(logits(model))}
            save_file(stored, folder / "expected.safetensors")
            made[method, family] = Made(teacher, model, folder, list(notes), context.task.signature(model.config))
        return made[method, family]

    return apply


def test_the_methods_are_found() -> None:
    assert len(METHODS) >= 6
    assert set(recipe().stages) >= {method.replace("/", "_") for method in METHODS}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", METHODS)
def test_it_changes_a_model_and_not_its_teacher(
    method: str, family: str, make: Callable[[str, str], Made], make_model: Callable
) -> None:
    result = make(method, family)
    if result is None:
        return
    assert not any(module.training for module in result.model.modules())
    found = logits(result.model)
    assert all(torch.isfinite(value).all() for value in found)
    with torch.no_grad():
        before = [result.teacher(**inputs).logits for inputs in batches(result.model)]
    # Where there is nothing for it to do, it says so.
    idle = any(note.startswith("left as it is") for note in result.notes)
    assert all(map(torch.equal, found, before)) == idle
    untouched = make_model(family).state_dict()
    assert all(torch.equal(value, untouched[name]) for name, value in result.teacher.state_dict().items())
    stored = sum(value.numel() * value.element_size() for value in result.model.state_dict().values())
    whole = sum(value.numel() * value.element_size() for value in untouched.values())
    # Zeros take as much space as other values, and fusing changes the operators, not the values.
    assert stored < whole or stage_of(method).leaves & {"sparse", "fused"}


@pytest.mark.parametrize("method", METHODS)
def test_it_leaves_what_it_says(method: str, make: Callable[[str, str], Made]) -> None:
    result = make(method, "bert")
    assert result is not None
    structure = json.loads((result.folder / "structure.json").read_text(encoding="utf-8"))
    kinds = {edit["kind"] for edit in structure["edits"].values()}
    assert frozenset().union(*(MEANING[kind] for kind in kinds if kind in MEANING)) == stage_of(method).leaves


def test_a_fresh_process_computes_the_same(make: Callable[[str, str], Made]) -> None:
    every = {(method, family): make(method, family) for method in METHODS for family in FAMILIES}
    folders = {str(found.folder): f"{method} on {family}" for (method, family), found in every.items() if found}
    done = subprocess.run(
        [sys.executable, "-c", RELOAD], input=json.dumps(list(folders)), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    differences = json.loads(done.stdout.strip().splitlines()[-1])
    assert {folders[folder]: largest for folder, largest in differences.items()} == dict.fromkeys(folders.values(), 0.0)


# An export takes seconds: every method on one family that takes it, and every family with one method.
@pytest.mark.parametrize("method", METHODS)
def test_onnxruntime_computes_the_same(
    method: str, make: Callable[[str, str], Made | None], exported: set[str], tmp_path: Path
) -> None:
    start = METHODS.index(method) % len(FAMILIES)
    for family in [*FAMILIES[start:], *FAMILIES[:start]]:
        result = make(method, family)
        if result is not None:
            exported.add(family)
            return compare_with_onnxruntime(method, result, tmp_path)
    raise AssertionError(f"{method} takes no family")


@pytest.mark.parametrize("family", FAMILIES)
def test_onnxruntime_runs_every_family(
    family: str, make: Callable[[str, str], Made | None], exported: set[str], tmp_path: Path
) -> None:
    if family not in exported:
        result = make(SIMPLEST, family)
        assert result is not None
        compare_with_onnxruntime(SIMPLEST, result, tmp_path)


@pytest.fixture(scope="module")
def exported() -> set[str]:
    """The families of which a model has run in ONNX Runtime."""
    return set()


def compare_with_onnxruntime(method: str, result: Made, folder: Path) -> None:
    shown = batches(result.model)
    path = export_onnx(result.model, result.signature, shown[-1], folder)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    found = [session.run(["logits"], {k: v.numpy() for k, v in inputs.items()})[0] for inputs in shown]
    expected = [value.numpy() for value in logits(result.model)]
    # A difference in the last bit may become one step of an int8 value, a 255th of its range.
    tolerance = (
        0.02 * max(float(np.abs(value).max()) for value in expected) if "int8" in stage_of(method).leaves else 1e-5
    )
    for ours, theirs in zip(expected, found, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=tolerance)


@pytest.mark.parametrize("method", METHODS)
def test_a_family_is_refused_by_name(method: str, model_type: str, make_model: Callable) -> None:
    """With a sentence that says which setting, or which family, and before any work."""
    model = make_model(model_type)
    message = refusal(method, model).lower()
    name = type(model).__name__.lower()
    assert not message or f"stages.{method.partition('/')[0]}" in message or model_type in message or name in message
    # Where everything is refused, nothing has been tested.
    assert not message or model_type not in ("bert", "roberta", "distilbert", "xlm-roberta")


def fused(*methods: str) -> list[str]:
    """These methods, with a fusion where one of them chooses sizes by the latency of fused layers and none follows:
    before what cannot be fused, or at the end."""
    readers = [i for i, method in enumerate(methods) if stage_of(method).uses_latency]
    if not readers or any("fused" in stage_of(method).leaves for method in methods[readers[-1] :]):
        return list(methods)
    refused = stage_of(FUSION).refuses
    later = range(readers[-1] + 1, len(methods))
    place = next((i for i in later if stage_of(methods[i]).leaves & refused.keys()), len(methods))
    return [*methods[:place], FUSION, *methods[place:]]


def in_order(*given: str) -> Recipe:
    """The recipe with these methods as its stages, one after the other, as `fused`. A method may come twice."""
    methods = fused(*given)
    order = tuple(f"{number}_{method.replace('/', '_')}" for number, method in enumerate(methods))
    stages = {name: stage_of(method) for name, method in zip(order, methods, strict=True)}
    return dataclasses.replace(recipe(), order=order, stages=stages, gates=dict.fromkeys(order))


@pytest.mark.parametrize("method", METHODS)
def test_it_refuses_what_it_says(method: str) -> None:
    stage = stage_of(method)
    check_order(in_order(method))
    check_teacher(in_order(method), Structure())
    for word, reason in stage.refuses.items():
        leaving = [other for other in METHODS if word in stage_of(other).leaves]
        assert leaving, f"{method} refuses {word!r}, which no stage leaves"
        for other in leaving:
            with pytest.raises(InputError) as caught:
                check_order(in_order(other, method))
            assert reason in str(caught.value)
        for kind in (kind for kind, meaning in MEANING.items() if word in meaning):
            with pytest.raises(InputError) as caught:
                check_teacher(in_order(method), Structure({"classifier": Edit(kind, {})}))
            assert reason in str(caught.value)
    for other in METHODS:
        if not stage_of(other).leaves & stage.refuses.keys():
            check_order(in_order(other, method))


@pytest.mark.parametrize("method", METHODS)
def test_milder_settings_are_its_own(method: str, make_model: Callable) -> None:
    stage = stage_of(method)

    def latency(sizes: Any) -> LatencyTable:
        curves = {0: 0.0, 4: 1.0}, {0: 0.0, 64: 0.5}
        return LatencyTable(50.0, 0.2, *curves, *curves)

    milder = stage.relax(Setback(make_model(layers=4), make_model(layers=3), ["classifier"], 0.1, latency))
    assert milder is None or dataclasses.replace(stage, **milder.settings) != stage
