"""A stage: what every method offers, what it may offer besides, and what holds where it does not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.core.blame import Milder, Setback
    from compress.core.context import Context
    from compress.core.latency_table import LatencyTable
    from compress.core.task import Task


@dataclass(frozen=True)
class Training:
    """How much is trained, as far as the settings say. steps: optimizer steps, each of `batch_size` examples.
    keeps_hidden_states: whether the teacher's hidden states of all examples are written to the disk for it."""

    steps: int
    batch_size: int
    keeps_hidden_states: bool = False


class Stage(Protocol):
    """Frozen settings and one verb, `apply`. It never saves, measures or judges.

    `leaves`, `refuses` and `apply` are the method's own. Everything else has a default in `StageDefaults`, from which
    every method here inherits; a stage of the user's own that does not is given them where the recipe is built.
    """

    @property
    def leaves(self) -> frozenset[str]:
        """What it leaves in the model that later stages must respect, with its settings as they are: words such as
        `int8`, `low_rank`, `sparse`."""
        ...

    @property
    def refuses(self) -> Mapping[str, str]:
        """Words for what it cannot be applied to, with its settings as they are, each with the reason."""
        ...

    def apply(self, model: PreTrainedModel, context: Context) -> PreTrainedModel:
        """A smaller model. `model` may be changed; the result is what counts."""
        ...

    @property
    def uses_latency(self) -> bool:
        """Whether it reads `context.latency`: what it makes then depends on the machine."""
        ...

    @property
    def changes_processor(self) -> bool:
        """Whether its result may have a processor of its own, given by `context.use_processor`."""
        ...

    @property
    def unread(self) -> Collection[str]:
        """Names of the settings that it does not read, as others are set: they do not count in the key of what it
        makes."""
        ...

    def check(self, model: PreTrainedModel) -> None:
        """Called before any stage works, with a model of the shape that it will be given. Raises InputError where the
        settings do not fit it."""
        ...

    def check_teacher(self, teacher: PreTrainedModel) -> None:
        """Called before any stage works, with a model of the teacher's shape. Raises InputError where the settings do
        not fit it, with a message that begins with the setting's name within the stage."""
        ...

    def check_processor(self, task: Task, processor: Any) -> None:
        """Called before any stage works, with the teacher's processor. Raises InputError where it cannot be used."""
        ...

    def check_examples(self, model: PreTrainedModel, lengths: Sequence[int], seed: int) -> None:
        """Called before any stage works, with the length of every training example. Raises InputError where they are
        too few. model: of the teacher's shape."""
        ...

    def check_latency(self, model: PreTrainedModel, latency: Callable[[Any], LatencyTable]) -> None:
        """Called before any stage works, once there is a teacher. Raises InputError where nothing could be as fast as
        it is asked for. model: as for `check`. latency: the latency table for layers of the fused sizes given."""
        ...

    def foresee(self, model: PreTrainedModel) -> PreTrainedModel:
        """A model of the shape that the stages after it will be given, from one of the shape that it will be given,
        which is left as it is."""
        ...

    def training(self, examples: int) -> Training | None:
        """What it trains on so many examples, from which its time and the disk that it needs are foreseen; None where
        nothing is trained."""
        ...

    def relax(self, setback: Setback) -> Milder | None:
        """Asked where its result missed its limits: milder settings of its own, or None where it knows none."""
        ...

    def together(self, model: PreTrainedModel) -> Sequence[Collection[str]]:
        """Paths of modules that it changes in ways that cancel out, in groups: only with each other can they be put
        back to what they were. model: the one that it was applied to."""
        ...


class StageDefaults:
    """What holds for a stage that does not say otherwise: see `Stage`, where each verb is described."""

    __slots__ = ()

    if not TYPE_CHECKING:
        # Plain attributes, so that a stage may give its own as one, of the class or of the instance, or as a property.
        uses_latency = False
        changes_processor = False
        unread = frozenset()

    def check(self, model: PreTrainedModel) -> None:
        """Any model will do."""

    def check_teacher(self, teacher: PreTrainedModel) -> None:
        """Any teacher will do."""

    def check_processor(self, task: Task, processor: Any) -> None:
        """Any processor will do."""

    def check_examples(self, model: PreTrainedModel, lengths: Sequence[int], seed: int) -> None:
        """However few there are."""

    def check_latency(self, model: PreTrainedModel, latency: Callable[[Any], LatencyTable]) -> None:
        """Whatever it costs."""

    def foresee(self, model: PreTrainedModel) -> PreTrainedModel:
        """Of the same shape, as far as it can be said."""
        return model

    def training(self, examples: int) -> Training | None:
        """Nothing is trained."""
        return None

    def relax(self, setback: Setback) -> Milder | None:
        """None are known."""
        return None

    def together(self, model: PreTrainedModel) -> Sequence[Collection[str]]:
        """No change cancels another."""
        return ()
