"""What can be known to go wrong is known before any work, from settings, shapes and the disk alone."""

from __future__ import annotations

import dataclasses
import shutil
from collections import namedtuple
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from transformers import PreTrainedModel

from compress.core.errors import InputError, TooLittleError
from compress.core.objective import Objective
from compress.core.recipe import Recipe
from compress.core.stage import StageDefaults, Training
from compress.core.structure import Edit, Structure
from compress.methods.prune.magnitude import PruneMagnitude
from compress.methods.training.imitation import Imitation
from compress.nn.family import layers_of
from compress.nn.layers import KINDS
from compress.nn.layers.low_rank_linear import LowRankLinear
from compress.nn.structure import replace_module
from compress.pipeline.preflight import (
    MEANING,
    check_examples,
    check_model,
    check_order,
    check_settings,
    check_space,
    check_teacher,
    check_threads,
    check_timed,
)
from compress.tasks.text_classification import TextClassification


@dataclasses.dataclass
class Cut(StageDefaults):
    """A stage that cannot follow int8, and leaves nothing."""

    leaves: ClassVar[frozenset[str]] = frozenset()
    refuses: ClassVar[Mapping[str, str]] = {"int8": "int8 cannot be cut; cut first"}


@dataclasses.dataclass
class Quantize(StageDefaults):
    """A stage that leaves int8, and cannot follow it."""

    leaves: ClassVar[frozenset[str]] = frozenset({"int8"})
    refuses: ClassVar[Mapping[str, str]] = {"int8": "it is int8 already; quantize once"}


@dataclasses.dataclass
class Factorize(StageDefaults):
    """A stage that looks at the model's shape."""

    rank: int
    leaves: ClassVar[frozenset[str]] = frozenset({"low_rank"})
    refuses: ClassVar[Mapping[str, str]] = {"sparse": "it destroys zeros"}

    def check(self, model: PreTrainedModel) -> None:
        """The rank must be below the width."""
        if self.rank >= model.config.hidden_size:
            raise InputError(f"stages.factorize.rank is {self.rank}")


@dataclasses.dataclass
class Fit(Cut):
    """A stage that reads the latency table, and cannot follow a fusion."""

    uses_latency: bool = True
    refuses: ClassVar[Mapping[str, str]] = {"fused": "fused layers cannot be cut; cut before fusing"}


@dataclasses.dataclass
class Fuse(StageDefaults):
    """A stage that leaves fused layers, and cannot follow int8."""

    leaves: ClassVar[frozenset[str]] = frozenset({"fused"})
    refuses: ClassVar[Mapping[str, str]] = {"int8": "int8 cannot be fused; fuse first"}


def recipe_of(
    *order: str,
    rank: int = 1,
    threads: int = 1,
    store: Path = Path("store"),
    has_latency_table: bool = True,
    decodes: bool = False,
    **stages: Any,
) -> Recipe:
    """A recipe with only what a check reads."""
    known = {"cut": Cut(), "fit": Fit(), "fuse": Fuse(), "quantize": Quantize(), "factorize": Factorize(rank), **stages}
    refuses = {"sparse": "it is slow at zeros; use another"}
    declared = {"has_latency_table": has_latency_table, "refuses": refuses}
    runtime = SimpleNamespace(name="slow", threads=threads, **declared)
    signature = TextClassification(text=["first", "second"], label="label", max_length=16).signature
    task = SimpleNamespace(decodes=decodes, signature=signature)
    shared = {"gates": dict.fromkeys(known), "runtime": runtime, "task": task}
    read: Any = SimpleNamespace(order=order, stages=known, store=store, **shared)
    return read


def test_a_good_order_passes() -> None:
    check_order(recipe_of("cut", "factorize", "quantize"))


BAD_ORDERS = [
    ((), "order is empty; it must name at least one stage. Use order=[quantize], for example."),
    (
        ("quantise",),
        "order names 'quantise', which is no stage (stages: cut, fit, fuse, quantize, factorize). "
        "Did you mean 'quantize'?",
    ),
    (("quantize", "cut"), "order=[quantize,cut] puts cut after quantize: int8 cannot be cut; cut first."),
    (("quantize", "quantize"), "order=[quantize,quantize] puts quantize after quantize: it is int8 already"),
    (("quantize", "factorize", "cut"), "puts cut after quantize"),
    (("cut", "factorize", "cut"), "order=[cut,factorize,cut] names cut twice"),
]


@pytest.mark.parametrize(("order", "message"), BAD_ORDERS)
def test_a_bad_order_is_refused(order: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError) as refused:
        check_order(recipe_of(*order))
    assert message in str(refused.value)


