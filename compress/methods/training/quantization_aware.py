"""Quantization-aware recovery: a model imitates its teacher with its integers in the forward pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from transformers import PreTrainedModel

from compress.core.checks import require_at_least
from compress.core.context import Context
from compress.core.errors import InputError
from compress.methods.training.imitation import WEIGHTS, Imitation, imitate
from compress.methods.training.layer_map import spread
from compress.nn.fake_quantized import FakeQuantized, FrozenTiedHead
from compress.nn.family import layers_of
from compress.nn.fused_training import fused_layers_learn, whole_layers
from compress.nn.layers import FusedLayer, TiedBlockHead
from compress.nn.structure import replace_module

SETTING = "stages.quantize.recovery_epochs"
NO_RELATIONS = (
    "its fused layers give no queries, keys and values apart, and quantize shall imitate the teacher's; set "
    "stages.quantize.imitation.relation_weight=0, or leave out fuse"
)


def require_epochs(epochs: float) -> None:
    """Raise InputError where these are no epochs of recovery."""
    require_at_least(SETTING, epochs, 0, "Use 0 for no recovery.")


def refused_by_recovery(settings: Imitation, epochs: float) -> Mapping[str, str]:
    """What it cannot be applied to, as `Stage.refuses` says it."""
    return {"fused": NO_RELATIONS} if epochs and settings.relation_weight else {}


def check_recovery(teacher: PreTrainedModel, settings: Imitation, epochs: float) -> None:
    """Raise InputError, as part of a stage, where this teacher cannot be imitated."""
    settings.check(teacher)
    if epochs and any(isinstance(layer.module, FusedLayer) for layer in layers_of(teacher)):
        raise InputError(
            f"recovery_epochs is {epochs}; the teacher's layers are fused already, and what they compute inside cannot "
            "be imitated. Use 0 for no recovery, or give the model as it was before it was fused."
        )


def recover_integers(
    model: PreTrainedModel,
    context: Context,
    learning: Mapping[str, FakeQuantized],
    settings: Imitation,
    *,
    epochs: float,
) -> None:
    """Let `model` imitate the teacher, in place. learning: what learns in the place of its layers of integers, by path;
    these have new integers then. What is in float, such as norms, learns too; tables of integers stay as they are.

    Layers that compute the first token alone are not compared with the teacher's. Raises InputError where there are no
    others and nothing else is imitated.
    """
    heads = {path: FrozenTiedHead(head) for path, head in model.named_modules() if isinstance(head, TiedBlockHead)}
    stand_ins: dict[str, FakeQuantized | FrozenTiedHead] = {**learning, **heads}
    layer_map = spread(len(layers_of(model)), len(layers_of(context.teacher)))[: whole_layers(model)]
    if not layer_map:
        settings = _without_hidden_states(settings)
    for path, module in stand_ins.items():
        replace_module(model, path, module)
    with fused_layers_learn(model):
        imitate(model, context, settings, epochs=epochs, title="recovery after quantizing", layer_map=layer_map)
    for path, module in stand_ins.items():
        replace_module(model, path, module.stored())


def _without_hidden_states(settings: Imitation) -> Imitation:
    """Raises InputError where nothing is left."""
    if not any(getattr(settings, name) for name in WEIGHTS if name != "hidden_weight"):
        raise InputError(
            f"stages.quantize.imitation.hidden_weight is {settings.hidden_weight}, and the other weights are 0; the "
            "only layer computes its first token alone, so there are no hidden states to imitate. Set logits_weight=1 "
            "or stages.fuse.first_token=false."
        )
    return dataclasses.replace(settings, hidden_weight=0)
