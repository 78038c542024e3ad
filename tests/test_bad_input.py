"""What a user gets wrong is refused before any work: status 2, one message, nothing half-written."""

from __future__ import annotations

import json
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    GPT2Config,
)

from compress.cli.commands.run import main
from compress.cli.config import build, compose_settings
from compress.cli.hydra_errors import quoted
from compress.core.content import sha256_of
from compress.core.errors import InputError
from compress.core.recipe import Measurement
from compress.measure import latency_table
from compress.pipeline.loaded_recipe import load
from compress.pipeline.made.artifacts import stage_artifact, teacher_artifact
from compress.pipeline.make_or_find import make_or_find
from compress.runtimes.onnx.file import require_data_inside

QUICK = (
    "data.max_length=32",
    "measurement.launches=1",
    "measurement.rounds=2",
    "measurement.examples=4",
    "stages.distill.layers=2",
    "stages.distill.epochs=1",
    "stages.distill.imitation.shortest_epoch=1",
    "order=[quantize]",
    "device=cpu",
)
SHARES = "stage/prune@stages.prune=structured"
PASSES = ("gates.quantize.max_accuracy_drop=1", "gates.quantize.on_inconclusive=keep")


@dataclass(frozen=True)
class Answer:
    """What the command line said."""

    status: int
    output: str
    errors: str

    @property
    def message(self) -> str:
        """The one message of a refusal."""
        lines = self.errors.strip().splitlines()
        assert len(lines) == 1 and lines[0].startswith("compress: "), self.errors
        return lines[0].removeprefix("compress: ")