@pytest.mark.parametrize("order", [("fit", "fuse"), ("fit", "cut", "factorize", "fuse", "quantize")])
def test_sizes_chosen_by_latency_are_fused_before_they_are_measured(order: tuple[str, ...]) -> None:
    check_order(recipe_of(*order))


@pytest.mark.parametrize("order", [("fit",), ("fit", "quantize"), ("cut", "fit", "factorize")])
def test_a_latency_that_would_not_be_measured_is_refused(order: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as refused:
        check_order(recipe_of(*order))
    assert str(refused.value).startswith(
        f"order=[{','.join(order)}] has no fuse after fit, which chooses sizes by the latency of fused layers. Add"
    )


def test_layers_that_are_never_fused_need_no_fusion() -> None:
    check_order(recipe_of("fit", "quantize", decodes=True))


def test_what_comes_after_a_fusion_is_refused_for_that() -> None:
    with pytest.raises(InputError, match=r"puts fit after fuse: fused layers cannot be cut; cut before fusing"):
        check_order(recipe_of("fuse", "fit"))
    with pytest.raises(InputError, match=r"puts fuse after quantize: int8 cannot be fused; fuse first"):
        check_order(recipe_of("fit", "quantize", "fuse"))


def test_a_runtime_without_a_latency_table_is_refused() -> None:
    with pytest.raises(InputError, match=r"^stages\.fit chooses sizes by .* runtime=slow has no latency table"):
        check_order(recipe_of("fit", "fuse", has_latency_table=False))
    check_order(recipe_of("fit", fit=Fit(uses_latency=False), has_latency_table=False))


@dataclasses.dataclass
class Trim(Cut):
    """A stage that gives its result a tokenizer of its own."""

    changes_processor: ClassVar[bool] = True


@dataclasses.dataclass
class Learn(Cut):
    """A stage that may learn from the teacher."""

    steps: int = 1

    def training(self, examples: int) -> Training | None:
        """So many steps."""
        return Training(self.steps, 1) if self.steps else None


def test_who_writes_other_tokens_than_the_teacher_does_not_learn_from_it() -> None:
    stages = {"trim": Trim(), "learn": Learn()}
    with pytest.raises(
        InputError, match=r"^order=\[trim,cut,learn\] puts learn after trim: it learns from the teacher"
    ):
        check_order(recipe_of("trim", "cut", "learn", decodes=True, **stages))
    check_order(recipe_of("learn", "trim", "quantize", decodes=True, **stages))
    check_order(recipe_of("trim", "learn", decodes=True, trim=Trim(), learn=Learn(0)))
    # Where tokens are only read, the teacher's answers are about the same.
    check_order(recipe_of("trim", "learn", **stages))


@pytest.mark.parametrize("kind", ["fused_layer", "fused_embeddings"])
def test_a_fused_teacher_cannot_be_cut(kind: str) -> None:
    structure = Structure({"bert.embeddings": Edit(kind, {})})
    with pytest.raises(InputError, match="puts fit after the teacher: fused layers cannot be cut"):
        check_teacher(recipe_of("fit", "fuse"), structure)
    check_teacher(recipe_of("quantize"), structure)


def test_every_stage_in_order_needs_a_gate() -> None:
    recipe = recipe_of("cut")
    recipe.gates.pop("cut")  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=r"^gates has no 'cut'; every stage in order needs a gate\."):
        check_order(recipe)


def test_every_kind_of_layer_that_was_changed_has_a_meaning() -> None:
    assert KINDS.keys() - MEANING.keys() == {"linear"}


@pytest.mark.parametrize("kind", ["int8_dynamic_linear", "int8_static_linear", "int8_embedding", "int4_embedding"])
def test_a_teacher_in_int8_cannot_be_quantized(kind: str) -> None:
    structure = Structure({"classifier": Edit(kind, {})})
    with pytest.raises(InputError, match="puts quantize after the teacher: it is int8 already"):
        check_teacher(recipe_of("quantize"), structure)
    check_teacher(recipe_of("factorize"), structure)


def test_a_sparse_teacher_cannot_be_factorized_by_a_later_stage() -> None:
    structure = Structure({"classifier": Edit("masked_linear", {})})
    with pytest.raises(InputError, match="puts factorize after the teacher: it destroys zeros"):
        check_teacher(recipe_of("cut", "factorize"), structure)


def test_a_runtime_refuses_what_it_is_slow_at() -> None:
    @dataclasses.dataclass
    class Zero(StageDefaults):
        leaves: ClassVar[frozenset[str]] = frozenset({"sparse"})
        refuses: ClassVar[Mapping[str, str]] = {}

    message = "runtime is slow, which is to run what zero makes: it is slow at zeros; use another."
    with pytest.raises(InputError) as refused:
        check_order(recipe_of("zero", "cut", zero=Zero()))
    assert str(refused.value) == message
    with pytest.raises(InputError) as refused:
        check_teacher(recipe_of("cut"), Structure({"classifier": Edit("masked_linear", {})}))
    assert str(refused.value) == message.replace("zero makes", "the teacher makes")


