"""What a plain `config.json` cannot say about a model: modules replaced or reshaped. The final state only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from compress.core.errors import InputError

FORMAT = 1


@dataclass(frozen=True)
class Edit:
    """One module that differs from what the configuration would build.

    kind: the layer's kind (`linear`, `low_rank`, ...). sizes: what its constructor needs, for example
    {"inputs": 384, "outputs": 192, "bias": 1}.
    """

    kind: str
    sizes: Mapping[str, int]


@dataclass(frozen=True)
class Structure:
    """edits: module path -> Edit. attributes: module path -> attribute -> value (head counts)."""

    edits: Mapping[str, Edit] = field(default_factory=dict)
    attributes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def is_plain(self) -> bool:
        """True where `config.json` says everything, so that any loader gets the same model."""
        return not self.edits and not self.attributes

    def kinds(self) -> frozenset[str]:
        """The kinds of layer that occur among the edits."""
        return frozenset(edit.kind for edit in self.edits.values())

    def to_json(self) -> dict[str, Any]:
        """A JSON object with a format number, paths in order."""
        return {
            "format": FORMAT,
            "edits": {path: {"kind": e.kind, "sizes": dict(e.sizes)} for path, e in sorted(self.edits.items())},
            "attributes": {path: dict(values) for path, values in sorted(self.attributes.items())},
        }

    @classmethod
    def from_json(cls, data: Any) -> Structure:
        """Read what `to_json` wrote. Raises InputError on anything else: the file may come from anywhere."""
        try:
            if data["format"] != FORMAT:
                raise InputError(
                    f"structure.json has format {data['format']}; this release reads format {FORMAT}. "
                    "Load it with the release that wrote it."
                )
            edits = {
                str(path): Edit(str(entry["kind"]), {str(k): _whole(v) for k, v in entry["sizes"].items()})
                for path, entry in data["edits"].items()
            }
            attributes = {
                str(path): {str(k): _whole(v) for k, v in values.items()} for path, values in data["attributes"].items()
            }
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(f"structure.json is malformed ({error!r}). Export the model again.") from error
        return cls(edits, attributes)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is not a whole number of at least 0")
    return value