class Terminal:
    """A folder, and the command line in it. `command` starts with the recipe, the tiny model and the tiny data."""

    def __init__(self, folder: Path, store: Path, model: Path, data: Path, capture: Any) -> None:
        self.folder, self.store, self.model, self.data, self._capture = folder, store, model, data, capture

    def command(self, *arguments: str) -> list[str]:
        """The whole command for this model and data, in `run`."""
        given = {argument.lstrip("+~").partition("=")[0] for argument in arguments}
        defaults = [
            f"model.path={self.model}",
            f"data.train={self.data}",
            f"store={self.store}",
            f"hydra.run.dir={self.folder / 'run'}",
            *QUICK,
        ]
        kept = [argument for argument in defaults if argument.partition("=")[0] not in given]
        return ["compress", "-cn", "text_classification", *kept, *arguments]

    def type(self, *arguments: str) -> Answer:
        """Run the command line in this process, with exactly these arguments."""
        old, sys.argv = sys.argv, ["compress", *arguments]
        self._capture.readouterr()
        try:
            main()
        except SystemExit as done:
            status = int(done.code or 0)
        finally:
            sys.argv = old
        return Answer(status, *self._capture.readouterr())

    def run(self, *arguments: str) -> Answer:
        """Run the recipe with these changes."""
        return self.type(*self.command(*arguments)[1:])

    def refused(self, *arguments: str) -> str:
        """The message of a command that must be refused, having left nothing behind."""
        answer = self.run(*arguments)
        assert answer.status == 2, (answer.output, answer.errors)
        self.require_nothing_left()
        assert answer.output == ""
        return answer.message

    def require_nothing_left(self) -> None:
        """No ledger, no summary, no export, and no store but one that was there before."""
        found = {path.name for path in (self.folder / "run").glob("*")} if (self.folder / "run").is_dir() else set()
        assert found <= {".hydra", ".lock", "run.log"}
        assert self.store.parent != self.folder or not self.store.exists()

    def rows(self) -> list[dict[str, Any]]:
        """The run's ledger."""
        return [json.loads(line) for line in (self.folder / "run" / "ledger.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture
def terminal(tmp_path: Path, checkpoint: Path, examples: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal whose store is empty."""
    monkeypatch.chdir(tmp_path)
    return Terminal(tmp_path, tmp_path / "store", checkpoint, examples, capfd)


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that the tests with real runs share, so that each piece of work is done once."""
    return tmp_path_factory.mktemp("shared") / "Größe (1), a=b"


@pytest.fixture
def workplace(terminal: Terminal, shared_store: Path) -> Terminal:
    """A terminal whose store keeps what other tests made."""
    terminal.store = shared_store
    return terminal


# Settings ------------------------------------------------------------------------------------------------------------

WRONG_SETTINGS = [
    # Misspelt.
    ([SHARES, "stages.prune.head=0.5"], "stages.prune.head is no setting", "Did you mean 'stages.prune.heads'?"),
    (["sede=1"], "sede is no setting", "Did you mean 'seed'?"),
    (["ordr=[quantize]"], "ordr is no setting", "Did you mean 'order'?"),
    (["data.trian=x.jsonl"], "data.trian is no setting", "Did you mean 'data.train'?"),
    (["+sede=1"], "sede is set, but nothing reads it", "Did you mean 'seed'?"),
    (["+data.trian=x"], "data.trian is set, but nothing reads it", "Did you mean 'data.train'?"),
    ([SHARES, "+stages.prune.haeds=1"], "stages.prune.haeds is no setting of PruneStructured", "Did you mean 'heads'?"),
    ([SHARES, "~stages.prune.heads"], "stages.prune.heads is not set", "PruneStructured needs it"),
    (["~sede"], "sede is no setting", "Did you mean 'seed'?"),
    (
        ["stage/quantize@stages.quantize=statik"],
        "stage/quantize is 'statik'",
        "dynamic, static. Did you mean 'static'?",
    ),
    (["stage/quantise@stages.quantize=static"], "the group 'stage/quantise'", "Did you mean 'stage/quantize'?"),
    (["stage/quantize=static"], "stage/quantize is no group", "Did you mean 'stage/quantize@stages.quantize'?"),
    (["data=fils"], "data is 'fils'", "Did you mean 'files'?"),
    # Syntax.
    (["order=[quantize"], "order=[quantize cannot be read", "a list is [a,b]"),
    (["stages.prune.heads"], "stages.prune.heads cannot be read", "Write setting=value"),
    (["seed=1,2"], "seed=1,2 has a comma", "compress -m"),
    (["seed=${sede}"], "a setting refers to one that is not there", "sede"),
    (["stages.prune=null"], "stages.prune is None", "_target_"),
    (["stages=null"], "stages is None", "must be a group"),
    (["~stages"], "stages is missing", "every recipe has"),
    (["stages=3"], "stages", "group"),
    # The order.
    (["order=[]"], "order is empty", "order=[quantize]"),
    (["order=quantize"], "order is 'quantize'", "list of stage names"),
    (["order=[quantise]"], "order names 'quantise'", "Did you mean 'quantize'?"),
    (["order=[3]"], "order is [3]", "list of stage names"),
    (["+gates.quantise.confidence=0.9"], "gates.quantise is set, but no stage is called quantise", "'quantize'?"),
    (["gate.confidence=95"], "gate.confidence is 95", "0.95"),
    (["order=[quantize,quantize]"], "puts quantize after quantize", "quantize once"),
    (["order=[prune,prune,fuse]"], "names prune twice", "a name and a gate of its own"),
    (["order=[quantize,distill]"], "order=[quantize,distill] puts distill after quantize", "distill before quantizing"),
    (["order=[quantize,prune]"], "puts prune after quantize", "prune before quantizing"),
    (["order=[quantize,factorize]"], "puts factorize after quantize", "factorize before quantizing"),
    (["order=[factorize,prune]"], "puts prune after factorize", "prune before factorizing"),
    (
        ["stage/prune@stages.prune=magnitude", "order=[prune,factorize]"],
        "puts factorize after prune",
        "destroys the zeros",
    ),
    # The objective, and what takes it up.
    (["objective.speedup=1"], "objective.speedup is 1; it must be greater than 1", "Use 10"),
    (["objective.speedup=-3"], "objective.speedup is -3; it must be greater than 0", "Use 10"),
    (["objective.speedup=ten"], "objective.speedup is ten; it must be greater than 0", "Use 10"),
    (["objective.speedup=inf"], "objective.speedup is inf; it must be finite", "Use 10"),
    (["objective.max_accuracy_drop=1"], "objective.max_accuracy_drop is 1", "100 points. Use 0.01 for one point"),
    (["objective.max_accuracy_drop=2"], "objective.max_accuracy_drop is 2", "0.01 for one point"),
    (["objective.sped=10"], "objective.sped is no setting", "Did you mean 'objective.speedup'?"),
    (["+objective.sped=10"], "objective.sped is no setting of Objective", "Did you mean 'speedup'?"),
    (["objective=10"], "objective is 10; it must be a group", "--cfg job"),
    (["~objective"], "a setting refers to one that is not there", "objective."),
    (
        ["order=[prune,fuse]", "objective.speedup=null"],
        "stages.prune has none of target_speedup, target_latency_ms, kept_importance set",
        "objective.speedup=10",
    ),
    (
        ["order=[distill,fuse]", "objective.speedup=null", "stages.distill.layers=auto"],
        "stages.distill.layers is auto, which needs objective.speedup",
        "say how many layers",
    ),
    (
        ["order=[prune,fuse,quantize]", "objective.speedup=10", "gates.quantize.min_speedup=20"],
        "objective.speedup is 10 and gates.quantize.min_speedup is 20, which asks for more",
        "Raise the objective",
    ),
    (
        ["order=[prune,fuse]", "objective.speedup=10", "stages.prune.target_speedup=8"],
        "objective.speedup is 10 and stages.prune.target_speedup is 8; they contradict each other",
        "Set the objective alone",
    ),
    (
        ["order=[distill,fuse]", "stages.distill.layers=auto", "stages.distill.target_speedup=8"],
        "objective.speedup is 10 and stages.distill.target_speedup is 8",
        "Set the objective alone",
    ),
    (["order=[prune,quantize]"], "order=[prune,quantize] has no fuse after prune", "Add fuse before quantize"),
    (
        ["order=[distill,quantize]", "stages.distill.layers=auto"],
        "has no fuse after distill",
        "stages.distill.layers=3",
    ),
    (
        ["order=[prune,fuse]", "runtime=torch"],
        "runtime=torch has no latency table",
        "stage/prune@stages.prune=structured",
    ),
    (
        ["order=[distill,fuse]", "runtime=torch", "stages.distill.layers=auto"],
        "stages.distill chooses sizes by the latency",
        "stages.distill.layers=3",
    ),
    (["stages.prune.heads=0.5"], "stages.prune.heads is no setting", "Another method has it: add " + SHARES),
    (["+stages.prune.heads=0.5"], "stages.prune.heads is no setting of PruneToBudget", "It has target_speedup"),
    (
        ["stages.prune.kept_importance=0.9"],
        "stages.prune has target_speedup and kept_importance set; exactly one",
        "Set the others to null",
    ),
    (
        ["order=[prune,fuse]", "stages.prune.target_speedup=null"],
        "stages.prune has none of target_speedup",
        "objective.speedup=10",
    ),
    (
        ["stages.prune.target_speedup=null", "stages.prune.target_latency_ms=0"],
        "stages.prune.target_latency_ms is 0",
        "greater than 0",
    ),
    (
        ["stages.prune.target_speedup=null", "stages.prune.kept_importance=1.5"],
        "stages.prune.kept_importance is 1.5",
        "(0, 1]",
    ),
    (["stages.prune.margin=1"], "stages.prune.margin is 1; it must lie in [0, 1)", "Use 0.05"),
    (["stages.distill.layers=autom"], "stages.distill.layers is 'autom'", "Did you mean 'auto'?"),
    (["stages.distill.narrowest=0"], "stages.distill.narrowest is 0", "(0, 1]"),
    (["stages.distill.activation=rellu"], "stages.distill.activation is 'rellu'", "Did you mean 'relu'?"),
    (
        ["order=[distill,fuse]", "stages.distill.activation=mish"],
        "the model's activation is 'mish'; layers with gelu, relu",
        "Leave fuse out of order",
    ),
    (["stages.fuse.first_token=maybe"], "stages.fuse.first_token is 'maybe'", "true or false"),
    (["order=[fuse,distill]"], "order=[fuse,distill] puts distill after fuse", "distill before fusing"),
    (["order=[fuse,prune]"], "order=[fuse,prune] puts prune after fuse", "prune before fusing"),
    (["order=[fuse,factorize]"], "order=[fuse,factorize] puts factorize after fuse", "before fusing"),
    (["order=[quantize,fuse]"], "order=[quantize,fuse] puts fuse after quantize", "fuse before quantizing"),
    (["order=[fuse,fuse]"], "order=[fuse,fuse] puts fuse after fuse", "fuse once"),
    # Numbers.
    ([SHARES, "stages.prune.heads=1.5"], "stages.prune.heads is 1.5; it must lie in (0, 1]", "Use 0.5"),
    ([SHARES, "stages.prune.heads=0"], "stages.prune.heads is 0", "(0, 1]"),
    ([SHARES, "stages.prune.heads=half"], "stages.prune.heads is half", "(0, 1]"),
    ([SHARES, "stages.prune.neurons=[0.5]"], "stages.prune.neurons is [0.5]", "(0, 1]"),
    ([SHARES, "stages.prune.layers=true"], "stages.prune.layers is True", "(0, 1]"),
    (["stages.prune.neuron_multiple=0"], "stages.prune.neuron_multiple is 0", "whole number"),
    ([SHARES, "stages.prune.scope=modell"], "stages.prune.scope is 'modell'", "Did you mean 'model'?"),
    (["stages.prune.recovery_epochs=-1"], "stages.prune.recovery_epochs is -1", "at least 0"),
    (["stages.quantize.recovery_epochs=-1"], "stages.quantize.recovery_epochs is -1", "at least 0"),
    (
        ["order=[fuse,quantize]", "stages.quantize.recovery_epochs=1", "stages.quantize.imitation.relation_weight=1"],
        "stages.quantize.imitation.relation_weight=0",
        "leave out fuse",
    ),
    (
        ["order=[quantize]", "stages.quantize.recovery_epochs=1", "stages.quantize.imitation.relation_layer=99"],
        "stages.quantize.imitation.relation_layer is 99; the teacher has 4 layers",
        "Use null",
    ),
    (["stages.prune.imitation.temperature=0"], "stages.prune.imitation.temperature is 0", "greater than 0"),
    (["stages.distill.imitation.temperature=warm"], "stages.distill.imitation.temperature is warm", "greater than 0"),
    (
        [f"stages.distill.imitation.{part}_weight=0" for part in ("logits", "hidden")],
        "stages.distill.imitation: logits_weight, hidden_weight, relation_weight and labels_weight are all 0",
        "one must be greater",
    ),
    (
        ["stages.distill.imitation.optimization.batch_size=1.5"],
        "stages.distill.imitation.optimization.batch_size is 1.5",
        "whole number",
    ),
    (
        ["stages.distill.imitation.optimization.warmup_share=2"],
        "stages.distill.imitation.optimization.warmup_share is 2",
        "(0, 1]",
    ),
    (["stages.distill.imitation.shortest_epoch=0"], "stages.distill.imitation.shortest_epoch is 0", "at least 1"),
    (["stages.distill.imitation.max_steps=0"], "stages.distill.imitation.max_steps is 0", "null"),
    (["stages.prune.gradual.cuts=0"], "stages.prune.gradual.cuts is 0", "at least 1"),
    (["stages.prune.gradual.between=1"], "stages.prune.gradual.between is 1", "[0, 1)"),
    (["stages.distill.epochs=0"], "stages.distill.epochs is 0", "greater than 0"),
    (["stages.distill.epochs=inf"], "stages.distill.epochs is inf", "finite"),
    (["stages.distill.epochs=nan"], "stages.distill.epochs is nan", "finite"),
    (["stages.distill.epochs=many"], "stages.distill.epochs is many", "greater than 0"),
    (["stages.distill.layers=0"], "stages.distill.layers is 0", "at least 1"),
    (["stages.distill.layers=2.5"], "stages.distill.layers is 2.5", "whole number"),
    (["stages.distill.layers=half"], "stages.distill.layers is", "half"),
    (["stages.distill.layers=null"], "stages.distill.layers is None", "number"),
    (["stages.distill.layers=[1,a]"], "stages.distill.layers is [1, 'a']", "ascending"),
    (["stages.distill.layers=[2,1]"], "stages.distill.layers is [2, 1]", "ascending"),
    (["stages.factorize.rank=8"], "stages.factorize has kept_energy and rank set", "null"),
    (["stages.factorize.kept_energy=1.2"], "stages.factorize.kept_energy is 1.2", "(0, 1]"),
    (["stages.factorize.kept_energy=null", "stages.factorize.ratio=0"], "stages.factorize.ratio is 0", "(0, 1]"),
    (["stages.factorize.kept_energy=null", "stages.factorize.rank=1.5"], "stages.factorize.rank is 1.5", "whole"),
    (["stages.factorize.kept_energy=null"], "stages.factorize has none of kept_energy, ratio, rank set", "exactly one"),
    (["stages.quantize.scheme=int4"], "stages.quantize.scheme is 'int4'", "dynamic, static"),
    (["stages.quantize.keep_float=classifier"], "stages.quantize.keep_float is 'classifier'", "list"),
    (["stages.quantize.calibration.examples=0"], "stages.quantize.calibration.examples is 0", "whole number"),
    (["stages.quantize.calibration.percentile=40"], "stages.quantize.calibration.percentile is 40", "(50, 100]"),
    (["stages.quantize.static_inner=1"], "stages.quantize.static_inner is 1", "true or false"),
    (["stages.quantize.smoothing=1.5"], "stages.quantize.smoothing is 1.5", "null for none"),
    (["stages.quantize.smoothing=0"], "stages.quantize.smoothing is 0", "(0, 1]"),
    (["stages.quantize.float_share=1.5"], "stages.quantize.float_share is 1.5", "[0, 1)"),
    (["stages.quantize.sensitivity_examples=0"], "stages.quantize.sensitivity_examples is 0", "whole number"),
    (["blame_seconds=-1"], "blame_seconds is -1", "at least 0"),
    (["blame_seconds=long"], "blame_seconds is long", "0 for not at all"),
    (["gates.quantize.max_accuracy_drop=1.5"], "gates.quantize.max_accuracy_drop is 1.5", "0.01 for one point"),
    (["gates.quantize.min_speedup=0"], "gates.quantize.min_speedup is 0", "null"),
    (["gates.quantize.confidence=95"], "gates.quantize.confidence is 95", "0.95"),
    (["gates.quantize.confidence=0.5"], "gates.quantize.confidence is 0.5", "0.95"),
    (["gates.quantize.on_failure=rollback"], "gates.quantize.on_failure is 'rollback'", "Did you mean 'roll_back'?"),
    (["gates.quantize.on_inconclusive=pass"], "gates.quantize.on_inconclusive is 'pass'", "fail, keep"),
    (["measurement.launches=0"], "measurement.launches is 0", "at least 1"),
    (["measurement.rounds=two"], "measurement.rounds is two", "whole number"),
    (["measurement.warmup=-1"], "measurement.warmup is -1", "at least 0"),
    (["measurement.retry_seconds=-1"], "measurement.retry_seconds is -1", "at least 0"),
    (["measurement.again=maybe"], "measurement.again is 'maybe'", "true or false"),
    (["runtime.threads=0"], "runtime.threads is 0", "at least 1"),
    (["runtime.threads=4096"], "runtime.threads is 4096", "or fewer"),
    (["seed=-1"], "seed is -1", "at least 0"),
    (["seed=0.5"], "seed is 0.5", "whole number"),
    (["seed=4294967296"], "seed is 4294967296", "at most 4294967295"),
    (["store=null"], "store is None", "folder"),
    (["device=gpu"], "device is 'gpu'", "auto, cpu, cuda"),
    (["data.max_length=2"], "data.max_length is 2", "at least 4"),
    (["data.max_length=64"], "data.max_length is 64", "at most 40 tokens"),
    (["data.validation_share=0"], "data.validation_share is 0", "(0, 1)"),
    (["data.train=null"], "data.train is null", "at least one of the two"),
    (["data.text=3"], "data.text is 3", "one column, or two for pairs"),
    (["data.text=[a,b,c]"], "data.text is ['a', 'b', 'c']", "two for pairs"),
    (["data.label=null"], "data.label is null; it must be text", "data.label=TEXT"),
    (["model.path=null"], "model.path is null; it must be text", "model.path=TEXT"),
    (["stages.prune.imitation=null"], "stages.prune.imitation is null", "group of settings"),
    (["stages.prune.importance=null"], "stages.prune.importance is None", "importance@stages.prune.importance=fisher"),
    (
        [SHARES, "stages.prune.importance=null"],
        "stages.prune.importance is None",
        "importance@stages.prune.importance=magnitude",
    ),
    (
        ["importance@stages.prune.importance=fisher", "stages.prune.importance.examples=0"],
        "stages.prune.importance.examples is 0",
        "at least 1",
    ),
    ([SHARES, "stages.prune.layers=[2,1]"], "stages.prune.layers is [2, 1]", "Use 0.5 or [0,2,4], for example."),
    ([SHARES, "order=[prune]", "stages.prune.layers=[0,9]"], "stages.prune.layers is [0, 9]", "layers are 0 to 3"),
    (
        [SHARES, "order=[prune]", "stages.prune.refit=true", "stages.prune.refit_examples=2"],
        "stages.prune.refit_examples is 2; the 2 training examples chosen have",
        "33 unknowns",
    ),
    (["stages.prune.imitation=3"], "stages.prune.imitation is 3", "(Imitation)"),
    (["data=hub", "~data.train"], "data.name is not set", "Add data.name="),
    (["data=bbc"], "data.train is no setting of the recipe 'text_classification' with data=bbc", "data=bbc --cfg job"),
    # What only the model can tell, in the last stage of several.
    (
        ["order=[distill,quantize]", "stages.distill.layers=9"],
        "stages.distill.layers is 9; the model has 4",
        "4 or fewer",
    ),
    (
        ["order=[distill]", "stages.distill.imitation.relation_layer=5"],
        "stages.distill.imitation.relation_layer is 5; the teacher has 4 layers",
        "null",
    ),
    (
        ["data.unlabelled=nowhere/more.txt"],
        "data.unlabelled is 'nowhere/more.txt'; there is no folder",
        "Check the path",
    ),
    (["order=[distill]", "stages.distill.layers=[0,4]"], "the model's layers are 0 to 3", "[0, 4]"),
    (["order=[distill]", "stages.distill.hidden_size=20"], "stages.distill.hidden_size is 20", "multiple of the head"),
    (
        ["order=[distill,factorize]", "stages.factorize.kept_energy=null", "stages.factorize.rank=500"],
        "stages.factorize.rank is 500",
        "would grow",
    ),
    (["stages.quantize.keep_float=[clasifier]"], "keep_float has 'clasifier', which matches no layer", "'classifier'"),
    (
        ["order=[distill]", "student.path=nowhere"],
        "student.path is nowhere, which does not exist",
        "Give the folder of a saved model.",
    ),
]


@pytest.mark.parametrize(
    ("arguments", "named", "way_out"), WRONG_SETTINGS, ids=[" ".join(case[0]) for case in WRONG_SETTINGS]
)
def test_a_wrong_setting_is_named(terminal: Terminal, arguments: list[str], named: str, way_out: str) -> None:
    message = terminal.refused(*arguments)
    assert named in message and way_out in message, message


def test_a_missing_setting_is_named(terminal: Terminal) -> None:
    answer = terminal.type("-cn", "text_classification")
    assert answer.status == 2
    assert answer.message.startswith("model.path is not set; the recipe 'text_classification' needs it.")
    assert "Add model.path=" in answer.message


def test_the_recipe_that_has_a_setting_is_named(terminal: Terminal) -> None:
    """The quickstart brings its own data: whoever gives theirs has left out the recipe that takes them."""
    answer = terminal.type(f"model.path={terminal.model}", f"data.train={terminal.data}")
    assert answer.status == 2
    assert "data.train is no setting of the recipe 'quickstart'" in answer.message
    assert "The recipe text_classification has it: compress -cn text_classification ..." in answer.message
    answer = terminal.type("text_classification", f"model.path={terminal.model}")
    assert answer.status == 2 and "is a recipe, not a setting. Put -cn before it" in answer.message


def test_a_misspelt_recipe_is_named(terminal: Terminal) -> None:
    answer = terminal.type("-cn", "text_clasification")
    assert answer.status == 2 and "Did you mean 'text_classification'?" in answer.message


def test_a_recipe_folder_that_is_not_there(terminal: Terminal) -> None:
    answer = terminal.type("-cd", "recepies", "-cn", "mine")
    assert answer.status == 2 and "-cd is recepies, which is no folder" in answer.message


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there(terminal: Terminal) -> None:
    assert "device is cuda, but torch finds no GPU here" in terminal.refused("device=cuda")


OWN_RECIPES = [
    ("stages: {quantize: {_target_: mine.Quantise}}", "stages.quantize._target_ is 'mine.Quantise'", "PYTHONPATH"),
    (
        "stages: {quantize: {_target_: compress.methods.quantize.int8.QuantiseInt8}}",
        "compress.methods.quantize.int8 has no QuantiseInt8",
        "Did you mean 'QuantizeInt8'?",
    ),
    (
        "stages: {prune: {_target_: compress.stages.prune.structured.PruneStructured}}",
        "compress.stages.prune.structured has moved to compress.methods.prune.structured",
        "Use compress.methods.prune.structured.PruneStructured",
    ),
    (
        "runtime: {_target_: compress.runtimes.onnxruntime.OnnxRuntime}",
        "compress.runtimes.onnxruntime has moved to compress.runtimes.onnxruntime.runtime",
        "Use compress.runtimes.onnxruntime.runtime.OnnxRuntime",
    ),
    ("stages: {quantize: {_target_: int}}", "stages.quantize._target_ is 'int'", "package.module.Class"),
    ("stages: {again: {_target_: builtins.dict}}", "stages.again._target_", "has no apply, leaves, refuses"),
    ("stages: {again: {heads: 0.5}}", "stages.again is {'heads': 0.5}", "_target_"),
    ("stages: {quantize: {schem: static}}", "stages.quantize.schem is no setting", "Did you mean 'scheme'?"),
    ("sede: 3", "sede is set, but nothing reads it", "Did you mean 'seed'?"),
    ("order: [quantize", "mine.yaml", "line"),
]


@pytest.mark.parametrize(("text", "named", "way_out"), OWN_RECIPES, ids=[case[0] for case in OWN_RECIPES])
def test_a_recipe_of_the_users_own(terminal: Terminal, text: str, named: str, way_out: str) -> None:
    folder = terminal.folder / "mine"
    folder.mkdir()
    (folder / "mine.yaml").write_text(f"defaults: [text_classification, _self_]\n{text}\n", encoding="utf-8")
    answer = terminal.type("-cd", str(folder), "-cn", "mine", *terminal.command()[3:-2], "device=cpu")
    assert answer.status == 2
    assert named in answer.message and way_out in answer.message, answer.message
    terminal.require_nothing_left()


def test_a_value_of_ones_own_may_be_taken_up_elsewhere(terminal: Terminal) -> None:
    message = terminal.refused(SHARES, "+share=1.5", "stages.prune.heads=${share}")
    assert message.startswith("stages.prune.heads is 1.5;")


# Data ----------------------------------------------------------------------------------------------------------------


def _write(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


ROWS = [{"text": f"kas lot {i}", "label": ("cold", "warm")[i % 2]} for i in range(20)]


def test_a_missing_file_is_named_with_its_nearest(terminal: Terminal) -> None:
    message = terminal.refused("data.train=exampels.jsonl")
    assert "data.train is 'exampels.jsonl'" in message and "Did you mean 'examples.jsonl'?" in message


def test_a_missing_column_is_named_with_what_was_found(terminal: Terminal) -> None:
    message = terminal.refused("data.text=txt")
    assert "data.text is 'txt'" in message and "found: text, label, article" in message and "'text'" in message
    assert "data.label is 'lable'" in terminal.refused("data.label=lable")


def test_an_empty_file(terminal: Terminal) -> None:
    (terminal.folder / "empty.jsonl").touch()
    assert "holds no rows" in terminal.refused("data.train=empty.jsonl")


def test_an_empty_text(terminal: Terminal) -> None:
    rows = [*ROWS, {"text": " ", "label": "cold"}]
    message = terminal.refused(f"data.train={terminal.data}", f"data.validation={_write(Path('v.jsonl'), *rows)}")
    assert "example 21 of data.validation has no text" in message


def test_a_label_that_the_model_does_not_know(terminal: Terminal) -> None:
    rows = [*ROWS, {"text": "kas", "label": "wram"}]
    message = terminal.refused(f"data.validation={_write(Path('v.jsonl'), *rows)}")
    assert "has the label 'wram', which the model does not know (it knows: cold, warm). Did you mean 'warm'?" in message


@pytest.mark.parametrize("row", [5, 7, 19])
@pytest.mark.parametrize(
    ("wrong", "told"), [({"label": "wram"}, "has the label 'wram'"), ({"text": " "}, "has no text")]
)
def test_an_example_is_counted_as_in_the_file(terminal: Terminal, row: int, wrong: dict[str, str], told: str) -> None:
    """Though a part of the file was split off for validation."""
    rows = [*ROWS]
    rows[row] = {**rows[row], **wrong}
    message = terminal.refused(f"data.train={_write(Path('one.jsonl'), *rows)}")
    assert f"example {row + 1} of data.train {told}" in message


def test_a_split_off_part_with_a_single_class(terminal: Terminal) -> None:
    message = terminal.refused(f"data.train={_write(Path('two.jsonl'), *ROWS[:2])}")
    assert "has a single label" in message
    assert "Its 1 examples were cut from data.train, by data.validation_share and seed." in message


def test_a_single_class(terminal: Terminal) -> None:
    rows = [row for row in ROWS if row["label"] == "cold"]
    message = terminal.refused(f"data.validation={_write(Path('v.jsonl'), *rows)}")
    assert "data.validation has a single label ('cold')" in message


# Models --------------------------------------------------------------------------------------------------------------


def test_a_folder_that_is_not_there(terminal: Terminal) -> None:
    message = terminal.refused(f"model.path={terminal.folder / 'teachr'}")
    assert "which does not exist" in message and "Did you mean 'teacher'?" in message


def test_a_folder_that_is_no_checkpoint(terminal: Terminal) -> None:
    assert "it has no config.json" in terminal.refused(f"model.path={terminal.folder}")
    assert "a file" in terminal.refused(f"model.path={terminal.data}")


def test_no_weights(terminal: Terminal) -> None:
    (terminal.model / "model.safetensors").unlink()
    assert "it has no model.safetensors" in terminal.refused()


def test_truncated_weights(terminal: Terminal) -> None:
    path = terminal.model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert "model.safetensors is damaged or incomplete" in terminal.refused()


def test_a_flipped_bit_in_the_header(terminal: Terminal) -> None:
    path = terminal.model / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[8] ^= 1
    path.write_bytes(content)
    assert "model.safetensors is damaged or incomplete" in terminal.refused()


def test_a_header_that_is_longer_than_the_file(terminal: Terminal) -> None:
    path = terminal.model / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 2**60) + path.read_bytes()[8:])
    assert "model.safetensors is damaged or incomplete" in terminal.refused()


def test_a_weight_that_is_not_a_number(terminal: Terminal) -> None:
    path = terminal.model / "model.safetensors"
    tensors = load_file(path)
    tensors["classifier.weight"][0, 0] = float("nan")
    save_file(tensors, path, metadata={"format": "pt"})
    assert "the weight classifier.weight has values that are not finite" in terminal.refused()


def test_a_weight_of_another_shape(terminal: Terminal) -> None:
    path = terminal.model / "model.safetensors"
    tensors = load_file(path)
    tensors["bert.pooler.dense.weight"] = torch.zeros(3, 3)
    save_file(tensors, path, metadata={"format": "pt"})
    assert "model.path is" in terminal.refused()


def test_a_weight_that_is_missing(terminal: Terminal) -> None:
    path = terminal.model / "model.safetensors"
    tensors = load_file(path)
    del tensors["bert.encoder.layer.1.output.dense.weight"]
    save_file(tensors, path, metadata={"format": "pt"})
    message = terminal.refused()
    assert "bert.encoder.layer.1.output.dense.weight" in message and "classification head" not in message


def test_a_pickle(terminal: Terminal) -> None:
    (terminal.model / "model.safetensors").unlink()
    (terminal.model / "pytorch_model.bin").write_bytes(b"not read")
    message = terminal.refused()
    assert "a pickle (pytorch_model.bin)" in message and "save_pretrained" in message


def test_an_index_that_leaves_its_folder(terminal: Terminal) -> None:
    (terminal.model / "model.safetensors").rename(terminal.folder / "outside.safetensors")
    index = {"metadata": {}, "weight_map": {"classifier.weight": "../outside.safetensors"}}
    (terminal.model / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert "names '../outside.safetensors', which leaves its folder" in terminal.refused()


def test_onnx_data_that_leaves_its_folder(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    for place in ("../secret", "/etc/passwd"):
        del weight.external_data[:]
        weight.external_data.add(key="location", value=place)
        output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
        graph = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [], [output], [weight])
        onnx.save(helper.make_model(graph), tmp_path / "model.onnx")
        with pytest.raises(InputError, match="leaves its folder"):
            require_data_inside(tmp_path / "model.onnx")


def test_a_family_that_is_not_supported(terminal: Terminal) -> None:
    AutoModelForSequenceClassification.from_config(
        GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=40, pad_token_id=0)
    ).save_pretrained(terminal.model)
    assert "a model of type 'gpt2'; supported are" in terminal.refused()


def test_a_model_type_that_nobody_knows(terminal: Terminal) -> None:
    path = terminal.model / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "model_type": "bertt"}), encoding="utf-8")
    message = terminal.refused()
    assert "a model of type 'bertt'" in message and "Did you mean 'bert'?" in message


