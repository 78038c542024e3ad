"""A key changes with everything that the work depends on, one thing at a time, and with nothing else."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from compress.cli.config import build, compose_settings
from compress.core.ledger import Row
from compress.core.recipe import Recipe
from compress.data.formats import read_file
from compress.data.splits import fingerprint
from compress.measure import environment
from compress.pipeline import keys
from compress.pipeline.keys import (
    artifact_key,
    evaluation_key,
    export_key,
    latency_table_key,
    plots_key,
    precision_of,
    teacher_key,
)
from compress.report.drawing import Drawing

Make = Callable[..., Recipe]
SHARES = "stage/prune@stages.prune=structured"


@pytest.fixture
def recipe_of(checkpoint: Path) -> Make:
    """`recipe_of(*overrides)`: the recipe text_classification for the tiny model."""

    def make(*overrides: str) -> Recipe:
        given = {override.partition("=")[0] for override in overrides}
        defaults = [f"model.path={checkpoint}", "data.train=unread.jsonl", "order=[prune,quantize]", "device=cpu"]
        kept = [setting for setting in defaults if setting.partition("=")[0] not in given]
        return build(compose_settings("text_classification", [*kept, *overrides]), "text_classification")

    return make


@pytest.fixture
def shares_of(recipe_of: Make) -> Make:
    """`shares_of(*overrides)`: the same with explicit shares, which no latency decides."""
    return lambda *overrides: recipe_of(SHARES, *overrides)


def key_of_teacher(recipe: Recipe, train_fingerprint: str) -> str:
    """The key of the recipe's own teacher."""
    return teacher_key(recipe, recipe.teacher.identity(), "bert", train_fingerprint)


def prune_key(recipe: Recipe, **changes: str) -> str:
    """The key of the stage `prune`."""
    return artifact_key(
        recipe,
        **(
            {"stage": "prune", "parent": "p", "teacher": "t", "model_type": "bert"}
            | {"train_fingerprint": "f", "unlabelled_fingerprint": "u"}
            | changes
        ),
    )


CHANGES_AN_ARTIFACT = [
    "objective.speedup=8",
    "stages.prune.margin=0.1",
    "stages.prune.neuron_multiple=8",
    "stages.prune.recovery_epochs=3",
    "importance@stages.prune.importance=random",
    "stages.prune.imitation.temperature=3",
    "stages.prune.imitation.relation_weight=1",
    "stages.prune.imitation.shortest_epoch=10",
    "stages.prune.gradual.cuts=2",
    "stages.prune.imitation.optimization.learning_rate=1e-5",
    "stage/prune@stages.prune=magnitude",
    SHARES,
    "seed=1",
    "data.max_length=64",
    "data.text=sentence",
    "data.label=class",
]
# With SHARES.
CHANGES_SHARES = ["stages.prune.heads=0.25", "stages.prune.refit=true", "stages.prune.neuron_multiple=8"]
CHANGES_NO_ARTIFACT = [
    "objective.max_accuracy_drop=0.5",
    "gates.prune.max_accuracy_drop=0.5",
    "gates.prune.min_speedup=2",
    "gates.prune.on_failure=stop",
    "stages.quantize.scheme=static",
    "stages.quantize.recovery_epochs=1",
    "stages.distill.layers=2",
    "stages.fuse.first_token=false",
    "order=[quantize]",
    "order=[distill,prune]",
    "data.train=elsewhere/other.csv",
    "data.validation=v.jsonl",
    "data.test=t.jsonl",
    "data.unlabelled=u.txt",
    "data.group=article",
    "data.validation_share=0.5",
    "measurement.rounds=2",
    "runtime.threads=1",
    "runtime=torch",
    "store=elsewhere",
]


@pytest.mark.parametrize("override", CHANGES_AN_ARTIFACT)
def test_what_changes_an_artifacts_key(recipe_of: Make, override: str) -> None:
    assert prune_key(recipe_of(override)) != prune_key(recipe_of())


@pytest.mark.parametrize("override", CHANGES_SHARES)
def test_what_changes_the_key_of_a_cut_to_shares(shares_of: Make, override: str) -> None:
    assert prune_key(shares_of(override)) != prune_key(shares_of())


