"""What student is made, and whom each of its layers imitates."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertModel,
    GPT2Config,
    PreTrainedModel,
)

from compress.core.errors import InputError
from compress.core.latency_table import LatencyTable
from compress.methods.distill import layers as module
from compress.methods.distill.layers import Distill
from compress.methods.training.imitation import Imitation
from compress.nn.checkpoint import load_model, save_model
from compress.nn.family import hidden_size, layers_of
from compress.nn.structure import plain_form, structure_of
from compress.nn.surgery import keep_heads
from compress.tasks.text_classification import TextClassification

Seen = dict[str, Any]

TABLE = LatencyTable(40.0, 0.4, {1: 1.0, 4: 4.0}, {16: 0.5, 64: 2.0}, {4: 0.4}, {16: 0.1, 32: 0.2})


@pytest.fixture
def stage(imitation: Imitation) -> Distill:
    """Two layers of the teacher's width."""
    return Distill(
        layers=2,
        target_speedup=None,
        narrowest=0.4,
        hidden_size=None,
        student_path=None,
        activation=None,
        epochs=1,
        imitation=imitation,
    )


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """How `imitate` was called; nothing is trained."""
    found: Seen = {}

    def record(student: PreTrainedModel, context: Any, settings: Any, **how: Any) -> PreTrainedModel:
        found.update(how)
        return student

    monkeypatch.setattr(module, "imitate", record)
    return found


@pytest.mark.parametrize(
    ("layers", "chosen", "layer_map"),
    [
        (1, [3], [4]),
        (2, [1, 3], [2, 4]),
        (3, [0, 2, 3], [1, 3, 4]),
        (4, [0, 1, 2, 3], [1, 2, 3, 4]),
        ([0, 2], [0, 2], [1, 4]),  # the last stands for the teacher's last
        ([1, 2, 3], [1, 2, 3], [2, 3, 4]),
        ((0,), [0], [4]),
    ],
)
def test_layers_of_the_teacher(
    layers: Any,
    chosen: list[int],
    layer_map: list[int],
    stage: Distill,
    seen: Seen,
    depth_type: str,
    make_model: Callable,
    make_context: Callable,
) -> None:
    model = make_model(depth_type)
    before = copy.deepcopy(model.state_dict())
    stage = dataclasses.replace(stage, layers=layers)
    stage.check(model)
    student = stage.apply(model, make_context(make_model(depth_type)))
    assert seen == {"epochs": 1, "title": "distillation", "layer_map": layer_map}
    assert len(layers_of(student)) == len(chosen)
    for layer, number in zip(layers_of(student), chosen, strict=True):
        original = layers_of(model)[number].module.state_dict()
        assert all(torch.equal(value, original[name]) for name, value in layer.module.state_dict().items())
    assert structure_of(student).is_plain
    # The model that was given is as it was.
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_model_that_was_cut_before(stage: Distill, seen: Seen, make_model: Callable, make_context: Callable) -> None:
    """Two layers stand for the teacher's 2 and 4; the one that is left, for its last."""
    dataclasses.replace(stage, layers=1).apply(make_model(layers=2), make_context(make_model()))
    assert seen["layer_map"] == [4]
    dataclasses.replace(stage, layers=2).apply(make_model(layers=2), make_context(make_model()))
    assert seen["layer_map"] == [2, 4]


def test_a_narrower_student(
    stage: Distill, seen: Seen, width_type: str, make_model: Callable, make_context: Callable
) -> None:
    model = make_model(width_type)
    stage = dataclasses.replace(stage, hidden_size=16)
    stage.check(model)
    student = stage.apply(model, make_context(make_model(width_type)))
    assert hidden_size(student) == 16
    assert [layer.heads for layer in layers_of(student)] == [2, 2]
    assert [layer.neurons for layer in layers_of(student)] == [64, 64]
    assert structure_of(student).is_plain