def test_no_head(terminal: Terminal) -> None:
    encoder = AutoModel.from_config(AutoConfig.from_pretrained(terminal.model))
    encoder.save_pretrained(terminal.model)
    message = terminal.refused()
    assert "no trained classification head" in message and "model=fine_tuned" in message


@pytest.mark.parametrize(
    ("settings", "where", "what"),
    [
        ({"problem_type": "multi_label_classification"}, "problem_type is 'multi_label_", "any number of labels"),
        ({"problem_type": "regression"}, "problem_type is 'regression'", "gives an example several numbers"),
        ({"problem_type": "ranking"}, "problem_type is 'ranking'", "nobody here knows such answers"),
        ({"id2label": {"0": "score"}, "label2id": {"score": 0}}, "num_labels is 1", "gives an example a number"),
    ],
)
def test_a_head_that_does_not_choose_one_label(
    settings: dict[str, Any], where: str, what: str, terminal: Terminal
) -> None:
    path = terminal.model / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **settings}), encoding="utf-8")
    message = terminal.refused()
    assert where in message and what in message and "text_classification chooses one" in message
    assert "model=fine_tuned" in message


def test_no_tokenizer(terminal: Terminal) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (terminal.model / name).unlink()
    message = terminal.refused()
    assert "tokenizer" in message and "tokenizer.save_pretrained" in message


