"""Text to inputs, labels to numbers, logits to scores, and what is said about data that cannot be used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, BertModel, PreTrainedTokenizerFast

from compress.core.errors import InputError
from compress.runtimes.onnxruntime.runtime import OnnxRuntime
from compress.tasks.text_classification import TextClassification

TASK = TextClassification(text="text", label="label", max_length=8)
PAIRS = TextClassification(text=("first", "second"), label="label", max_length=8)


@pytest.fixture
def config(make_model: Callable) -> Any:
    """Of a model whose labels are 0 = cold and 1 = warm."""
    return make_model().config


def data(**columns: Any) -> Dataset:
    return Dataset.from_dict(columns)


TWO = {"text": ["kas kat", "lon"], "label": ["warm", "cold"]}


def test_encode(tokenizer: PreTrainedTokenizerFast, config: Any) -> None:
    # [PAD] [UNK] [CLS] [SEP] are 0 to 3, kas kat kan kam kar 4 to 8, los 9.
    rows = TASK.encode(data(text=["kas kar", "los unheard"], label=["warm", "cold"]), tokenizer, config, "train")
    assert rows["input_ids"] == [[2, 4, 8, 3], [2, 9, 1, 3]]
    assert rows["attention_mask"] == [[1, 1, 1, 1]] * 2
    assert rows["labels"] == [1, 0]
    assert rows["length"] == [4, 4]
    assert rows["group"] == [0, 1]
    assert set(rows.column_names) == {"input_ids", "attention_mask", "labels", "length", "group"}


def test_an_encoder_that_was_multi_label_learns_one_label(config: Any) -> None:
    config.problem_type = "multi_label_classification"
    assert TASK.fit_config(config, data(**TWO)).problem_type is None


def test_encode_without_labels(tokenizer: PreTrainedTokenizerFast, config: Any) -> None:
    examples = data(text=["kas kar", "los"], label=[None, "unknown to the model"])
    rows = TASK.encode_unlabelled(examples, tokenizer, config)
    assert rows["input_ids"] == [[2, 4, 8, 3], [2, 9, 3]]
    assert rows["labels"] == [-100, -100]
    assert rows["length"] == [4, 3]
    assert rows.features == TASK.encode(data(**TWO), tokenizer, config, "train").features


def test_a_single_column_without_labels_is_the_text(tokenizer: PreTrainedTokenizerFast, config: Any) -> None:
    assert TASK.encode_unlabelled(data(line=["kas"]), tokenizer, config)["input_ids"] == [[2, 4, 3]]
    with pytest.raises(
        InputError, match=r"data.text is 'text', a column that data.unlabelled does not have \(found: a"
    ):
        TASK.encode_unlabelled(data(a=["kas"], b=["kas"]), tokenizer, config)
    with pytest.raises(InputError, match=r"data.text is 'first', a column that data.unlabelled does not have"):
        PAIRS.encode_unlabelled(data(line=["kas"]), tokenizer, config)
    with pytest.raises(InputError, match=r"example 2 of data.unlabelled has no text \(' '\)"):
        TASK.encode_unlabelled(data(line=["kas", " "]), tokenizer, config)


def test_the_label_loss_of_those_that_have_one() -> None:
    # Probabilities (3/4, 1/4) for both; label 1 costs ln 4, label 0 ln (4/3).
    logits = torch.tensor([[3.0, 1.0]]).log().repeat(3, 1)
    assert float(TASK.label_loss(logits, {"labels": torch.tensor([1, -100, -100])})) == pytest.approx(np.log(4))
    both = float(TASK.label_loss(logits, {"labels": torch.tensor([1, 0, -100])}))
    assert both == pytest.approx((np.log(4) + np.log(4 / 3)) / 2)
    assert float(TASK.label_loss(logits, {"labels": torch.tensor([-100] * 3)})) == 0.0


def test_long_texts_are_cut(tokenizer: PreTrainedTokenizerFast, config: Any) -> None:
    rows = TASK.encode(data(text=["kas " * 50, "kas"], label=["warm", "cold"]), tokenizer, config, "train")
    assert rows["length"] == [8, 3]
    assert rows["input_ids"][0] == [2, 4, 4, 4, 4, 4, 4, 3]


def test_groups_are_kept(tokenizer: PreTrainedTokenizerFast, config: Any) -> None:
    assert TASK.encode(data(**TWO, group=[7, 7]), tokenizer, config, "train")["group"] == [7, 7]


def test_pairs(tokenizer: PreTrainedTokenizerFast, config: Any) -> None:
    examples = data(first=["kas", "kas " * 9], second=["los", "los"], label=["warm", "cold"])
    rows = PAIRS.encode(examples, tokenizer, config, "train")
    # The longer of the two is cut first.
    assert rows["input_ids"] == [[2, 4, 3, 9, 3], [2, 4, 4, 4, 4, 3, 9, 3]]
    assert PAIRS.text_columns == ("first", "second")


def test_collate(tokenizer: PreTrainedTokenizerFast) -> None:
    rows = [
        {"input_ids": [2, 4, 5, 3], "attention_mask": [1, 1, 1, 1], "labels": 1},
        {"input_ids": [2, 3], "attention_mask": [1, 1], "labels": 0},
    ]
    batch = TASK.collate(rows, tokenizer)
    assert batch["input_ids"].tolist() == [[2, 4, 5, 3], [2, 3, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch["labels"].tolist() == [1, 0]
    assert {value.dtype for value in batch.values()} == {torch.int64}


def test_collate_pads_with_the_tokenizers_own_token(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.pad_token = "[UNK]"
    rows = [{"input_ids": ids, "attention_mask": [1] * len(ids), "labels": 0} for ids in ([2, 4, 3], [2])]
    assert TASK.collate(rows, tokenizer)["input_ids"].tolist() == [[2, 4, 3], [2, 1, 1]]


def test_statistics_and_loss() -> None:
    outputs = [np.array([0.1, 0.9]), np.array([0.9, 0.1])]
    assert TASK.statistics(outputs, [{"labels": 1}, {"labels": 1}], None).tolist() == [[1.0, 1.0], [0.0, 1.0]]
    assert TASK.metric(None).name == "accuracy" and TASK.size_unit == "tokens"
    # ln(1 + e^0) for equal logits.
    loss = TASK.label_loss(torch.zeros(3, 2), {"labels": torch.tensor([0, 1, 1])})
    assert float(loss) == pytest.approx(np.log(2))


def test_figures() -> None:
    logits = [np.array([2.0, 0.0]), np.array([2.0, 0.0]), np.array([0.0, 1.0]), np.array([3.0, 0.0])]
    rows = [{"labels": label} for label in (0, 0, 1, 1)]
    # Class 0: precision 2/3, recall 1, F1 0.8. Class 1: precision 1, recall 1/2, F1 2/3.
    figures = TASK.figures(logits, rows, None)
    assert figures["f1_macro"] == pytest.approx((0.8 + 2 / 3) / 2)
    # (2 * 1 - 1 * 0) / sqrt(3 * 2 * 1 * 2)
    assert figures["matthews_correlation"] == pytest.approx(2 / 12**0.5)


# Labels.


@pytest.mark.parametrize(
    ("labels", "numbers"),
    [
        (["warm", "cold"], [1, 0]),
        ([1, 0], [1, 0]),
        (["1", "0"], [1, 0]),
    ],
)
def test_labels_by_name_or_by_number(
    labels: list[Any], numbers: list[int], tokenizer: PreTrainedTokenizerFast, config: Any
) -> None:
    rows = TASK.encode(data(text=["kas", "los"], label=labels), tokenizer, config, "train")
    assert rows["labels"] == numbers


def test_names_that_look_like_numbers_are_names(tokenizer: PreTrainedTokenizerFast, config: Any) -> None:
    # Stars: the model's class 0 is called "1".
    config.id2label = {0: "1", 1: "2"}
    rows = TASK.encode(data(text=["kas", "los"], label=[1, 2]), tokenizer, config, "train")
    assert rows["labels"] == [0, 1]
    config.id2label = {0: "1", 1: "0"}
    rows = TASK.encode(data(text=["kas", "los"], label=[1, 0]), tokenizer, config, "train")
    assert rows["labels"] == [0, 1]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": ["kas", " "], "label": ["warm", "cold"]}, r"data.text=text: example 2 of data.train has no text"),
        ({"text": ["kas", None], "label": ["warm", "cold"]}, r"example 2 of data.train has no text \(None\)"),
        (
            {"text": ["kas", "los"], "label": ["warm", "hot"]},
            r"example 2 of data.train has the label 'hot'.*cold, warm",
        ),
        ({"text": ["kas", "los"], "label": ["warm", "cool"]}, r"'cool'.*Did you mean 'cold'\?"),
        ({"text": ["kas", "los"], "label": ["warm", None]}, r"example 2 of data.train has no label \(None\);"),
        ({"text": ["kas", "los"], "label": ["warm", " "]}, r"example 2 of data.train has no label \(' '\);"),
        ({"text": ["kas", "los"], "label": [1.0, float("nan")]}, r"example 2 of data.train has no label \(nan\);"),
        ({"text": ["a", "b", "c"], "label": ["warm", None, None]}, r"example 2 .* has no label \(None\) and 1 more;"),
        (
            {"text": ["kas", "los"], "label": ["0.0", "1.0"]},
            r"'0.0', which .* as 0 to 1\)\. Programs .* write 0\.",
        ),
        ({"text": ["kas", "los"], "label": [1, 2]}, r"example 2 .* the label '2', .*cold, warm, as 0 to 1"),
        ({"text": ["kas", "los"], "label": ["warm", "warm"]}, r"data.train has a single label \('warm'\)"),
        ({"txt": ["kas", "los"], "label": ["warm", "cold"]}, r"data.text is 'text', a column .*found: txt, label"),
        ({"text": ["kas", "los"], "klass": ["warm", "cold"]}, r"data.label is 'label'.*Name the column: data.label="),
    ],
)
def test_data_that_cannot_be_used(columns: Any, message: str, tokenizer: PreTrainedTokenizerFast, config: Any) -> None:
    with pytest.raises(InputError, match=message):
        TASK.encode(data(**columns), tokenizer, config, "train")


def test_fit_config(config: Any) -> None:
    fitted = TASK.fit_config(config, data(text=["a"] * 3, label=["c", "a", "b"]))
    assert fitted.id2label == {0: "a", 1: "b", 2: "c"}
    assert fitted.label2id == {"a": 0, "b": 1, "c": 2}
    assert fitted.num_labels == 3
    assert config.id2label == {0: "cold", 1: "warm"}
    with pytest.raises(InputError, match=r"data.train has a single label \('a'\)"):
        TASK.fit_config(config, data(text=["a"], label=["a"]))


@pytest.mark.parametrize(
    ("model_type", "longest"), [("bert", 40), ("roberta", 39), ("camembert", 39), ("mpnet", 38), ("distilbert", 40)]
)
def test_max_length_that_the_model_cannot_take(
    model_type: str, longest: int, make_model: Callable, tokenizer: PreTrainedTokenizerFast
) -> None:
    # 40 positions; RoBERTa's first input has position pad_token_id + 1 = 1, MPNet's 2.
    model = make_model(model_type)
    examples = data(text=["kas " * 60, "los"], label=["warm", "cold"])
    fits = TextClassification(text="text", label="label", max_length=longest)
    rows = fits.encode(examples, tokenizer, model.config, "train")
    batch = fits.collate([rows[0]], tokenizer)
    assert model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.shape == (1, 2)
    too_long = TextClassification(text="text", label="label", max_length=longest + 1)
    with pytest.raises(InputError, match=rf"max_length is {longest + 1}; this model takes at most {longest} tokens"):
        too_long.encode(examples, tokenizer, model.config, "train")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_length": 3}, r"data.max_length is 3; it must be a whole number of at least 4"),
        ({"text": ()}, r"it names one column, or two for pairs"),
        ({"text": ("a", "b", "c")}, r"it names one column, or two for pairs"),
    ],
)
def test_settings_are_checked_when_built(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TextClassification(**({"text": "text", "label": "label", "max_length": 8} | settings))


# Models and tokenizers in folders.


def test_load_model(checkpoint: Path, make_model: Callable) -> None:
    model = TASK.load_model(checkpoint)
    assert not model.training
    assert all(torch.equal(value, make_model().state_dict()[name]) for name, value in model.state_dict().items())


def test_an_encoder_without_a_head(tmp_path: Path, config: Any) -> None:
    BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(
        InputError, match=r"no trained classification head \(missing: classifier.bias, classifier.weight"
    ):
        TASK.load_model(tmp_path)
    assert TASK.load_pretrained(tmp_path, config).classifier.out_features == 2


def test_no_tokenizer(tmp_path: Path, make_model: Callable) -> None:
    make_model().save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"which has no tokenizer. Save it beside the model"):
        TASK.load_processor(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"whose tokenizer cannot be loaded|which has no tokenizer"):
        TASK.load_processor(tmp_path)


def test_weights_that_are_incomplete(checkpoint: Path) -> None:
    tensors = load_file(checkpoint / "model.safetensors")
    del tensors["bert.encoder.layer.2.output.dense.bias"]
    save_file(tensors, checkpoint / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"weights are incomplete \(missing: bert.encoder.layer.2.output.dense.bias\)"):
        TASK.load_model(checkpoint)


def test_the_tokenizer_of_another_model(tokenizer: PreTrainedTokenizerFast, config: Any) -> None:
    config.vocab_size = 9
    with pytest.raises(InputError, match=r"yields token 9; the model knows 9 tokens"):
        TASK.encode(data(**TWO | {"text": ["kas", "los"]}), tokenizer, config, "train")


def test_no_pad_token(checkpoint: Path) -> None:
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        path = checkpoint / name
        if path.exists():
            settings = json.loads(path.read_text(encoding="utf-8"))
            settings.pop("pad_token", None)
            path.write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(InputError, match=r"has no pad token; batches need one"):
        TASK.load_processor(checkpoint)


def test_a_saved_tokenizer_truncates_and_does_not_pad(
    tokenizer: PreTrainedTokenizerFast, config: Any, tmp_path: Path
) -> None:
    # As a user may have left it: padding to a fixed length, another truncation.
    tokenizer.backend_tokenizer.enable_padding(length=20)
    tokenizer.backend_tokenizer.enable_truncation(5)
    TASK.save_processor(tokenizer, tmp_path)
    plain = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert plain.encode("kas").ids == [2, 4, 3]
    assert plain.encode("kas " * 30).ids == [2, *[4] * 6, 3]
    assert [len(encoded.ids) for encoded in plain.encode_batch(["kas", "kas kas"])] == [3, 4]
    examples = data(text=["kas " * 30, "los kar"], label=["warm", "cold"])
    assert TASK.encode(examples, tokenizer, config, "train")["input_ids"] == [
        plain.encode(text).ids for text in examples["text"]
    ]


def test_a_saved_tokenizer_cuts_pairs_alike(tokenizer: PreTrainedTokenizerFast, config: Any, tmp_path: Path) -> None:
    PAIRS.save_processor(tokenizer, tmp_path)
    plain = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    pairs = [("kas " * 20, "los"), ("kas", "los " * 20), ("kas " * 20, "los " * 20)]
    examples = data(first=[a for a, _ in pairs], second=[b for _, b in pairs], label=["warm", "cold", "cold"])
    assert PAIRS.encode(examples, tokenizer, config, "train")["input_ids"] == [
        plain.encode(*pair).ids for pair in pairs
    ]


def test_a_saved_tokenizer_loads_in_transformers(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    TASK.save_processor(tokenizer, tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again.model_max_length == 8
    assert again.pad_token_id == 0
    assert again("kas " * 30, truncation=True)["input_ids"] == [2, *[4] * 6, 3]
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert settings["tokenizer_class"] == "PreTrainedTokenizerFast"
    # The one in use is untouched.
    assert tokenizer.backend_tokenizer.truncation is None


def test_usage_runs_without_torch(config: Any) -> None:
    runtime = OnnxRuntime(threads=1)
    assert "torch" not in TASK.usage(runtime, None)
    assert 'tokenizer.encode("Put the text to classify here.")' in TASK.usage(runtime, None)
    pairs = PAIRS.usage(runtime, config)
    assert 'tokenizer.encode("Put the first text here.", "Put the second text to classify here.")' in pairs
    compile(TASK.usage(runtime, None), "usage", "exec")
    compile(pairs, "usage", "exec")


def test_usage_on_a_runtime_of_ones_own() -> None:
    other = SimpleNamespace(snippet=("mine", 'model = mine.open(".")', "model.run(INPUTS)"))
    lines = TASK.usage(other, None).splitlines()  # type: ignore[arg-type]
    assert lines[0] == "import json, numpy, mine, tokenizers"
    assert lines[2] == 'model = mine.open(".")'
    assert lines[4] == 'logits = model.run({"input_ids": [text.ids], "attention_mask": [text.attention_mask]})'


def test_what_a_model_takes_and_gives() -> None:
    signature = TASK.signature(None)
    assert signature.names == ("input_ids", "attention_mask")
    assert signature.dynamic_axes() == {name: {0: "batch", 1: "sequence"} for name in signature.names}
    assert (signature.output.name, signature.mask, signature.per_position) == ("logits", "attention_mask", False)


def segmented() -> PreTrainedTokenizerFast:
    """A tokenizer that marks the second text of a pair, as BERT's do."""
    backend = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "kas": 4}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]")


