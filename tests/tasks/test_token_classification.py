"""Tagged text to inputs, answers to entities, and what is said about data that cannot be used."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from hydra.errors import HydraException
from omegaconf import OmegaConf
from tokenizers import Tokenizer
from transformers import (
    AutoConfig,
    AutoModelForTokenClassification,
    BertModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from compress.cli.config import compose_settings
from compress.core.errors import InputError, TooLittleError
from compress.runtimes.onnxruntime.runtime import OnnxRuntime
from compress.tasks.text_classification import TextClassification
from compress.tasks.token_classification import TokenClassification

SETTINGS = {
    "words": "tokens",
    "tags": "tags",
    "text": "text",
    "spans": "spans",
    "scheme": "auto",
    "max_length": 8,
    "stride": 2,
}
TASK = TokenClassification(**SETTINGS)
BIO = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")


def config(*labels: str) -> Any:
    return SimpleNamespace(
        id2label=dict(enumerate(labels or BIO)), model_type="bert", max_position_embeddings=40, vocab_size=34
    )


def task(**changes: Any) -> TokenClassification:
    return TokenClassification(**(SETTINGS | changes))


def data(**columns: Any) -> Dataset:
    return Dataset.from_dict(columns)


def outputs(*answers: list[int]) -> list[np.ndarray]:
    """Logits whose largest are these."""
    return [np.eye(5)[answer] for answer in answers]


def tagger(labels: tuple[str, ...] = BIO) -> PreTrainedModel:
    torch.manual_seed(0)
    settings = {
        "vocab_size": 34,
        "max_position_embeddings": 40,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "id2label": dict(enumerate(labels)),
        "label2id": {label: i for i, label in enumerate(labels)},
    }
    return AutoModelForTokenClassification.from_config(AutoConfig.for_model("bert", **settings)).eval()


def test_encode(tokenizer: PreTrainedTokenizerFast) -> None:
    # [PAD] [UNK] [CLS] [SEP] are 0 to 3, kas kat kan kam kar 4 to 8, los 9.
    examples = data(tokens=[["kas", "kar"], ["los"]], tags=[["B-PER", "I-PER"], ["O"]])
    rows = TASK.encode(examples, tokenizer, config(), "train")
    assert rows["input_ids"][:] == [[2, 4, 8, 3], [2, 9, 3]]
    assert rows["labels"][:] == [[-100, 3, 4, -100], [-100, 0, -100]]
    assert rows["words"][:] == [[-1, 0, 1, -1], [-1, 0, -1]]
    assert (rows["document"][:], rows["length"][:], rows["group"][:]) == ([0, 1], [4, 3], [0, 1])
    assert TASK.units(rows) == [0, 1]


def test_a_long_document_is_one_example_of_several_rows(tokenizer: PreTrainedTokenizerFast) -> None:
    words = ["kas"] * 8
    examples = data(tokens=[words, ["los"]], tags=[["B-PER"] + ["O"] * 7, ["B-LOC"]], group=[5, 7])
    rows = TASK.encode(examples, tokenizer, config(), "train")
    # Six words to a window, two shared: words 0 to 5 and 4 to 7.
    assert (rows["document"][:], rows["group"][:], rows["length"][:]) == ([0, 0, 1], [5, 5, 7], [8, 6, 3])
    assert rows["words"][:2] == [[-1, 0, 1, 2, 3, 4, -1, -1], [-1, -1, 5, 6, 7, -1]]
    # To learn from, every word of a window has its tag.
    assert rows["labels"][1] == [-100, 0, 0, 0, 0, -100]


def test_numbers_of_labels_are_as_good_as_names(tokenizer: PreTrainedTokenizerFast) -> None:
    rows = TASK.encode(data(tokens=[["kas", "los"]], tags=[[3, 0]]), tokenizer, config(), "train")
    assert rows["labels"][0] == [-100, 3, 0, -100]


def test_spans_become_tags(tokenizer: PreTrainedTokenizerFast) -> None:
    #                0123456789...
    examples = data(text=["kas kar, los"], spans=[[{"start": 0, "end": 7, "label": "PER"}]])
    rows = TASK.encode(examples, tokenizer, config(), "train")
    # The comma is a word of its own, unknown to this tokenizer.
    assert rows["input_ids"][0] == [2, 4, 8, 1, 9, 3]
    assert rows["labels"][0] == [-100, 3, 4, 0, 0, -100]
    bioes = ("O", "B-PER", "I-PER", "E-PER", "S-PER")
    rows = TASK.encode(examples, tokenizer, config(*bioes), "train")
    assert rows["labels"][0] == [-100, 1, 3, 0, 0, -100]
    rows = TASK.encode(examples, tokenizer, config("O", "PER"), "train")
    assert rows["labels"][0] == [-100, 1, 1, 0, 0, -100]


def test_encode_without_labels(tokenizer: PreTrainedTokenizerFast) -> None:
    for examples in (data(tokens=[["kas", "kar"]]), data(text=["kas kar"]), data(line=["kas kar"])):
        rows = TASK.encode_unlabelled(examples, tokenizer, config())
        assert rows["input_ids"][:] == [[2, 4, 8, 3]]
        assert rows["labels"][:] == [[-100] * 4]


def test_collate_and_loss(tokenizer: PreTrainedTokenizerFast) -> None:
    rows = [
        {"input_ids": [2, 4, 3], "attention_mask": [1, 1, 1], "labels": [-100, 1, -100]},
        {"input_ids": [2, 3], "attention_mask": [1, 1], "labels": [-100, -100]},
    ]
    batch = TASK.collate(rows, tokenizer)
    assert batch["input_ids"].tolist() == [[2, 4, 3], [2, 3, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["labels"].tolist() == [[-100, 1, -100], [-100, -100, -100]]
    assert int(TASK.labelled(batch)) == 1
    # Probabilities (3/4, 1/4) everywhere; the one tag is label 1.
    logits = torch.tensor([3.0, 1.0]).log().repeat(2, 3, 1)
    assert float(TASK.label_loss(logits, batch)) == pytest.approx(np.log(4))
    batch["labels"][0, 2] = 0
    assert float(TASK.label_loss(logits, batch)) == pytest.approx((np.log(4) + np.log(4 / 3)) / 2)
    assert float(TASK.label_loss(logits, {"labels": torch.full((2, 3), -100)})) == 0.0


ROWS = [
    # "Ada Byron in Rome", in two windows that share "in"; the special pieces are judged nowhere.
    {"document": 0, "words": [-1, 0, 1, 2, -1], "labels": [-100, 3, 4, 0, -100]},
    {"document": 0, "words": [-1, -1, 3, -1], "labels": [-100, 0, 1, -100]},
    {"document": 1, "words": [-1, 0, -1], "labels": [-100, 0, -100]},
]
# The second row's first word is wrong, but another window judges it. "Rome" is taken for a person.
ANSWERS = outputs([1, 3, 4, 0, 1], [1, 3, 3, 1], [1, 0, 1])


def test_entities_of_a_document_are_counted_across_its_windows() -> None:
    statistics = TASK.statistics(ANSWERS, ROWS, config())
    assert TASK.metric(config()).name == "entity_f1"
    assert statistics.tolist() == [[1, 2, 2], [0, 0, 0]]
    assert TASK.metric(config()).value(statistics) == 0.5
    assert TASK.by_class(ANSWERS, ROWS, config()) == {"LOC": [(0, 0, 0, 1)], "PER": [(0, 1, 2, 1)]}
    # F1 of LOC is 0, of PER 2 * 1 / (2 + 1).
    assert TASK.figures(ANSWERS, ROWS, config()) == {
        "precision": 0.5,
        "recall": 0.5,
        "f1_macro": pytest.approx((0 + 2 / 3) / 2),
    }


def test_an_entity_across_two_windows_is_one() -> None:
    rows = [
        {"document": 0, "words": [0, -1], "labels": [3, 4]},
        {"document": 0, "words": [-1, 1], "labels": [3, 4]},
    ]
    assert TASK.statistics(outputs([3, 0], [0, 4]), rows, config()).tolist() == [[1, 1, 1]]


def test_plain_tags_are_judged_word_by_word() -> None:
    plain = config("NOUN", "VERB", "ADJ", "DET", "ADV")
    assert TASK.metric(plain).name == "token_accuracy"
    assert TASK.statistics(ANSWERS, ROWS, plain).tolist() == [[3, 4], [1, 1]]
    assert TASK.by_class(ANSWERS, ROWS, plain) == {
        "ADV": [(0, 1, 1, 1)],
        "DET": [(0, 1, 2, 1)],
        "NOUN": [(0, 1, 1, 1), (1, 1, 1, 1)],
        "VERB": [(0, 0, 0, 1)],
    }
    assert task(scheme="plain").metric(config()).name == "token_accuracy"


def test_kinds() -> None:
    rows = Dataset.from_list(ROWS)
    assert TASK.kinds(rows, config()) == ["LOC, PER", "no entity"]
    # NOUN is there twice; of the others, each once, the first in the alphabet.
    assert TASK.kinds(rows, config("NOUN", "VERB", "ADJ", "DET", "ADV")) == ["ADV", "NOUN"]


def test_signature(tokenizer: PreTrainedTokenizerFast) -> None:
    signature = TASK.signature(config())
    assert signature.names == ("input_ids", "attention_mask")
    assert signature.per_position
    batch = {"attention_mask": np.array([[1, 1, 1], [1, 1, 0]])}
    assert [row.shape for row in signature.rows(np.zeros((2, 3, 5)), batch)] == [(3, 5), (2, 5)]


def test_spliced_sentences_are_whole_words() -> None:
    train = data(tokens=[["kas", "kat"], ["los", "lot", "lon"]], tags=[["O", "O"], ["O", "O", "O"]])
    made = TASK.splice(train, 4, 0, apart_from=[train])
    assert made.column_names == ["tokens"] and len(made) == 4
    known = {word for words in train["tokens"] for word in words}
    assert all(set(words) <= known for words in made["tokens"])


# Without labels.


def test_the_teachers_answers_are_the_truth(tokenizer: PreTrainedTokenizerFast) -> None:
    free, model = task(tags=None), tagger()
    examples = data(tokens=[["kas"] * 3 + ["los"] * 5, ["kar"]])
    answered = free.answered(examples, model, tokenizer, model.config, "train")
    assert [len(tags) for tags in answered["teacher_tags"]] == [8, 1]
    rows = free.encode(answered, tokenizer, model.config, "train")
    batch = free.collate([rows[row] for row in range(3)], tokenizer)
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    statistics = free.statistics([row[: rows["length"][i]].numpy() for i, row in enumerate(logits)], rows, model.config)
    assert statistics[:, 1].sum() > 0
    assert free.metric(model.config).value(statistics) == 1.0
    assert "agreement with the teacher" in free.about_answers(Dataset.from_dict({})) and free.asks_teacher
    assert not TASK.asks_teacher


def test_a_model_yet_to_be_made_has_no_answers() -> None:
    with pytest.raises(InputError, match=r"data.tags is null; a model that is yet to be fine-tuned learns from tags"):
        task(tags=None).fit_config(tagger().config, data(tokens=[["kas"]]))


# What cannot be used.


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"tokens": [["Ada", "in"], ["Oslo"]], "tags": [["B-PER", None], ["B-LOC"]]},
            r"example 1 of data.train has no tag \(None\) for token 2, 'in'; what nobody tagged .* Write 'O' where",
        ),
        (
            {"tokens": [["kas"], ["kas", "los"]], "tags": [["O"], ["B-PER"]]},
            r"data.tags=tags: example 2 of data.train has 1 tags for 2 tokens; each token needs one",
        ),
        (
            {"tokens": [["kas", "los"]], "tags": [["O", "B-PERS"]]},
            r"example 1 of data.train has the tag 'B-PERS', which the model does not know \(it knows: O.*'B-PER'\?",
        ),
        ({"tokens": [["kas"], []], "tags": [["O"], []]}, r"example 2 of data.train has no tokens \(\[\]\)"),
        ({"tokens": [["kas"], None], "tags": [["O"], []]}, r"example 2 of data.train has no tokens \(None\)"),
        ({"tokens": ["kas"], "tags": [["O"]]}, r"example 1 of data.train has no tokens \('kas'\); it must be a list"),
        ({"tokens": [["kas", " "]], "tags": [["O", "O"]]}, r"example 1 of data.train has ' ' as token 2"),
        ({"tokens": [[1, 2]], "tags": [["O", "O"]]}, r"example 1 of data.train has 1 as token 1; every token must be"),
        ({"words": [["kas"]], "tags": [["O"]]}, r"data.tokens is 'tokens' and data.text is 'text'; data.train has no"),
        ({"tokens": [["kas"]], "ner_tags": [["O"]]}, r"data.tags is 'tags', a column that data.train does not have"),
        ({"text": ["kas"], "tags_": [["O"]]}, r"nor is there one of spans \(data.spans is 'spans'; found: text, tags_"),
        ({"text": [" "], "spans": [[]]}, r"data.text=text: example 1 of data.train has no text \(' '\)"),
        (
            {"text": ["kas los"], "spans": [[{"start": 0, "end": 9, "label": "PER"}]]},
            r"data.spans=spans: example 1 of data.train has the span .* within the text's 7 characters",
        ),
        (
            {"text": ["kas los"], "spans": [[{"start": 1, "end": 7, "label": "PER"}]]},
            r"has a span of 'PER' from 1 to 7, whose edge 1 lies within the word 'kas'",
        ),
        (
            {
                "text": ["kas los"],
                "spans": [[{"start": 0, "end": 7, "label": "PER"}, {"start": 4, "end": 7, "label": "LOC"}]],
            },
            r"has a span of 'LOC' from 4 to 7 that overlaps another",
        ),
    ],
)
def test_data_that_cannot_be_used(columns: Any, message: str, tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(InputError, match=message):
        TASK.encode(data(**columns), tokenizer, config(), "train")


def test_a_single_tag_decides_nothing(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(TooLittleError, match=r"data.validation has a single tag \('O'\)"):
        TASK.encode(data(tokens=[["kas"]], tags=[["O"]]), tokenizer, config(), "validation")


def test_entity_f1_is_asked_of_plain_labels() -> None:
    message = (
        r"data.scheme is bio; entity F1 needs labels that are O, B-TYPE and I-TYPE, and the labels are NOUN, VERB "
        r"\(plain\). Use data.scheme=plain, or rename the labels"
    )
    with pytest.raises(InputError, match=message):
        task(scheme="bio").metric(config("NOUN", "VERB"))
    with pytest.raises(InputError, match=r"data.scheme is bioes.*\(bio\). Use data.scheme=bio"):
        task(scheme="bioes").metric(config())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_length": 3}, r"data.max_length is 3; it must be a whole number of at least 4"),
        ({"stride": -1}, r"data.stride is -1; it must be a whole number of at least 0"),
        ({"stride": 5}, r"data.stride is 5; it must be at most half of data.max_length \(8\). Use 2"),
        ({"scheme": "bilou"}, r"data.scheme is 'bilou'; it must be one of auto, bio, bioes, plain"),
    ],
)
def test_settings_are_checked_when_built(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        task(**settings)


# Models and tokenizers in folders.


def test_labels_for_a_model_that_is_to_be_fine_tuned() -> None:
    fitted = TASK.fit_config(tagger().config, data(tokens=[["a", "b", "c"]], tags=[["O", "B-X", "I-Y"]]))
    assert list(fitted.id2label.values()) == ["B-X", "B-Y", "I-X", "I-Y", "O"]
    assert fitted.num_labels == 5
    examples = data(text=["kas los"], spans=[[{"start": 0, "end": 3, "label": "PER"}]])
    assert list(TASK.fit_config(tagger().config, examples).id2label.values()) == ["B-PER", "I-PER", "O"]
    assert list(task(scheme="plain").fit_config(tagger().config, examples).id2label.values()) == ["O", "PER"]
    with pytest.raises(InputError, match=r"data.train has a single tag \('O'\)"):
        TASK.fit_config(tagger().config, data(tokens=[["a"]], tags=[["O"]]))
    with pytest.raises(InputError, match=r"data.scheme is bio; entity F1 needs labels"):
        task(scheme="bio").fit_config(tagger().config, data(tokens=[["a", "b"]], tags=[["N", "V"]]))


def test_load_model(tmp_path: Path) -> None:
    tagger().save_pretrained(tmp_path)
    model = TASK.load_model(tmp_path)
    assert not model.training
    assert all(torch.equal(value, tagger().state_dict()[name]) for name, value in model.state_dict().items())
    with pytest.raises(InputError, match=r"this model has a token-classification head; use -cn token_classification"):
        TextClassification(text="text", label="label", max_length=8).load_model(tmp_path)


def test_a_model_with_another_head(checkpoint: Path) -> None:
    with pytest.raises(InputError, match=r"this model has a text-classification head; use -cn text_classification"):
        TASK.load_model(checkpoint)


def test_an_encoder_without_a_head(tmp_path: Path) -> None:
    BertModel(tagger().config).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"no trained classification head \(missing: classifier.bias"):
        TASK.load_model(tmp_path)
    assert TASK.load_pretrained(tmp_path, tagger().config).classifier.out_features == 5


def test_the_snippet_prints_the_tag_of_each_word(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, make_model: Callable
) -> None:
    TASK.save_processor(tokenizer, tmp_path)
    assert Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode("kas " * 30).ids == [2, *[4] * 6, 3]
    (tmp_path / "config.json").write_text(json.dumps({"id2label": dict(enumerate(BIO))}), encoding="utf-8")
    # Answers of a made-up runtime: label 3 for every piece but those that the tokenizer does not know.
    (tmp_path / "mine.py").write_text(
        "import numpy\n"
        "def run(inputs):\n"
        "    return numpy.eye(5)[[[3 if i == 8 else 0 for i in row] for row in inputs['input_ids']]]\n",
        encoding="utf-8",
    )
    runtime = SimpleNamespace(snippet=("mine", "run = mine.run", "run(INPUTS)"))
    snippet = TASK.usage(runtime, None)  # type: ignore[arg-type]
    assert len(snippet.strip().splitlines()) == 6
    mine = snippet.replace("Put the words to tag here .", "kas kar los")
    done = subprocess.run([sys.executable, "-c", mine], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[('kas', 'O'), ('kar', 'B-PER'), ('los', 'O')]"
    assert "torch" not in TASK.usage(OnnxRuntime(threads=1), None)


def test_the_recipe_builds_the_task() -> None:
    settings = compose_settings("token_classification", ["model.path=DIR", "data.train=FILE", "data.tags=xpos"])
    plain = OmegaConf.to_container(settings, resolve=True)
    assert isinstance(plain, dict)
    assert TokenClassification(**{name: value for name, value in plain["task"].items() if name != "_target_"}) == task(
        tags="xpos", max_length=128, stride=16
    )


def test_a_setting_that_only_another_task_reads_is_unknown() -> None:
    with pytest.raises(HydraException, match=r"data\.stride"):
        compose_settings("text_classification", ["data.stride=3"])