def test_really_trained(stage: Distill, width_type: str, make_model: Callable, make_context: Callable) -> None:
    model = make_model(width_type)
    student = dataclasses.replace(stage, hidden_size=16).apply(model, make_context(make_model(width_type)))
    untrained = module.narrow(_cut(model), 16)
    assert structure_of(student).is_plain
    assert not student.training
    changed = [
        name for name, value in student.state_dict().items() if not torch.equal(value, untrained.state_dict()[name])
    ]
    assert len(changed) > len(untrained.state_dict()) / 2


def _cut(model: PreTrainedModel) -> PreTrainedModel:
    student = copy.deepcopy(model)
    module.keep_layers(student, [1, 3])
    return student


def test_a_narrower_student_of_an_edited_model(stage: Distill, make_model: Callable, make_context: Callable) -> None:
    model = make_model()
    keep_heads(model, layers_of(model)[1], torch.tensor([0]))
    with pytest.raises(InputError, match=r"the hidden width of this model cannot change"):
        dataclasses.replace(stage, hidden_size=16).apply(model, make_context(make_model()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": 5}, r"stages.distill.layers is 5; the model has 4. Use 4 or fewer"),
        ({"layers": [0, 4]}, r"stages.distill.layers is \[0, 4\]; the model's layers are 0 to 3"),
        ({"layers": [-1, 2]}, r"stages.distill.layers is \[-1, 2\]; the model's layers are 0 to 3"),
        ({"hidden_size": 12}, r"hidden_size is 12; it must be a multiple of the head size 8 and at most 32. Use 16"),
        ({"hidden_size": 40}, r"hidden_size is 40; it must be a multiple of the head size 8 and at most 32"),
    ],
)
def test_settings_that_do_not_fit_the_model(
    change: dict[str, Any], message: str, stage: Distill, make_model: Callable, make_context: Callable
) -> None:
    stage = dataclasses.replace(stage, **change)
    with pytest.raises(InputError, match=message):
        stage.check(make_model())
    with pytest.raises(InputError, match=message):
        stage.apply(make_model(), make_context(make_model()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": 0}, r"stages.distill.layers is 0; it must be a whole number of at least 1"),
        ({"layers": []}, r"stages.distill.layers is \[\]; a list names different layers in ascending order"),
        ({"layers": [2, 1]}, r"stages.distill.layers is \[2, 1\]"),
        ({"layers": [1, 1]}, r"stages.distill.layers is \[1, 1\]"),
        ({"epochs": 0}, r"stages.distill.epochs is 0; it must be greater than 0"),
        ({"hidden_size": 0}, r"stages.distill.hidden_size is 0"),
    ],
)
def test_settings_are_checked_when_built(change: dict[str, Any], message: str, stage: Distill) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(stage, **change)


# A student from a folder.


def student_folder(folder: Path, model: PreTrainedModel) -> str:
    folder.mkdir()
    save_model(model, folder)
    return str(folder)


def test_a_student_of_ones_own(
    stage: Distill, seen: Seen, make_model: Callable, make_context: Callable, tmp_path: Path
) -> None:
    own = make_model("distilbert", layers=3, seed=5)
    own.config.id2label, own.config.label2id = {0: "A", 1: "B"}, {"A": 0, "B": 1}
    stage = dataclasses.replace(stage, student_path=student_folder(tmp_path / "student", own))
    stage.check(make_model())
    student = stage.apply(make_model(), make_context(make_model()))
    assert seen["layer_map"] is None
    assert student.config.model_type == "distilbert"
    assert all(torch.equal(value, own.state_dict()[name]) for name, value in student.state_dict().items())
    assert student.config.id2label == {0: "cold", 1: "warm"}