def test_of_pairs_a_model_with_types_reads_which_text_a_token_is_of(config: Any) -> None:
    assert PAIRS.signature(config).names == ("input_ids", "attention_mask", "token_type_ids")
    assert TASK.signature(config).names == ("input_ids", "attention_mask")
    examples = data(first=["kas", "kas kas"], second=["kas " * 9, "kas"], label=["warm", "cold"])
    rows = PAIRS.encode(examples, segmented(), config, "train")
    # Of eight tokens three are special ones; the longer text is cut first.
    assert rows["token_type_ids"] == [[0, 0, 0, 1, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1]]
    batch = PAIRS.collate(list(rows), segmented())
    assert batch["token_type_ids"].tolist() == [[0, 0, 0, 1, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1, 0, 0]]
    unlabelled = PAIRS.encode_unlabelled(examples.remove_columns("label"), segmented(), config)
    assert unlabelled.features == rows.features and unlabelled["token_type_ids"] == rows["token_type_ids"]
    assert '"token_type_ids": [text.type_ids]' in PAIRS.usage(OnnxRuntime(threads=1), config)


@pytest.mark.parametrize("model_type", ["roberta", "distilbert", "modernbert", "mpnet", "deberta-v2", "llama"])
def test_pairs_of_other_models_have_two_inputs(model_type: str, make_model: Callable) -> None:
    settings = make_model(model_type).config
    if model_type == "roberta":
        settings.type_vocab_size = 1
    assert PAIRS.signature(settings).names == ("input_ids", "attention_mask")