def test_stages_look_at_a_model_without_weights(make_model: Callable[..., PreTrainedModel]) -> None:
    with torch.device("meta"):
        model = make_model()
    check_settings(recipe_of("cut", "factorize", rank=31), model)
    with pytest.raises(InputError, match=r"stages\.factorize\.rank is 32"):
        check_settings(recipe_of("cut", "factorize", rank=32), model)
    check_settings(recipe_of("cut", rank=32), model)


def test_a_student_that_reads_what_no_example_has_is_refused(make_model: Callable[..., PreTrainedModel]) -> None:
    @dataclasses.dataclass
    class Into(Cut):
        model_type: str

        def foresee(self, model: PreTrainedModel) -> PreTrainedModel:
            return make_model(self.model_type)

    # The last stage's result, too. A BERT tells the two texts of a pair apart, and a DistilBERT does not.
    check_settings(recipe_of("into", into=Into("distilbert")), make_model("bert"))
    with pytest.raises(InputError, match=r"student\.path holds a bert that reads token_type_ids; the teacher, a"):
        check_settings(recipe_of("into", into=Into("bert")), make_model("distilbert"))


def test_stages_look_at_the_examples(make_model: Callable[..., PreTrainedModel]) -> None:
    seen: list[Any] = []

    class Counting(Cut):
        def check_examples(self, model: PreTrainedModel, lengths: Any, seed: int) -> None:
            seen.append((model, lengths, seed))

    recipe, model = recipe_of("cut", "fit", fit=Counting()), make_model()
    recipe.seed = 7  # type: ignore[misc]
    check_examples(recipe, model, [3, 5])
    assert seen == [(model, [3, 5], 7)]


def test_a_stages_imitation_looks_at_the_teacher(
    make_model: Callable[..., PreTrainedModel], imitation: Imitation
) -> None:
    late = PruneMagnitude(weights=0.5, scope="layer", pattern=None, recovery_epochs=1, imitation=imitation)
    check_settings(recipe_of("late", late=late), make_model())
    late = dataclasses.replace(late, imitation=dataclasses.replace(imitation, relation_layer=5))
    with pytest.raises(InputError, match=r"^stages\.late\.imitation\.relation_layer is 5; the teacher has 4 layers"):
        check_settings(recipe_of("late", late=late), make_model())


def test_a_models_own_structure_is_read(make_model: Callable[..., PreTrainedModel], tmp_path: Path) -> None:
    model = make_model()
    path = layers_of(model)[0].path_of("query")
    replace_module(model, path, LowRankLinear.of(torch.zeros(32, 2), torch.zeros(2, 32), torch.zeros(32)))
    after: Any = Cut()
    refusing = type("Refusing", (), {"leaves": after.leaves, "refuses": {"low_rank": "two factors are not one"}})()
    with pytest.raises(InputError, match="puts late after the teacher: two factors are not one"):
        check_model(recipe_of("late", late=refusing, store=tmp_path), tmp_path, model, None)


def test_more_threads_than_processors_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compress.pipeline.preflight.allowed_cpus", lambda: [0, 3])
    check_threads(recipe_of("cut", threads=2))
    with pytest.raises(InputError, match=r"runtime\.threads is 3; this process may use 2 processors"):
        check_threads(recipe_of("cut", threads=3))


def test_a_disk_without_room_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    asked: list[Path] = []

    def free(path: Path) -> usage:
        asked.append(path)
        return usage(10**10, 0, 6 * 10**9)

    monkeypatch.setattr(shutil, "disk_usage", free)
    recipe, folder = recipe_of("cut", store=tmp_path / "not" / "yet"), tmp_path / "run"
    # One stage: six times the teacher.
    check_space(recipe, folder, 10**9)
    assert asked == [tmp_path, tmp_path]
    with pytest.raises(InputError) as refused:
        check_space(recipe, folder, 2 * 10**9)
    assert str(refused.value) == (
        f"store is {tmp_path / 'not' / 'yet'}, on a disk with 6.00 GB free; the run needs about 12.00 GB, 6.00 GB "
        "more. Free some, or name another folder."
    )


def test_batches_that_nothing_fills() -> None:
    def asked(workload: str, rows: int) -> None:
        check_timed(SimpleNamespace(objective=Objective(speedup=None, max_accuracy_drop=None, workload=workload)), rows)  # type: ignore[arg-type]

    asked("one", 1)
    asked("bulk", 32)
    with pytest.raises(TooLittleError, match=r"bulk, which times 32 examples at once, .* split has 31\. Give"):
        asked("bulk", 31)
