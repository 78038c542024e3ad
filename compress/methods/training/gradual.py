"""Cutting little by little, and imitating the teacher between the cuts: a model that never loses much at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel

from compress.core.checks import require_integer
from compress.core.context import Context
from compress.core.errors import InputError
from compress.methods.training.imitation import Imitation, imitate
from compress.nn.ops.schedules import cubic_progress

Cut = Callable[[float], Sequence[int] | None]


@dataclass(frozen=True, kw_only=True)
class Gradual:
    """cuts: in how many a model is made smaller; 1 does it at once. between: the share, in [0, 1), of the recovery that
    happens between the cuts, evenly; the rest follows the last. The recovery as a whole gets no longer.
    """

    cuts: int
    between: float

    def __post_init__(self) -> None:
        require_integer("gradual.cuts", self.cuts, 1, "Use 1 to cut at once.")
        if isinstance(self.between, bool) or not isinstance(self.between, int | float) or not 0 <= self.between < 1:
            raise InputError(f"gradual.between is {self.between}; it must lie in [0, 1). Use 0.5 for half of it.")


def cut_and_recover(
    model: PreTrainedModel,
    context: Context,
    gradual: Gradual,
    cut: Cut,
    *,
    imitation: Imitation,
    epochs: float,
    title: str,
) -> PreTrainedModel:
    """The model after all cuts and all recovery, in evaluation mode. `model` is changed in place.

    cut(progress): make the model as small as it shall be when `progress` (in (0, 1]) of the whole cut is done, and
    return the layer map for `imitate`; it is called with growing progress, 1 at last. epochs: of the recovery in all,
    0 for none; all cuts are then made at once.
    """
    early = range(1, gradual.cuts) if epochs and gradual.between else ()
    for number in early:
        layer_map, share = cut(cubic_progress(number, gradual.cuts)), gradual.between / (gradual.cuts - 1)
        part = f"{title} {number} of {gradual.cuts}"
        imitate(model, context, imitation, epochs=epochs, title=part, layer_map=layer_map, share=share)
    layer_map, share = cut(1.0), 1 - gradual.between if early else 1.0
    if epochs:
        imitate(model, context, imitation, epochs=epochs, title=title, layer_map=layer_map, share=share)
    return model.eval()