def test_a_trimmed_tokenizer_still_marks_the_second_text(config: Any) -> None:
    kept = PAIRS.vocabulary(segmented()).keep([0, 1, 2, 3, 4])
    assert kept("kas", "kas", return_token_type_ids=True)["token_type_ids"] == [0, 0, 0, 1, 1]


def test_a_pretrained_encoder_gets_a_head_for_other_labels(checkpoint: Path, config: Any) -> None:
    config.id2label = {0: "a", 1: "b", 2: "c"}
    config.num_labels = 3
    model = TASK.load_pretrained(checkpoint, config)
    assert model.classifier.weight.shape == (3, 32)
    stored = load_file(checkpoint / "model.safetensors")
    assert torch.equal(model.bert.pooler.dense.weight, stored["bert.pooler.dense.weight"])


def test_an_encoder_of_another_shape_is_refused(checkpoint: Path, config: Any) -> None:
    tensors = load_file(checkpoint / "model.safetensors")
    tensors["bert.pooler.dense.weight"] = torch.zeros(16, 16)
    save_file(tensors, checkpoint / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"bert\.pooler\.dense\.weight has another shape"):
        TASK.load_pretrained(checkpoint, config)


def test_pairs_are_spliced_column_by_column() -> None:
    task = TextClassification(text=["premise", "hypothesis"], label="label", max_length=16)
    train = Dataset.from_dict({"premise": ["a b", "c d"], "hypothesis": ["1 2", "3 4"], "label": ["no", "yes"]})
    found = task.splice(train, 5, 0, apart_from=[train])
    assert found.column_names == ["premise", "hypothesis"] and len(found) == 5
    digits = str.maketrans("abcd", "1234")
    assert [text.translate(digits) for text in found["premise"]] == found["hypothesis"][:]