@pytest.mark.parametrize(
    ("of_teacher", "of_student"),
    [*permutations(("bert", "distilbert", "electra"), 2), *permutations(("roberta", "xlm-roberta", "camembert"), 2)],
)
def test_a_student_of_another_family(
    of_teacher: str, of_student: str, stage: Distill, make_model: Callable, make_context: Callable, tmp_path: Path
) -> None:
    teacher, own = make_model(of_teacher), make_model(of_student, layers=2, seed=5)
    stage = dataclasses.replace(stage, student_path=student_folder(tmp_path / "student", own))
    stage.check(teacher)
    foreseen = stage.foresee(teacher)
    assert type(foreseen) is type(own)
    assert {name: value.shape for name, value in foreseen.state_dict().items()} == {
        name: value.shape for name, value in own.state_dict().items()
    }
    student = stage.apply(copy.deepcopy(teacher), make_context(teacher))
    assert type(student) is type(own) and student.config.id2label == teacher.config.id2label
    assert not torch.equal(student.classifier.state_dict()[_first(student)], own.classifier.state_dict()[_first(own)])
    (tmp_path / "artifact").mkdir()
    save_model(student, tmp_path / "artifact")
    assert type(load_model(tmp_path / "artifact")) is type(own)


def _first(model: PreTrainedModel) -> str:
    return next(iter(model.classifier.state_dict()))


def test_a_student_of_another_family_with_another_head(make_model: Callable) -> None:
    tagger = AutoModelForTokenClassification.from_config(make_model("bert").config)
    config = make_model("distilbert", layers=2).config
    assert type(plain_form(tagger, config)).__name__ == "DistilBertForTokenClassification"
    with pytest.raises(InputError, match=r"student\.path holds a model of type 'vit', of which there is none with"):
        plain_form(tagger, make_model("vit").config)


def test_a_student_without_a_head_gets_one(
    stage: Distill, seen: Seen, make_model: Callable, make_context: Callable, tmp_path: Path
) -> None:
    encoder = BertModel(make_model(layers=2).config)
    encoder.save_pretrained(tmp_path / "student")
    stage = dataclasses.replace(stage, student_path=str(tmp_path / "student"))
    student = stage.apply(make_model(), make_context(make_model()))
    assert student.classifier.out_features == 2
    assert torch.equal(student.bert.pooler.dense.weight, encoder.pooler.dense.weight)


def test_students_that_cannot_be_one(
    stage: Distill, make_model: Callable, make_context: Callable, tmp_path: Path
) -> None:
    other_words = AutoConfig.for_model(
        "bert", vocab_size=99, hidden_size=32, num_hidden_layers=1, num_attention_heads=4
    )
    edited = make_model()
    keep_heads(edited, layers_of(edited)[0], torch.tensor([1]))
    students = {
        "words": (AutoModelForSequenceClassification.from_config(other_words), r"vocabulary has 99 entries.*34; both"),
        "deep": (make_model(layers=5), r"which has 5 layers and the teacher 4. Use a smaller one"),
        "edited": (edited, r"whose layers an earlier run has edited"),
    }
    for name, (model, message) in students.items():
        found = dataclasses.replace(stage, student_path=student_folder(tmp_path / name, model))
        with pytest.raises(InputError, match=message):
            found.check(make_model())
        with pytest.raises(InputError, match=message):
            found.apply(make_model(), make_context(make_model()))
    GPT2Config(n_layer=1, n_embd=8, n_head=2).save_pretrained(tmp_path / "words")
    with pytest.raises(InputError, match=r"student\.path holds a model of type 'gpt2'; supported are"):
        dataclasses.replace(stage, student_path=str(tmp_path / "words")).check(make_model())
    with pytest.raises(InputError, match=r"which does not exist"):
        dataclasses.replace(stage, student_path=str(tmp_path / "nowhere")).check(make_model())