@pytest.mark.parametrize("override", CHANGES_NO_ARTIFACT)
def test_what_does_not_change_an_artifacts_key(recipe_of: Make, override: str) -> None:
    assert prune_key(recipe_of(override)) == prune_key(recipe_of())


@pytest.mark.parametrize("override", ["objective.speedup=8", "stages.distill.narrowest=0.2"])
def test_what_decides_the_depth_does_not_count_where_it_is_given(recipe_of: Make, override: str) -> None:
    def key(*overrides: str) -> str:
        return prune_key(recipe_of(*overrides), stage="distill")

    assert key("stages.distill.layers=2", override) == key("stages.distill.layers=2")
    assert key("stages.distill.layers=auto", override) != key("stages.distill.layers=auto")


@pytest.mark.parametrize("scheme", ["dynamic", "static", "blocks"])
def test_whom_a_quantized_model_imitates_counts_where_it_recovers(recipe_of: Make, scheme: str) -> None:
    def key(*overrides: str) -> str:
        return prune_key(recipe_of(f"stage/quantize@stages.quantize={scheme}", *overrides), stage="quantize")

    imitation, recovery = "stages.quantize.imitation.temperature=3", "stages.quantize.recovery_epochs=1"
    assert key(imitation) == key()
    assert len({key(), key(recovery), key(recovery, imitation)}) == 3


@pytest.mark.parametrize("override", ["stages.quantize.smoothing=0.3", "stages.quantize.calibration.examples=8"])
def test_what_finds_fixed_ranges_does_not_count_where_they_are_found_anew(recipe_of: Make, override: str) -> None:
    def key(*overrides: str) -> str:
        return prune_key(recipe_of(*overrides), stage="quantize")

    assert key(override) == key()
    static, inner = "stages.quantize.scheme=static", "stages.quantize.static_inner=true"
    assert key(static, override) != key(static)
    assert key(static, inner) == key(static)
    assert (key(inner, override) != key(inner)) == ("calibration" in override)


