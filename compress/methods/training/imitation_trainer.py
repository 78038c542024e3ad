"""How far a student is from its teacher on a batch, in four parts, and the training that lessens it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.core.context import Context
from compress.core.errors import StageError
from compress.core.signature import Signature
from compress.methods.training.attention import RELATED, attention_vectors
from compress.methods.training.loop import Mean, ResumableTrainer
from compress.methods.training.processes import count, totals
from compress.methods.training.teacher_outputs import TeacherOutputs, answer_of
from compress.nn.checkpoint import shared_weights
from compress.nn.family import hidden_size, last_attending, layers_of
from compress.nn.forward import forward, output_mask, position_mask
from compress.nn.ops.losses import (
    common_heads,
    counted,
    hidden_states_loss,
    relations_loss,
    size_of_hidden_states,
    softened_logits_loss,
)

if TYPE_CHECKING:
    from compress.methods.training.imitation import Imitation


class Learner(nn.Module):
    """The student, and one linear map from its hidden width to the teacher's where they differ (thrown away later)."""

    def __init__(
        self, student: PreTrainedModel, signature: Signature, teacher_width: int | None, *, related: bool
    ) -> None:
        super().__init__()
        self.student, self.signature = student, signature
        self._related_layer = last_attending(layers_of(student)) + 1 if related else None
        width = hidden_size(student)
        same = teacher_width is None or teacher_width == width
        self.projection = nn.Identity() if same else nn.Linear(width, teacher_width or width, bias=False)
        # A checkpoint holds each weight once, and loading one leaves what is shared as it is.
        self.register_state_dict_post_hook(_without_shared)

    def forward(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, tuple[Tensor, ...], dict[str, Tensor]]:
        """The student's output and hidden states, and its last layer's queries, keys and values where wanted. Plain
        tuples: under mixed precision what is in them is made FP32 on its way out."""
        with attention_vectors(self.student, self._related_layer) as related:
            answer = forward(self.student, self.signature, inputs, hidden_states=True)
        return answer.output, answer.hidden_states, related