def test_a_student_whose_tokens_have_another_order_is_refused(
    stage: Distill, make_model: Callable, make_tokenizer: Callable, tmp_path: Path
) -> None:
    task, tokenizer = TextClassification(text="text", label="label", max_length=8), make_tokenizer()
    own = dataclasses.replace(stage, student_path=student_folder(tmp_path / "student", make_model(layers=2)))
    own.check_processor(task, tokenizer)
    tokenizer.save_pretrained(tmp_path / "student")
    own.check_processor(task, tokenizer)
    path = tmp_path / "student" / "tokenizer.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    words = settings["model"]["vocab"]
    words["kas"], words["kat"] = words["kat"], words["kas"]
    path.write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(InputError, match=r"student\.path is .* gives 2 tokens other numbers .*such as 'ka[st]'"):
        own.check_processor(task, tokenizer)


def test_a_student_with_another_activation_is_still_a_plain_model(
    stage: Distill, model_type: str, make_model: Callable, make_context: Callable, batch: dict, tmp_path: Path
) -> None:
    teacher = make_model(model_type)
    student = dataclasses.replace(stage, activation="relu").apply(copy.deepcopy(teacher), make_context(teacher))
    assert structure_of(student).is_plain
    save_model(student, tmp_path)
    again = type(student).from_pretrained(tmp_path).eval()
    with torch.no_grad():
        torch.testing.assert_close(again(**batch).logits, student(**batch).logits)
    inner = layers_of(again)[0].weight(layers_of(again)[0].ffn_inputs[-1])
    assert layers_of(again)[0].part("activation")(-inner.abs()).max() == 0
    assert layers_of(teacher)[0].part("activation")(-inner.abs()).max() < 0


def test_an_activation_that_does_not_exist_is_refused(stage: Distill) -> None:
    with pytest.raises(InputError, match=r"stages\.distill\.activation is 'rellu'.*Did you mean 'relu'"):
        dataclasses.replace(stage, activation="rellu")


@pytest.mark.parametrize(("speedup", "layers"), [(2.0, 4), (4.0, 4), (5.0, 3), (30.0, 1), (45.0, 1)])
def test_as_many_layers_as_the_objective_leaves_time_for(
    stage: Distill, speedup: float, layers: int, make_model: Callable, make_context: Callable, notes: list[str]
) -> None:
    # Half of 4 heads and of 64 neurons: 2 + 1 = 3 a layer, 0.6 the last, 0.4 fixed. Of 40 there are 20, 10, 8, 1.33 or
    # 0.89: four layers take 10, three 7, two 4, one 1. (10 is not more than 10, and 7 is not more than 8.) In 0.89 not
    # even one layer fits so wide, but a narrower one does.
    teacher = make_model()
    asked = dataclasses.replace(stage, layers="auto", target_speedup=speedup, narrowest=0.5)
    assert asked.uses_latency
    student = asked.apply(copy.deepcopy(teacher), make_context(teacher, latency=lambda _: TABLE))
    assert len(layers_of(student)) == layers


def test_an_objective_out_of_reach_is_refused_before_any_training(
    stage: Distill, seen: Seen, make_model: Callable, make_context: Callable
) -> None:
    # 40 / 50 = 0.8. One head 0.4, one neuron 0.00625 (on the line through 0.1 and 0.2), 0.4 fixed: 0.80625.
    teacher = make_model()
    asked = dataclasses.replace(stage, layers="auto", target_speedup=50)
    message = r"target_speedup is 50, a budget of 0\.800 ms here; .* would take 0\.806 ms, 49\.6 times"
    with pytest.raises(InputError, match=message):
        asked.apply(copy.deepcopy(teacher), make_context(teacher, latency=lambda _: TABLE))
    assert not seen


def test_auto_needs_an_objective(stage: Distill, make_model: Callable) -> None:
    unset = dataclasses.replace(stage, layers="auto")
    with pytest.raises(InputError, match=r"stages\.distill\.layers is auto, which needs objective\.speedup"):
        unset.check(make_model())
    dataclasses.replace(unset, target_speedup=2.0).check(make_model())