def test_of_a_huge_text_only_the_beginning_is_tokenized(tokenizer: PreTrainedTokenizerFast, config: Any) -> None:
    read: list[int] = []

    class Watched:
        """The tokenizer, and how much it was given."""

        def __getattr__(self, name: str) -> Any:
            return getattr(tokenizer, name)

        def __call__(self, text: Any, **how: Any) -> Any:
            read.append(sum(map(len, [text] if isinstance(text, str) else text)))
            return tokenizer(text, **how)

    texts = ["kas kat " * 50_000, "los"]
    rows = TASK.encode(data(text=texts, label=["warm", "cold"]), Watched(), config, "train")
    assert rows["input_ids"] == [[2, 4, 5, 4, 5, 4, 5, 3], [2, 9, 3]]
    assert 0 < sum(read) < 1000


def test_white_space_around_a_label_is_none_of_it(tokenizer: PreTrainedTokenizerFast, config: Any) -> None:
    examples = data(text=["kas", "los"], label=[" warm", "cold\t"])
    assert TASK.encode(examples, tokenizer, config, "train")["labels"] == [1, 0]
    assert TASK.fit_config(config, examples).id2label == {0: "cold", 1: "warm"}


def test_a_missing_label_is_no_class(config: Any) -> None:
    with pytest.raises(InputError, match=r"data\.label=label: example 3 of data\.train has no label \(None\); every"):
        TASK.fit_config(config, data(text=["a", "b", "c"], label=["pos", "neg", None]))


def test_a_missing_label_of_a_model_to_be_trained_names_the_file() -> None:
    task = TextClassification(text="text", label="topic", max_length=16)
    with pytest.raises(InputError, match=r"data\.label is 'topic', a column that data\.train does not have"):
        task.fit_config(None, Dataset.from_dict({"text": ["a"], "label": ["x"]}))