def _without_shared(learner: Learner, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    for name in shared_weights(learner.student):
        state.pop(f"{prefix}student.{name}", None)


class ImitationTrainer(ResumableTrainer):
    """A Trainer with a loss of our own."""

    loss_is_scaled_for_ga = False

    def teach(
        self,
        context: Context,
        settings: Imitation,
        outputs: TeacherOutputs,
        layer_map: Sequence[int],
        relation_layer: int | None,
        aligned: Tensor | None = None,
    ) -> None:
        """Say whom to imitate. aligned: (examples,), whether the teacher reads the same tokens; None where always."""
        self._context, self._settings, self._outputs, self._map = context, settings, outputs, layer_map
        self._relation_layer, self._aligned_rows = relation_layer, aligned

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The weighted sum of the four parts."""
        inputs = self.counting(inputs)
        outputs, parts = self._parts(model, inputs)
        values = iter(self.of_whole_batch([mean for _, means in parts for mean in means]))
        loss = torch.zeros((), device=inputs["row"].device)
        for weight, means in parts:
            loss = loss + weight * torch.stack([next(values) for _ in means]).mean()
        # In all processes alike: one that went on alone would wait for the others.
        (total,) = totals([float(loss.detach())])
        if not math.isfinite(total):
            raise StageError(
                f"the loss is {total / count()} at step {self.state.global_step}: training cannot go on. Lower "
                f"learning_rate (it is {self.args.learning_rate}), or set mixed_precision=off."
            )
        return (loss, outputs) if return_outputs else loss

    def _parts(self, model: nn.Module, inputs: dict[str, Any]) -> tuple[Any, list[tuple[float, list[Mean]]]]:
        """The student's output, and each part of the loss: its weight, and losses of which it is the mean."""
        task, settings = self._context.task, self._settings
        rows = inputs["row"].tolist()
        signature = self.accelerator.unwrap_model(model).signature
        output, states, related = model({name: inputs[name] for name in signature.names})
        taught = self._taught(rows, states[0].shape[1], output)
        hidden, relations = taught.hidden, taught.relations
        parts: list[tuple[float, list[Mean]]] = []
        if settings.logits_weight:
            mask = output_mask(signature, inputs)
            if signature.per_position:
                mask = self._aligned(_imitated(mask, task.imitated(inputs)), rows, output)
            value = task.imitation_loss(output, taught.output, inputs)
            if value is None:
                value = softened_logits_loss(output, taught.output, settings.temperature, mask)
            parts.append((settings.logits_weight, [Mean(value, partial(counted, output, mask))]))
        if settings.labels_weight:
            mean = Mean(task.label_loss(output, inputs), lambda: float(task.labelled(inputs)))
            parts.append((settings.labels_weight, [mean]))
        mask = self._aligned(position_mask(signature, inputs), rows, states[0])
        if settings.hidden_weight:
            projection = self.accelerator.unwrap_model(model).projection
            mapped = [projection(states[number]) for number in range(1, len(self._map) + 1)]
            parts.append((settings.hidden_weight, [_hidden(*pair, mask) for pair in zip(mapped, hidden, strict=True)]))
        if settings.relation_weight:
            means = [self._relation(related[part], relations[part], mask) for part in RELATED]
            parts.append((settings.relation_weight, means))
        return output, parts

    def _relation(self, found: Tensor, expected: Tensor, mask: Tensor | None) -> Mean:
        heads = common_heads(self._settings.relation_heads, found.shape[-1], expected.shape[-1])
        return Mean(relations_loss(found, expected, heads, mask), partial(counted, found, mask))

    def _aligned(self, mask: Tensor | None, rows: list[int], states: Tensor) -> Tensor | None:
        """The positions that count, (rows, positions), without rows in which the teacher reads other tokens."""
        if self._aligned_rows is None:
            return mask
        aligned = self._aligned_rows[rows].to(states.device)[:, None]
        return aligned.expand(states.shape[:2]) if mask is None else mask & aligned

    def _taught(self, rows: list[int], width: int, output: Tensor) -> _Taught:
        """What the teacher says of these rows: from the disk, or of itself where that is not kept.

        Hidden states, queries, keys and values are (len(rows), width, ...), cut or filled with zeros where the
        teacher's rows are longer or shorter, and so is its output where it is one for each position.
        """
        outputs, device = self._outputs, output.device
        layers = self._map if self._settings.hidden_weight else ()
        if outputs.stores_vectors:
            related = {} if self._relation_layer is None else outputs.relations(rows, width)
            hidden = [outputs.hidden(layer, rows, width) for layer in layers]
        elif outputs.stores_outputs and not layers and self._relation_layer is None:
            hidden, related = [], {}
        else:
            teacher = self._context.teacher.to(device)  # type: ignore[arg-type]
            signature = self._context.task.signature(teacher.config)
            answer, related = answer_of(teacher, signature, outputs.batch(rows), self._relation_layer)
            hidden = [_fitted(answer.hidden_states[layer], width) for layer in layers]
            related = {part: _fitted(value, width) for part, value in related.items()}
        if outputs.stores_outputs:
            target = outputs.output(rows, output.shape[1])
        else:
            target = _fitted(answer.output, width) if signature.per_position else answer.output
        return _Taught(
            target.to(device),
            [state.to(device) for state in hidden],
            {part: value.to(device) for part, value in related.items()},
        )


@dataclass(frozen=True)
class _Taught:
    """output: what the teacher's signature calls so. hidden: of each mapped layer. relations: the queries, keys and
    values of its relation layer."""

    output: Tensor
    hidden: list[Tensor]
    relations: dict[str, Tensor]


def _imitated(mask: Tensor | None, chosen: Tensor | None) -> Tensor | None:
    """The positions that count, of those that the task chooses."""
    if mask is None or chosen is None:
        return mask if chosen is None else chosen
    return mask & chosen.to(mask.device)


def _hidden(found: Tensor, expected: Tensor, mask: Tensor | None) -> Mean:
    return Mean(
        hidden_states_loss(found, expected, mask), lambda: float(size_of_hidden_states(expected.detach(), mask))
    )


def _fitted(vectors: Tensor, width: int) -> Tensor:
    """(rows, positions, ...) cut or filled with zeros to `width` positions."""
    return nn.functional.pad(vectors, (0, 0, 0, width - vectors.shape[1]))
