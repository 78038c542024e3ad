"""Documents to windows, what is asked of a model there, and what its answers are worth."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerFast

from compress.core.errors import InputError
from compress.nn.forward import forward
from compress.tasks.causal_lm import CausalLanguageModel
from compress.tasks.windows import NOT_JUDGED

WORDS = ("a", "bb", "ccc", "dddd", "\u00e9\u00e9")


def tokenizer(**special: str) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(("<end>", "<unk>", *WORDS))}, "<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", **special)


def task(**settings: Any) -> CausalLanguageModel:
    return CausalLanguageModel(**{"text": "text", "max_length": 4, "prompt_tokens": 2, "new_tokens": 3, **settings})


@pytest.fixture(scope="module")
def model(make_decoder: Callable[..., PreTrainedModel]) -> PreTrainedModel:
    return make_decoder(vocab_size=7, num_hidden_layers=1, max_position_embeddings=32)


@pytest.fixture
def processor() -> PreTrainedTokenizerFast:
    made = tokenizer(eos_token="<end>")
    made.pad_token = made.eos_token
    return made


DOCUMENTS = Dataset.from_dict({"text": ["a bb ccc dddd a", "bb", "\u00e9\u00e9 a"]})


def test_windows_do_not_cross_documents(model: PreTrainedModel, processor: PreTrainedTokenizerFast) -> None:
    rows = task().encode(DOCUMENTS, processor, model.config, "validation")
    # Five tokens are a window of four, and one in which nothing comes next.
    assert rows["input_ids"][:] == [[2, 3, 4, 5], [6, 2]]
    assert rows["document"][:] == [0, 2] == rows["group"][:]
    assert [row["next"] for row in rows["labels"]] == [[3, 4, 5, NOT_JUDGED], [2, NOT_JUDGED]]
    # " bb ccc dddd", and " a": in bytes, without the first token.
    assert [row["bytes"] for row in rows["labels"]] == [12, 2]


def test_a_batch_asks_for_the_next_token(model: PreTrainedModel, processor: PreTrainedTokenizerFast) -> None:
    rows = task().encode(DOCUMENTS, processor, model.config, "validation")
    batch = task().collate(list(rows), processor)
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch["labels"][1].tolist() == [2, NOT_JUDGED, NOT_JUDGED, NOT_JUDGED]
    assert batch["asked"].shape == (2, 4, 1) and batch["asked"][0, :3, 0].tolist() == [3, 4, 5]


def test_the_teacher_says_what_it_finds_likeliest(model: PreTrainedModel, processor: PreTrainedTokenizerFast) -> None:
    it = task()
    answered = it.answered(DOCUMENTS, model, processor, model.config, "validation")
    rows = it.encode(answered, processor, model.config, "validation")
    for row in rows:
        batch = it.collate([row], processor)
        with torch.no_grad():
            expected = forward(model, it.signature(model.config), batch).output[0].log_softmax(dim=-1)
        tokens = torch.tensor(row["labels"]["tokens"]).reshape(len(row["input_ids"]), -1)
        assert tokens.shape[1] == 7
        assert torch.equal(tokens[:, 0], expected.argmax(dim=-1))
        values = torch.tensor(row["labels"]["log_probabilities"]).reshape(tokens.shape)
        assert torch.allclose(values, expected.gather(1, tokens), atol=1e-5)
        assert torch.equal(batch["asked"][0, :, 1:], tokens)
    assert it.answered(DOCUMENTS, model, processor, model.config, "train") is DOCUMENTS


def test_statistics_and_figures_by_hand() -> None:
    row = {
        "input_ids": [2, 3, 4],
        "question": -1,
        "labels": {
            "next": [3, 4, NOT_JUDGED],
            "counted": 2,
            "bytes": 4,
            "tokens": [3, 5, 4, 5, 0, 0],
            "log_probabilities": np.log([0.5, 0.25, 0.5, 0.25, 0.5, 0.5]).tolist(),
        },
    }
    # Of each position: the next token, the teacher's two, and the largest of all.
    output = np.log(np.array([[0.5, 0.5, 0.25, 0.5], [0.25, 0.25, 0.5, 0.5], [0.1, 0.1, 0.1, 0.1]]))
    statistics = task().statistics([output], [row], None)
    assert statistics == pytest.approx(np.array([[math.log(0.125), 2]]))
    figures = task().figures([output], [row], None)
    # 3 bits for 4 bytes. The first position is the teacher's own; the second: 1/2 log 2 - 1/4 log 2.
    assert figures == {
        "bits_per_byte": pytest.approx(0.75),
        "kl_divergence": pytest.approx(0.25 * math.log(2) / 2),
        "same_top_token": 0.5,
    }


def test_changed_is_another_likeliest_token() -> None:
    same = np.log(np.array([[0.2, 0.6, 0.6]]))
    other = np.log(np.array([[0.4, 0.3, 0.4]]))
    assert task().changed([same, same], [same, other]) == 1


def test_the_loss_is_a_mean_over_tokens_that_come_next(
    model: PreTrainedModel, processor: PreTrainedTokenizerFast
) -> None:
    it = task()
    rows = list(it.encode(DOCUMENTS, processor, model.config, "train"))
    batch = it.collate(rows, processor)
    assert int(it.labelled(batch)) == 4
    with torch.no_grad():
        output = forward(model, it.signature(model.config), batch).output
    likelihoods = output.log_softmax(dim=-1)
    expected = -(likelihoods[0, 0, 3] + likelihoods[0, 1, 4] + likelihoods[0, 2, 5] + likelihoods[1, 0, 2]) / 4
    assert float(it.label_loss(output, batch)) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"new_tokens": 0}, r"workload\.new_tokens is 0"),
        ({"prompt_tokens": 0}, r"workload\.prompt_tokens is 0"),
        ({"prompt_tokens": 5}, r"workload\.prompt_tokens is 5, and data\.max_length is 4"),
        ({"max_length": 2}, r"data\.max_length is 2"),
        ({"text": ""}, r"data\.text is ''"),
    ],
)
def test_settings_that_are_none(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        task(**settings)


def test_data_without_anything_to_predict(model: PreTrainedModel, processor: PreTrainedTokenizerFast) -> None:
    with pytest.raises(InputError, match=r"no text of data\.train has two tokens"):
        task().encode(Dataset.from_dict({"text": ["a", "bb"]}), processor, model.config, "train")
    with pytest.raises(InputError, match=r"data\.max_length is 64; this model takes at most 32"):
        task(max_length=64).encode(DOCUMENTS, processor, model.config, "train")


def test_a_tokenizer_without_an_end_is_refused_and_one_without_padding_is_not(
    model: PreTrainedModel, tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    with pytest.raises(InputError, match="has no end token"):
        task().load_processor(tmp_path)
    tokenizer(eos_token="<end>").save_pretrained(tmp_path)
    found = task().load_processor(tmp_path)
    assert (found.pad_token_id, found.model_max_length) == (0, 32)
    task().save_processor(found, tmp_path)
    assert json.loads((tmp_path / "tokenizer.json").read_text())["truncation"]["max_length"] == 32


def test_a_classifier_is_told_its_recipe(tmp_path: Path) -> None:
    config = AutoConfig.for_model("llama", architectures=["LlamaForSequenceClassification"])
    (tmp_path / "config.json").write_text(config.to_json_string(use_diff=False))
    with pytest.raises(InputError, match="use -cn text_classification"):
        task().load_model(tmp_path)
