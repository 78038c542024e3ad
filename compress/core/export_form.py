"""A form of an exported model beside the one that a run measures, for whoever deploys it elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from compress.core.runtime import Session
from compress.core.signature import Signature

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What a form is written from.

    folder: what a run exported, compared with its manifest. model: its checkpoint, loaded strictly, in evaluation mode.
    signature: what the model takes and gives. batch: an example of at least two rows, as the model takes it. Both are
    None, and empty, for a form that is compared without examples.
    """

    folder: Path
    model: Any
    signature: Signature | None
    batch: Mapping[str, torch.Tensor]


class ExportForm(Protocol):
    """A form: a frozen dataclass, `FORM` in `compress/runtimes/NAME/form.py`, that a process without torch can import.

    threads: how many one inference uses, where outputs are compared. name: what `compress-export --to` calls it. label:
    what opens it, as its makers write that. package: the module that writes and opens it, and what to say to pip.
    opens: whether it is proven by outputs, in a process of its own; else `write` itself compares what it wrote.
    decodes: whether it carries models that go on with a text. companions: whether the configuration and the
    processor's files lie beside it. refuses: by kind of layer, why the form has none such, and the way out.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    package: ClassVar[tuple[str, str]]
    opens: ClassVar[bool]
    decodes: ClassVar[bool]
    companions: ClassVar[bool]
    refuses: ClassVar[Mapping[str, str]]

    @property
    def threads(self) -> int:
        """How many one inference uses."""
        ...

    def write(self, exported: Exported, folder: Path) -> Sequence[str]:
        """Write it into `folder`, and return sentences about what is in it. Raises InputError for a model that cannot
        have the form."""
        ...

    def open(self, folder: Path, signature: Signature) -> Session:
        """Open what `write` wrote, as its users do. Raises InputError where it cannot be used."""
        ...

    def usage(self, signature: Signature | None) -> str:
        """A few lines of Python that run a folder with token numbers, or pixels, for its card."""
        ...


class FormDefaults:
    """What most forms say: proven by outputs, of models that are called once, with the processor's files beside."""

    opens: ClassVar[bool] = True
    decodes: ClassVar[bool] = False
    companions: ClassVar[bool] = True
    refuses: ClassVar[Mapping[str, str]] = {}