def test_the_machine_does_not_count_for_a_cut_to_shares(shares_of: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = shares_of()
    before, machine = prune_key(recipe), keys.describe_machine
    monkeypatch.setattr(keys, "describe_machine", lambda runtime: machine(runtime) | {"cpu": "another"})
    monkeypatch.setattr(environment, "_cpu_flags", lambda: {"avx2"})
    assert prune_key(recipe) == before


@pytest.mark.parametrize("library", ["onnx", "onnxscript", "onnxruntime", "datasets", "hydra-core", "matplotlib"])
def test_the_version_of_a_library_that_does_not_compute_does_not_count(
    recipe_of: Make, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    recipe, installed = recipe_of(), keys.versions
    before = prune_key(recipe), key_of_teacher(recipe, "f")
    monkeypatch.setattr(keys, "versions", lambda names: installed(names) | ({library: "0"} if library in names else {}))
    assert (prune_key(recipe), key_of_teacher(recipe, "f")) == before


def test_the_objective_does_not_count_where_shares_are_given(shares_of: Make) -> None:
    assert prune_key(shares_of("objective.speedup=8")) == prune_key(shares_of())


@pytest.mark.parametrize("argument", ["parent", "teacher", "train_fingerprint", "unlabelled_fingerprint", "latency"])
def test_an_artifacts_key_changes_with_what_it_was_made_from(recipe_of: Make, argument: str) -> None:
    recipe = recipe_of()
    assert prune_key(recipe, **{argument: "another"}) != prune_key(recipe)


def test_the_device_of_training_counts(recipe_of: Make) -> None:
    recipe = recipe_of()
    assert prune_key(dataclasses.replace(recipe, device="cuda")) != prune_key(recipe)


def test_a_stages_name_does_not_count(recipe_of: Make) -> None:
    recipe = recipe_of("+stages.again=${stages.prune}")
    assert prune_key(recipe, stage="again") == prune_key(recipe)


def test_the_source_of_a_stages_parts_counts(recipe_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A criterion of the user's own lies outside this package."""
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from dataclasses import dataclass\n\n@dataclass\nclass Mine:\n    compares_layers = True\n"
        "    def of(self, model, context): ...\n",
        "utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    own = ("importance@stages.prune.importance=random", "stages.prune.importance._target_=mine.Mine")
    recipe = recipe_of(*own)
    before = prune_key(recipe)
    assert before == prune_key(recipe_of(*own))
    mine.write_text(mine.read_text("utf-8") + "\n# changed\n", "utf-8")
    assert prune_key(recipe) != before


@pytest.mark.parametrize("library", keys.COMPUTING)
def test_the_version_of_a_library_counts(recipe_of: Make, monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    recipe, installed = recipe_of(), keys.versions
    before = prune_key(recipe), key_of_teacher(recipe, "f")
    monkeypatch.setattr(keys, "versions", lambda names: installed(names) | ({library: "0"} if library in names else {}))
    assert prune_key(recipe) != before[0] and key_of_teacher(recipe, "f") != before[1]


def test_a_students_content_counts_and_not_its_path(recipe_of: Make, checkpoint: Path, tmp_path: Path) -> None:
    student = tmp_path / "student"
    shutil.copytree(checkpoint, student)

    def key() -> str:
        return prune_key(recipe_of(f"student.path={student}"), stage="distill")

    before = key()
    student = student.rename(tmp_path / "moved")
    assert key() == before
    content = bytearray((student / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (student / "model.safetensors").write_bytes(content)
    assert key() != before != prune_key(recipe_of(), stage="distill")


def test_the_data_counts_by_content_and_not_by_path(recipe_of: Make, examples: Path, tmp_path: Path) -> None:
    recipe = recipe_of()
    rows = [json.loads(line) for line in examples.read_text(encoding="utf-8").splitlines()]
    with (tmp_path / "same.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["label", "text"])
        writer.writeheader()
        writer.writerows({name: row[name] for name in ("label", "text")} for row in rows)

    def key(name: str) -> str:
        data = read_file("data.train", str(tmp_path / name)).select_columns(["text", "label"])
        return prune_key(recipe, train_fingerprint=fingerprint(data))

    shutil.copy(examples, tmp_path / "copied.jsonl")
    assert key("same.csv") == key("copied.jsonl") == key(examples.name)
    rows[7]["label"] = "warm" if rows[7]["label"] == "cold" else "cold"
    (tmp_path / "other.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert key("other.jsonl") != key(examples.name)


def test_a_teacher_in_another_folder_is_the_same_teacher(recipe_of: Make, checkpoint: Path, tmp_path: Path) -> None:
    before = key_of_teacher(recipe_of(), "f")
    moved = tmp_path / "moved"
    shutil.copytree(checkpoint, moved)
    assert key_of_teacher(recipe_of(f"model.path={moved}"), "f") == before
    tokenizer = (moved / "tokenizer.json").read_text(encoding="utf-8")
    (moved / "tokenizer.json").write_text(tokenizer.replace("kas", "kos"), encoding="utf-8")
    assert key_of_teacher(recipe_of(f"model.path={moved}"), "f") != before


def test_only_a_teacher_that_learns_depends_on_data_and_seed(recipe_of: Make) -> None:
    assert key_of_teacher(recipe_of("seed=1"), "other") == key_of_teacher(recipe_of(), "f")
    learns = recipe_of("model=fine_tuned")
    assert key_of_teacher(learns, "other") != key_of_teacher(learns, "f")
    assert key_of_teacher(recipe_of("model=fine_tuned", "seed=1"), "f") != key_of_teacher(learns, "f")
    assert key_of_teacher(recipe_of("model=fine_tuned", "model.epochs=3"), "f") != key_of_teacher(learns, "f")
    assert key_of_teacher(recipe_of("model=fine_tuned", "objective.speedup=2"), "f") == key_of_teacher(learns, "f")


def test_what_an_export_depends_on(recipe_of: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_of("runtime.threads=1")
    key = export_key(recipe, "a")
    assert export_key(recipe, "b") != key
    assert export_key(recipe_of("runtime.threads=1", "runtime=torch"), "a") != key
    for override in ("gates.prune.confidence=0.9", "objective.speedup=2", "measurement.rounds=2", "seed=1"):
        assert export_key(recipe_of("runtime.threads=1", override), "a") == key
    installed = keys.versions
    monkeypatch.setattr(keys, "versions", lambda names: installed(names) | {"onnx": "0"})
    assert export_key(recipe, "a") != key


@pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed: pip install '.[openvino]'")
def test_a_runtimes_precision_and_version_count_for_what_it_runs(
    recipe_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def both(*overrides: str) -> tuple[str, str]:
        recipe = recipe_of("stages.quantize.scheme=static", "runtime.threads=1", *overrides)
        return export_key(recipe, "a"), evaluation_key(recipe, "a", "b", "s", timed=False)

    def install(library: str) -> None:
        monkeypatch.setattr(environment, "_version", lambda name: "0" if name == library else real(name))

    real = environment._version
    onnxruntime, openvino, coarser = (
        both(),
        both("runtime=openvino"),
        both("runtime=openvino", "runtime.precision=auto"),
    )
    assert all(len({a, b, c}) == 3 for a, b, c in zip(onnxruntime, openvino, coarser, strict=True))
    install("openvino")
    assert both() == onnxruntime
    assert not set(both("runtime=openvino")) & set(openvino)
    install("onnxruntime")
    assert both("runtime=openvino") == openvino
    assert not set(both()) & set(onnxruntime)


def test_what_an_evaluation_depends_on(recipe_of: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def key(recipe: Recipe, artifact: str = "a", baseline: str = "b", split: str = "s", timed: bool = True) -> str:
        return evaluation_key(recipe, artifact, baseline, split, timed=timed)

    recipe = recipe_of("runtime.threads=1")
    before, untimed = key(recipe), key(recipe, timed=False)
    assert len({before, untimed, key(recipe, artifact="x"), key(recipe, baseline="x"), key(recipe, split="x")}) == 5
    changed = recipe_of("runtime.threads=1", "measurement.rounds=2")
    assert key(changed) != before and key(changed, timed=False) == untimed
    for override in ("gates.prune.max_accuracy_drop=0.5", "gates.prune.confidence=0.9", "objective.speedup=2"):
        assert key(recipe_of("runtime.threads=1", override)) == before
    bulk = recipe_of("runtime.threads=1", "objective.workload=bulk")
    assert key(bulk) != before and key(bulk, timed=False) == untimed and table_key(bulk) != table_key(recipe)
    # How long to wait for quiet, and whether to measure again, is nothing that a quiet measurement depends on.
    for override in ("measurement.retry_seconds=7", "measurement.again=true"):
        assert key(recipe_of("runtime.threads=1", override)) == before
    machine = keys.describe_machine
    monkeypatch.setattr(keys, "describe_machine", lambda runtime: machine(runtime) | {"cpu": "another"})
    assert key(recipe) != before and key(recipe, timed=False) == untimed


@pytest.mark.parametrize(
    ("name", "override"),
    [
        ("sentence_embedding", "data.pairs=rated.csv"),
        ("sentence_embedding", "task.stored=[int8]"),
        ("multi_label_classification", "task.threshold=0.4"),
        ("causal_lm", "workload.prompt_tokens=64"),
        ("causal_lm", "workload.new_tokens=32"),
    ],
)
def test_how_answers_are_judged_has_no_part_in_an_artifact(checkpoint: Path, name: str, override: str) -> None:
    def made(*overrides: str) -> tuple[list[str], str]:
        given = (f"model.path={checkpoint}", "data.train=unread.jsonl", "device=cpu", *overrides)
        recipe = build(compose_settings(name, given), name)
        computed = [
            teacher_key(recipe, {"files": 1}, "bert", "t"),
            keys.teacher_answers_key(recipe, {"files": 1}, "bert", "e"),
            artifact_key(recipe, "quantize", "p", "t", "bert", "train", ""),
            keys.batches_key(recipe, "rows", "p"),
        ]
        return computed, evaluation_key(recipe, "a", "b", "s", timed=False)

    (before, judged), (after, judged_otherwise) = made(), made(override)
    assert after == before and judged_otherwise != judged


def test_the_split_that_judges_has_no_part_in_an_artifact() -> None:
    """The keys of artifacts are never told about validation, test, gate or run folder; of the latency table a stage
    reads, about the lengths alone."""
    parameters = dict(artifact_key.__annotations__)
    given = ["train_fingerprint", "unlabelled_fingerprint", "latency"]
    assert list(parameters) == ["recipe", "stage", "parent", "teacher", "model_type", *given, "return"]
    assert list(latency_table_key.__annotations__) == ["recipe", "teacher", "lengths", "sizes", "return"]


SIZES = {"hidden": 32, "heads": 4}


def table_key(recipe: Recipe, teacher: str = "t", lengths: tuple[int, ...] = (3, 5), **sizes: int) -> str:
    """The key of a latency table."""
    return latency_table_key(recipe, teacher, lengths, SIZES | sizes)


def test_what_a_latency_table_depends_on(recipe_of: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_of("runtime.threads=1")
    before = table_key(recipe)
    assert table_key(recipe, lengths=(5, 3)) == before
    others = [table_key(recipe, teacher="x"), table_key(recipe, lengths=(3, 6)), table_key(recipe, heads=2)]
    others += [
        table_key(recipe_of("runtime.threads=1", *changes))
        for changes in (["stages.quantize.scheme=static"], ["order=[prune]"], ["runtime=torch"])
    ]
    assert len({before, *others}) == 7
    for override in ("objective.speedup=2", "gates.prune.max_accuracy_drop=0.5", "seed=1", "order=[distill,quantize]"):
        assert table_key(recipe_of("runtime.threads=1", override)) == before
    machine = keys.describe_machine
    monkeypatch.setattr(keys, "describe_machine", lambda runtime: machine(runtime) | {"cpu": "another"})
    assert table_key(recipe) != before


PRECISIONS = [
    ("order=[prune,fuse]", "dynamic", "float"),
    ("order=[prune,fuse,quantize]", "dynamic", "dynamic"),
    ("order=[prune,fuse,quantize]", "static", "static"),
]


@pytest.mark.parametrize(("order", "scheme", "precision"), PRECISIONS)
def test_the_precision_is_what_the_order_ends_with(recipe_of: Make, order: str, scheme: str, precision: str) -> None:
    assert precision_of(recipe_of(order, f"stages.quantize.scheme={scheme}")) == precision


def test_weights_in_blocks_are_a_precision_of_their_own(recipe_of: Make) -> None:
    assert precision_of(recipe_of("stage/quantize@stages.quantize=blocks")) == "blocks"
    assert precision_of(recipe_of("stage/quantize@stages.quantize=blocks", "stages.quantize.bits=4")) == "blocks4"


def recorded(value: Any) -> Any:
    """As a manifest stores it."""
    return json.loads(json.dumps(value))


def row_of(stage: str, **measured: Any) -> Row:
    """A row of the ledger with nothing measured but this."""
    known = {"verdict": "passed", "reasons": (), "decision": "keep", "seconds": 1.0, "reused": False, "notes": ()}
    return Row(**{field.name: None for field in dataclasses.fields(Row)} | known | {"stage": stage} | measured)


def test_what_a_reports_plots_depend_on() -> None:
    summary = {"exported": {"stage": "prune"}, "gates": {"prune": {"max_accuracy_drop": 0.01}}, "metric": "accuracy"}
    rows = [row_of("teacher", value=0.9), row_of("prune", value=0.8)]

    def key(rows: list[Row], **more: Any) -> str:
        return plots_key(Drawing.of(rows, {**summary, **more}))

    # Found by another run: other seconds, and more of it there before.
    again = [
        dataclasses.replace(row, seconds=7.0, spent={"other": 7.0}, reused=True, notes=("a note",)) for row in rows
    ]
    assert key(again) == key(rows)
    known = {
        key(rows),
        key([rows[0], dataclasses.replace(rows[1], value=0.81)]),
        key(rows[:1], exported=None),
        key(rows, exported=None, gates={}),
        key(rows, gates={"prune": {"max_accuracy_drop": 0.02}}),
        key(rows, metric="f1"),
    }
    assert len(known) == 6


def test_settings_survive_the_record(recipe_of: Make) -> None:
    recipe = recipe_of()
    again = dataclasses.replace(recipe, settings=recorded(recipe.settings))
    assert prune_key(again) == prune_key(recipe)
