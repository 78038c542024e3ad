"""What a head reads is found from the model, and the latency of a last layer follows it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForTokenClassification, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from compress.core.signature import BATCH, SEQUENCE, Port, Signature
from compress.nn.forward import forward
from compress.nn.head import head_reads, positions_mattering, positions_read
from compress.tasks.text_task import SIGNATURE

TAGGING = Signature(
    inputs=SIGNATURE.inputs, output=Port("logits", (BATCH, SEQUENCE, "tags"), "float32"), mask=SIGNATURE.mask
)


class Pooling(nn.Module):
    """A head in the place of BERT's own, of the mean of all real tokens, or of the last."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.dense = how, nn.Linear(32, 2)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        if self.how == "mean":
            return self.dense((states * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True))
        return self.dense(states[torch.arange(len(states)), mask.sum(dim=1) - 1])


def with_pooling(model: PreTrainedModel, how: str) -> PreTrainedModel:
    """The model with such a head."""
    torch.manual_seed(0)
    head = Pooling(how)

    def answer(input_ids: Tensor, attention_mask: Tensor, **_: object) -> SequenceClassifierOutput:
        states = model.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return SequenceClassifierOutput(logits=head(states, attention_mask))

    model.forward = answer  # type: ignore[method-assign]
    return model


def test_a_classifier_reads_the_first_token(
    make_model: Callable, bert_type: str, batch: dict[str, torch.Tensor]
) -> None:
    model = make_model(bert_type)
    assert positions_read(model, SIGNATURE, batch) == "first"
    assert positions_mattering(model, SIGNATURE, batch).sum(dim=1).tolist() == [1, 1, 1]
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("model_type", ["vit", "deit"])
def test_a_classifier_of_images_reads_the_class_token(
    model_type: str, make_model: Callable, make_context: Callable
) -> None:
    model = make_model(model_type)
    assert head_reads(model, make_context(model)) == "first"


def test_a_classifier_of_images_that_reads_the_mean_of_the_patches_reads_all(
    make_model: Callable, make_context: Callable
) -> None:
    model = make_model("dinov2")
    assert head_reads(model, make_context(model)) == "all"


def test_a_token_classifier_reads_all(batch: dict[str, torch.Tensor]) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
    model = AutoModelForTokenClassification.from_config(AutoConfig.for_model("bert", vocab_size=34, **sizes))
    assert positions_read(model, TAGGING, batch) == "all"
    assert forward(model, TAGGING, batch).output.shape == (3, 9, 2)


@pytest.mark.parametrize(("how", "expected"), [("mean", "all"), ("last", "last")])
def test_other_heads(how: str, expected: str, make_model: Callable, batch: dict[str, torch.Tensor]) -> None:
    # Of rows of 9, 5 and 2 tokens the last real one is another place in each.
    assert positions_read(with_pooling(make_model(), how), SIGNATURE, batch) == expected