def test_a_tokenizer_without_a_pad_token(terminal: Terminal) -> None:
    path = terminal.model / "tokenizer_config.json"
    settings = json.loads(path.read_text("utf-8"))
    del settings["pad_token"]
    path.write_text(json.dumps(settings), encoding="utf-8")
    assert "tokenizer has no pad token" in terminal.refused()


def test_settings_are_checked_before_fine_tuning(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(self: Any, context: Any) -> Any:
        raise AssertionError("work was done")

    monkeypatch.setattr("compress.methods.teachers.fine_tuned.FineTunedTeacher.make", make)
    fine_tuned = ("model=fine_tuned", "order=[distill,factorize]", "stages.factorize.kept_energy=null")
    assert "rank is 500" in terminal.refused(*fine_tuned, "stages.factorize.rank=500")
    assert "model.epochs is 0" in terminal.refused("model=fine_tuned", "model.epochs=0")
    assert "model.optimization.learning_rate is -1" in terminal.refused(
        "model=fine_tuned", "model.optimization.learning_rate=-1"
    )
    assert "the package no_such_package is not installed" in terminal.refused(
        "model=fine_tuned", "model.path=package:no_such_package/model"
    )


def test_a_validation_split_of_one_group(terminal: Terminal) -> None:
    rows = [json.loads(line) for line in terminal.data.read_text(encoding="utf-8").splitlines()]
    text = "".join(json.dumps({**row, "author": "a" if i % 2 else "b"}) + "\n" for i, row in enumerate(rows))
    terminal.data = terminal.folder / "grouped.jsonl"
    terminal.data.write_text(text, encoding="utf-8")
    message = terminal.refused("data.group=author")
    assert "data.group puts all 80 validation examples into one group" in message
    assert "data.validation_share" in message and "null for no groups" in message


# Folders and disks ---------------------------------------------------------------------------------------------------


def test_a_store_that_cannot_be_written(terminal: Terminal) -> None:
    assert "store is" in (message := terminal.refused(f"store={terminal.data}/store")) and "store=DIR" in message


def test_a_run_folder_that_cannot_be_made(terminal: Terminal) -> None:
    message = terminal.refused(f"hydra.run.dir={terminal.data}/run")
    assert "hydra.run.dir cannot be made" in message and "Name another folder" in message


def test_a_disk_that_is_read_only(terminal: Terminal, small_disk: Callable[[str], Path]) -> None:
    disk = small_disk("ro,size=1m")
    assert "Read-only file system" in terminal.refused(f"store={disk / 'store'}")
    assert "Read-only file system" in terminal.refused(f"hydra.run.dir={disk / 'run'}")


def test_a_disk_that_is_too_small_is_seen_before(terminal: Terminal, small_disk: Callable[[str], Path]) -> None:
    message = terminal.refused(f"store={small_disk('size=128k') / 'store'}")
    assert "store is" in message and "the run needs about" in message and "name another folder" in message


def test_a_run_folder_in_use(terminal: Terminal) -> None:
    folder = terminal.folder / "run"
    folder.mkdir()
    (folder / "ledger.jsonl").write_text("of the other\n", encoding="utf-8")
    with subprocess.Popen([sys.executable, "-c", _holder(folder)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline()
        answer = terminal.run()
        other.kill()
    assert answer.status == 2 and "in use by a run that is still alive" in answer.message
    assert (folder / "ledger.jsonl").read_text(encoding="utf-8") == "of the other\n"


def test_a_run_folder_that_holds_the_users_own_files(terminal: Terminal) -> None:
    own = terminal.folder / "project" / "export" / "precious.txt"
    own.parent.mkdir(parents=True)
    own.write_text("mine", encoding="utf-8")
    for flags in ((), ("--dry-run",)):
        answer = terminal.run(*flags, f"hydra.run.dir={own.parent.parent}")
        assert answer.status == 2 and "would replace export, which no run wrote" in answer.message
        assert [path.name for path in own.parent.parent.iterdir()] == ["export"]
    assert own.read_text(encoding="utf-8") == "mine"
    assert "the folder that holds the teacher" in terminal.refused(f"hydra.run.dir={terminal.model}")
    assert not (terminal.model / ".lock").exists()


@pytest.mark.parametrize("wrong", ["seed=-1", "data.label=nothing", "model.path=nowhere"])
def test_a_refusal_leaves_no_folder_behind_that_was_made_for_it(terminal: Terminal, wrong: str) -> None:
    assert terminal.run(wrong, "hydra.run.dir=outputs/mine/now").status == 2
    assert not (terminal.folder / "outputs").exists()
    # What the user made stays, and what something lies in.
    (terminal.folder / "outputs").mkdir()
    assert terminal.run(wrong, "hydra.run.dir=outputs/mine/now").status == 2
    assert list((terminal.folder / "outputs").iterdir()) == []
    (terminal.folder / "outputs" / "mine" / "before").mkdir(parents=True)
    assert terminal.run(wrong, "hydra.run.dir=outputs/mine/now").status == 2
    assert [path.name for path in (terminal.folder / "outputs" / "mine").iterdir()] == ["before"]


@pytest.mark.parametrize("prefix", ["", "+", "++"])
def test_a_folder_beside_a_recipe_that_is_named_like_a_setting(terminal: Terminal, prefix: str) -> None:
    recipes = terminal.folder / "mine"
    (recipes / "store" / "artifacts").mkdir(parents=True)
    (recipes / "mine.yaml").write_text("defaults: [text_classification, _self_]\n", encoding="utf-8")
    given = ("-cd", str(recipes), "-cn", "mine", f"{prefix}store=elsewhere", "seed=-1")
    paths = (f"model.path={terminal.model}", f"data.train={terminal.data}", f"hydra.run.dir={terminal.folder / 'run'}")
    answer = terminal.type(*given, *paths)
    assert answer.status == 2
    assert answer.message == (
        f"{prefix}store=elsewhere cannot be set while there is a folder {recipes / 'store'}: Hydra takes a folder "
        "beside a recipe for a group of settings of that name. Move the folder store, or put the recipe into a folder "
        f"of its own: -cd {recipes}/recipes."
    )
    shutil.rmtree(recipes / "store")
    if prefix != "+":
        assert terminal.type(*given, *paths).message.startswith("seed is -1;")


def test_a_refusal_leaves_an_earlier_result_alone(terminal: Terminal) -> None:
    folder = terminal.folder / "run"
    (folder / "export").mkdir(parents=True)
    for name in ("summary.json", "report.html", "ledger.jsonl", "export/model.onnx"):
        (folder / name).write_text("earlier", encoding="utf-8")
    assert terminal.run("order=[distill]", "stages.distill.layers=9").status == 2
    for name in ("summary.json", "report.html", "ledger.jsonl", "export/model.onnx"):
        assert (folder / name).read_text(encoding="utf-8") == "earlier"


def test_a_disk_that_fills_up(
    terminal: Terminal, small_disk: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compress.pipeline.preflight.check_space", lambda *arguments: None)
    # The first is too small for the teacher's artifact; the second holds it, but not its export.
    for size in ("80k", "600k"):
        store = small_disk(f"size={size}") / "store"
        answer = terminal.run(f"store={store}")
        assert answer.status == 2 and answer.errors.count("compress:") == 1, answer.errors
        assert re.search(r"is full: .* needs about \d\.\d MB, and 0\.\d MB are free, \d\.\d MB too few", answer.errors)
        assert "What was finished is kept. Free some space" in answer.errors
        assert "Traceback" not in answer.errors and not (store / "damaged").exists()
        assert not any((store / "exports").glob("[!.]*"))
        assert not (terminal.folder / "run" / "export").exists()
        assert not (terminal.folder / "run" / "summary.json").exists()
        assert terminal.rows() == []
    assert len(list((store / "artifacts").glob("[!.]*"))) == 1


# The whole program --------------------------------------------------------------------------------------------------


def _distilled(settings: list[str]) -> Path:
    """The folder of the artifact that a run with these settings would make first, without measuring it."""
    recipe = build(compose_settings("text_classification", quoted(settings)), "r")
    loaded, store = load(recipe, warn=print, check=lambda *given: None)
    teacher = make_or_find(store, teacher_artifact(loaded))
    return make_or_find(store, stage_artifact(loaded, "distill", teacher, teacher)).folder


def test_a_refusal_in_a_process_of_its_own(terminal: Terminal) -> None:
    command = [sys.executable, "-c", "from compress.cli.commands.run import main; main()"]
    done = subprocess.run(
        [*command, *terminal.command(SHARES, "stages.prune.heads=2")[1:]], capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("compress: stages.prune.heads is 2; it must lie in (0, 1].")
    assert done.stderr.count("\n") == 1
    terminal.require_nothing_left()


@pytest.mark.parametrize("arguments", [["--help"], ["-cn", "text_classification", "--cfg", "job"]])
def test_answers_do_not_wait_for_torch(tmp_path: Path, arguments: list[str]) -> None:
    program = (
        f"import sys; sys.argv[1:] = {arguments!r}\n"
        "from compress.cli.commands.run import main\n"
        "try: main()\n"
        "except SystemExit as done: assert done.code == 0\n"
        "assert not {'torch', 'transformers', 'datasets', 'onnx'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "max_accuracy_drop" in done.stdout and not any(tmp_path.iterdir())


def test_a_sweep_reports_every_combination_that_cannot_be_used(terminal: Terminal) -> None:
    command = terminal.command("seed=-1,0.5", f"hydra.sweep.dir={terminal.folder / 'sweep'}")
    answer = terminal.type("-m", *command[1:])
    assert answer.status == 2
    assert "compress: 2 of 2 combinations cannot be used, so none was started." in answer.errors
    assert "seed=-1: seed is -1;" in answer.errors and "seed=0.5: seed is 0.5;" in answer.errors
    assert not (terminal.folder / "sweep").exists()


def test_paths_with_spaces_and_letters(workplace: Terminal) -> None:
    folder = workplace.folder / "Prüfung (eins), a=b"
    folder.mkdir()
    workplace.model = workplace.model.rename(folder / "Modell ß")
    workplace.data = workplace.data.rename(folder / "Sätze, erste.jsonl")
    answer = workplace.run(*PASSES, f"hydra.run.dir={folder / 'Lauf 1'}")
    assert answer.status == 0, answer.errors
    summary = json.loads((folder / "Lauf 1" / "summary.json").read_text(encoding="utf-8"))
    assert summary["settings"]["model"]["path"] == str(workplace.model)
    assert (folder / "Lauf 1" / "export" / "model.onnx").is_file()


def test_the_second_run_does_nothing_again(workplace: Terminal) -> None:
    assert workplace.run(*PASSES).status == 0
    first = workplace.rows()
    shutil.rmtree(workplace.folder / "run")
    assert workplace.run(*PASSES).status == 0
    again = workplace.rows()
    assert [row["stage"] for row in again] == ["teacher", "quantize"]
    assert all(row["reused"] for row in again)
    assert [row["artifact"] for row in again] == [row["artifact"] for row in first]
    assert [row["latency_ms_p50"] for row in again] == [row["latency_ms_p50"] for row in first]


def test_a_folder_left_by_a_dead_process(workplace: Terminal) -> None:
    folder = workplace.folder / "run"
    (folder / "export").mkdir(parents=True)
    for name in ("summary.json", "report.html", "ledger.jsonl", "export/manifest.json", "export/left-over"):
        (folder / name).write_text("earlier", encoding="utf-8")
    with subprocess.Popen([sys.executable, "-c", _holder(folder)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline()
        other.kill()
    assert workplace.run(*PASSES).status == 0
    assert json.loads((folder / "summary.json").read_text(encoding="utf-8"))["student"]["stage"] == "quantize"
    assert not (folder / "export" / "left-over").exists() and len(workplace.rows()) == 2


def test_nothing_passed(workplace: Terminal) -> None:
    limits = ("gates.quantize.max_accuracy_drop=0", "gates.quantize.min_speedup=1000")
    answer = workplace.run(*limits)
    folder = workplace.folder / "run"
    assert answer.status == 3
    message = next(line for line in answer.errors.splitlines() if line.startswith("compress: "))
    assert "nothing passed its gate, so nothing was exported. quantize: accuracy" in message
    assert "limit 1000.00: 99" in message and "below" in message and str(folder) in message
    assert [(row["stage"], row["verdict"]) for row in workplace.rows()] == [
        ("teacher", "baseline"),
        ("quantize", "failed"),
    ]
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert summary["student"] is None and summary["exported"] is None and (folder / "report.html").is_file()
    assert not (folder / "export").exists()


@pytest.mark.parametrize(
    ("order", "layers", "stage"),
    [
        ("order=[prune,fuse]", "auto", "prune"),
        ("order=[distill,prune,fuse]", "auto", "distill"),
        ("order=[distill,prune,fuse]", "2", "prune"),
    ],
)
def test_an_objective_below_what_cannot_be_cut(
    workplace: Terminal, monkeypatch: pytest.MonkeyPatch, order: str, layers: str, stage: str
) -> None:
    def trained(*arguments: Any, **more: Any) -> None:
        raise AssertionError("something was trained for an objective that is out of reach")

    monkeypatch.setattr("transformers.Trainer.train", trained)
    monkeypatch.setattr(latency_table, "TURNS", Measurement(examples=8, launches=1, rounds=2, warmup=1))
    answer = workplace.run(order, "objective.speedup=100000", f"stages.distill.layers={layers}")
    assert answer.status == 2
    message = next(line for line in answer.errors.splitlines() if line.startswith("compress: "))
    assert f"stages.{stage}.target_speedup is 100000, a budget of 0.000 ms here" in message, message
    # What it takes at least, and what could be asked for instead.
    assert re.search(r"take \d+\.\d{3} ms, \d+\.\d times the teacher's speed\. Ask for ", message), message
    assert [(row["stage"], row["verdict"]) for row in workplace.rows()][1:] == [(stage, "error")]
    folder = workplace.folder / "run"
    assert not (folder / "export").exists() and not (folder / "summary.json").exists()


def test_a_limit_above_an_objective_that_nothing_reads(workplace: Terminal) -> None:
    answer = workplace.run("order=[quantize]", "objective.speedup=10", "gates.quantize.min_speedup=1000")
    assert answer.status == 3 and workplace.rows()[-1]["verdict"] == "failed"


ON_FAILURE = [("stop", "stop", 3, "quantize"), ("roll_back", "roll_back", 3, None), ("warn", "keep", 0, None)]


@pytest.mark.parametrize(("on_failure", "decision", "status", "stopped_at"), ON_FAILURE)
def test_what_happens_on_failure(
    workplace: Terminal, on_failure: str, decision: str, status: int, stopped_at: str | None
) -> None:
    limits = (f"gates.quantize.on_failure={on_failure}", "gates.quantize.min_speedup=1000")
    answer = workplace.run(*limits)
    assert answer.status == status
    row = workplace.rows()[-1]
    assert (row["verdict"], row["decision"]) == ("failed", decision)
    # A model is exported, so the status is 0: the last line says what it missed.
    last = answer.errors.strip().splitlines()[-1]
    assert last.startswith("warning: the exported model missed its limits: at stage quantize, ") == (status == 0), last
    assert ("gates.quantize.on_failure=roll_back." in last) == (status == 0)
    summary = json.loads((workplace.folder / "run" / "summary.json").read_text(encoding="utf-8"))
    assert summary["stopped_at"] == stopped_at
    assert (workplace.folder / "run" / "export").exists() == (status == 0)
    assert (summary["exported"] or {}).get("proven") == (None if status else False)


def test_stop_runs_no_later_stage(workplace: Terminal) -> None:
    limits = ("gates.quantize.on_failure=stop", "gates.quantize.min_speedup=1000")
    twice = ("+stages.again=${stages.quantize}", "+gates.again=${gates.quantize}", "order=[quantize,again]")
    assert "puts again after quantize" in workplace.run(*twice).message
    answer = workplace.run("order=[quantize]", *limits)
    assert answer.status == 3 and workplace.rows()[-1]["decision"] == "stop"


@pytest.mark.parametrize(("on_inconclusive", "decision", "status"), [("keep", "keep", 0), ("fail", "roll_back", 3)])
def test_what_happens_when_the_data_cannot_tell(
    workplace: Terminal, on_inconclusive: str, decision: str, status: int
) -> None:
    # The tiny model answers as before on each of 32 examples, whose interval is still some points wide.
    limits = ("gates.quantize.max_accuracy_drop=0.01", f"gates.quantize.on_inconclusive={on_inconclusive}")
    answer = workplace.run(*limits)
    row = workplace.rows()[-1]
    assert (row["verdict"], row["decision"], answer.status) == ("inconclusive", decision, status)


def test_an_interrupted_run_resumes(workplace: Terminal, tmp_path: Path) -> None:
    assert workplace.run(*PASSES).status == 0
    store = tmp_path / "store"
    shutil.copytree(workplace.store, store)
    distill = (
        "order=[distill]",
        "stages.distill.epochs=10",
        "gates.distill.max_accuracy_drop=1",
        f"hydra.run.dir={tmp_path / 'run'}",
    )
    # A checkpoint after every step, and a pause after each: the tiny model would be done before the signal came.
    program = (
        "import time, compress.methods.training.loop as loop; loop.CHECKPOINT_SECONDS = 0\n"
        "saved = loop._TimedCheckpoints.on_save\n"
        "loop._TimedCheckpoints.on_save = lambda *given, **more: (saved(*given, **more), time.sleep(0.2))\n"
        "from compress.cli.commands.run import main; main()"
    )
    command = [sys.executable, "-c", program, *workplace.command(*distill, f"store={store}")[1:]]

    # A shell starts its background jobs with SIGINT ignored, and children inherit that: a terminal does not.
    def as_in_a_terminal() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=as_in_a_terminal
    ) as process:
        while process.poll() is None and not any(store.glob("work/*/distillation/checkpoint-*/whole")):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors and "stopped; the same command goes on" in errors
    assert not (tmp_path / "run" / "export").exists() and not (tmp_path / "run" / "summary.json").exists()
    assert not any(path.name.endswith(".unfinished") for path in store.glob("artifacts/.*"))
    assert any(store.glob("work/*/distillation/checkpoint-*"))

    assert workplace.run(*distill, f"store={store}").status == 0
    assert not any((store / "work").iterdir())
    settings = workplace.command(*distill[:-1])[3:]
    settings = [setting for setting in settings if not setting.startswith("hydra.")]
    uninterrupted = _distilled(settings)
    resumed = store / "artifacts" / workplace.rows()[-1]["artifact"]
    assert uninterrupted.name == resumed.name
    assert load_file(uninterrupted / "model.safetensors").keys() == load_file(resumed / "model.safetensors").keys()
    assert sha256_of(uninterrupted / "model.safetensors") == sha256_of(resumed / "model.safetensors")


def _holder(folder: Path) -> str:
    return (
        f"import filelock, time; lock = filelock.FileLock({str(folder / '.lock')!r}); lock.acquire(); "
        "print(1, flush=True); time.sleep(60)"
    )


@pytest.mark.parametrize(
    ("tags", "setting", "message"),
    [
        (["cold", "warm"], "seed=0", r"this model has a text-classification head; use -cn text_classification"),
        (["cold"], "seed=0", r"data.tags=tags: example 1 of data.train has 1 tags for 2 tokens"),
        (["cold", "wram"], "seed=0", r"example 1 of data.train has the tag 'wram'.*Did you mean 'warm'\?"),
        (["cold", "warm"], "data.scheme=bio", r"data.scheme is bio; entity F1 needs labels that are O, B-TYPE"),
        (["cold", "warm"], "data.tokens=3", r"data.tokens is 3; it must be text. Use data.tokens=TEXT"),
        (["cold", "warm"], "data.stride=99", r"data.stride is 99; it must be at most half of data.max_length"),
    ],
)
def test_tagged_words_that_cannot_be_used(
    tags: list[str], setting: str, message: str, terminal: Terminal, tmp_path: Path
) -> None:
    if "head" not in message:
        config = AutoConfig.from_pretrained(terminal.model)
        AutoModelForTokenClassification.from_config(config).save_pretrained(terminal.model)
    rows = [{"tokens": ["kas", "kat"], "tags": tags}, *({"tokens": ["los"], "tags": [tag]} for tag in ("cold", "warm"))]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    for name in ("train", "validation"):
        (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf-8")
    files = [f"data.{name}={tmp_path / name}.jsonl" for name in ("train", "validation")]
    answer = terminal.type("-cn", "token_classification", *terminal.command(*files, setting)[3:])
    assert answer.status == 2
    assert re.search(message, answer.message), answer.message
    terminal.require_nothing_left()


PAIR = {"query": "kas", "passage": ["kat", "los"], "label": [1, 0]}
SCORED = {"text": "kas kat", "score": 1.5}
NAMED = {"text": "kas kat", "labels": ["cold"]}
OTHER_ANSWERS = [
    ("reranker", {"query": "kas", "label": [1, 0]}, r"data\.passage is 'passage', a column that data\.train does not"),
    ("reranker", {**PAIR, "label": [1]}, r"data\.label=label: example 2 of data\.train has 2 passages and 1 labels"),
    ("reranker", {**PAIR, "label": [1, "high"]}, r"column 'label' mixes kinds of value"),
    (
        "reranker",
        {**PAIR, "label": [2, 0]},
        r"has the relevance 2; it must lie between 0 and 1. Use task\.labels=scores",
    ),
    ("regression", {**SCORED, "score": "good"}, r"column 'score' mixes kinds of value.*all as numbers"),
    ("regression", {**SCORED, "score": None}, r"example 2 of data\.train has no score \(None\)"),
    ("multi_label_classification", {**NAMED, "labels": ["wram"]}, r"the class 'wram', which .*Did you mean 'warm'\?"),
    ("multi_label_classification", {"text": "kas"}, r"data\.label=labels: example 2 of data\.train has None for its c"),
]


@pytest.mark.parametrize(("recipe", "row", "message"), OTHER_ANSWERS, ids=[case[2] for case in OTHER_ANSWERS])
def test_pairs_scores_and_classes_that_cannot_be_used(
    recipe: str, row: dict[str, Any], message: str, terminal: Terminal, tmp_path: Path
) -> None:
    path = terminal.model / "config.json"
    if recipe == "multi_label_classification":
        said = {"problem_type": "multi_label_classification"}
        path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **said}), encoding="utf-8")
    else:
        config = AutoConfig.from_pretrained(terminal.model, num_labels=1)
        AutoModelForSequenceClassification.from_config(config).save_pretrained(terminal.model)
    fine: dict[str, list[dict[str, Any]]] = {
        "reranker": [PAIR, {**PAIR, "query": "los"}],
        "regression": [SCORED, {**SCORED, "score": 2}],
        "multi_label_classification": [NAMED, {**NAMED, "labels": ["warm"]}],
    }
    rows = [fine[recipe][0], row, fine[recipe][1]]
    if "a column that" in message:
        rows = [row, row]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "validation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in fine[recipe]), "utf-8")
    files = [f"data.{name}={tmp_path / name}.jsonl" for name in ("train", "validation")]
    answer = terminal.type("-cn", recipe, *terminal.command(*files)[3:])
    assert answer.status == 2, answer.errors
    assert re.search(message, answer.message), answer.message
    terminal.require_nothing_left()
