"""Questions beside texts: which rows they become, what a teacher says of them, how many are answered right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset, concatenate_datasets
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from compress.nn.forward import forward
from compress.tasks.causal_lm import CausalLanguageModel
from compress.tasks.choices import CHOICE
from compress.tasks.windows import NOT_JUDGED

WORDS = ("<end>", "<unk>", "a", "bb", "ccc", "dddd")
A, BB, CCC, DDDD = 2, 3, 4, 5
TASK = CausalLanguageModel(text="text", max_length=4, prompt_tokens=2, new_tokens=3)


def tokenizer() -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, "<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", eos_token="<end>", pad_token="<end>")


def question(prompt: str, *options: str, answer: int = 0) -> dict[str, Any]:
    """As a source gives it."""
    return {
        "prompt": prompt,
        "continuations": [f" {option}" for option in options],
        "characters": [len(option) for option in options],
        "answer": answer,
    }


@pytest.fixture(scope="module")
def model(make_decoder: Callable[..., PreTrainedModel]) -> PreTrainedModel:
    return make_decoder(vocab_size=len(WORDS), num_hidden_layers=1, initializer_range=1.0)


def test_a_teacher_agrees_with_itself(model: PreTrainedModel) -> None:
    processor = tokenizer()
    texts = Dataset.from_dict({"text": ["a bb ccc dddd a", "bb ccc"], "group": [4, 7]})
    asked = [question("a bb ccc dddd a a", "bb", "ccc dddd"), question("bb", "a", "bb", "dddd ccc", answer=2)]
    examples = concatenate_datasets([texts, Dataset.from_dict({CHOICE: asked, "group": [8, 9]})])
    answered = TASK.answered(examples, model, processor, model.config, "validation")
    encoded = TASK.encode(answered, processor, model.config, "validation")
    # Windows of four tokens; a question may be longer.
    assert encoded["question"][:] == [-1, -1, 0, 0, 1, 1, 1]
    assert encoded["group"][:] == [4, 7, 8, 8, 9, 9, 9]
    assert TASK.units(encoded) == [0, 1, -1, -1, -1, -1, -1]
    assert TASK.kinds(encoded, None) == ["text", "text"]
    outputs = []
    for row in encoded:
        batch = TASK.collate([row], processor)
        with torch.no_grad():
            logits = forward(model, TASK.signature(model.config), batch).output[0].log_softmax(dim=-1)
        found = logits.gather(1, batch["asked"][0])
        outputs.append(torch.cat([found, logits.max(dim=1, keepdim=True).values], dim=1).numpy())
    # The log-likelihood of "ccc dddd" after the first prompt, by hand.
    ids = [A, BB, CCC, DDDD, A, A, CCC, DDDD]
    assert encoded[3]["input_ids"] == ids
    (told,) = encoded[3]["labels"]["likelihood"]
    assert told == pytest.approx(float(outputs[3][5, 0] + outputs[3][6, 0]), abs=1e-5)
    figures, statistics = TASK.figures(outputs, list(encoded), None), TASK.statistics(outputs, list(encoded), None)
    assert statistics.shape == (2, 2) and statistics[:, 1].tolist() == [3, 1]
    assert figures["choices_right_against_teacher"] == 0.0
    assert figures["kl_divergence"] == pytest.approx(0, abs=1e-5)
    per_character = [
        [outputs[row][:, 0][np.array(encoded[row]["labels"]["next"]) != NOT_JUDGED].sum()] for row in range(2, 7)
    ]
    sizes = [2, 8, 1, 2, 8]
    scores = [float(value) / size for (value,), size in zip(per_character, sizes, strict=True)]
    expected = ((scores[0] >= scores[1]) + (max(scores[2:]) == scores[4])) / 2
    assert figures["choices_right"] == expected
    # Without questions all is as it was.
    alone = TASK.encode(
        TASK.answered(texts, model, processor, model.config, "validation"), processor, model.config, "v"
    )
    assert TASK.units(alone) is None
    assert TASK.figures(outputs[:2], list(alone), None)["bits_per_byte"] == figures["bits_per_byte"]
