"""Where a model's pieces may be computed, and what they cost there: measured on one machine, read on another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from compress.core.json_file import require_types

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Device:
    """name: as the user wrote it, without its memory. index: which GPU. threads: of a CPU, None where it takes all that
    there are. share: of the time that it works; the rest of the time it rests, as a slower one would still compute."""

    name: str
    kind: Literal["cpu", "cuda"]
    index: int = 0
    threads: int | None = None
    share: float = 1.0


@dataclass(frozen=True)
class Step:
    """What one device does without a pause: the embeddings, a run of blocks, the head, or neighbours of these."""

    device: str
    embeddings: bool
    start: int
    end: int
    head: bool


@dataclass(frozen=True)
class Taken:
    """Milliseconds: of a whole prompt, and of one token after it."""

    prompt: float
    token: float


@dataclass(frozen=True, kw_only=True)
class DeviceCosts:
    """What the pieces of a model take on one device. entry: what every run of blocks there needs once, such as a mask
    and the angles of positions. blocks: each of them, in order. head: the last norm with it."""

    embeddings: Taken
    entry: Taken
    blocks: tuple[Taken, ...]
    head: Taken


@dataclass(frozen=True)
class Link:
    """From one device to another: what any transfer takes, and how fast bytes follow."""

    latency_ms: float
    bytes_per_s: float

    def milliseconds(self, count: float) -> float:
        """What so many bytes take."""
        return self.latency_ms + 1000 * count / self.bytes_per_s


@dataclass(frozen=True, kw_only=True)
class Costs:
    """blocks, hidden_size: of the model that was measured. prompt_tokens: of the prompt that was timed. bits: 32 or 16,
    of the numbers that were computed with. links: by the names of two devices, from and to; one that is missing is as
    the one back. about: where it was measured, for people. disturbed: as in Latency."""

    blocks: int
    hidden_size: int
    prompt_tokens: int
    bits: int
    devices: Mapping[str, DeviceCosts]
    links: Mapping[tuple[str, str], Link]
    about: str = ""
    disturbed: bool | None = None
    format: int = field(default=FORMAT, init=False)

    def link(self, start: str, end: str) -> Link:
        """Raises KeyError where neither direction is known."""
        found = self.links.get((start, end))
        return self.links[end, start] if found is None else found

    def to_json(self) -> dict[str, Any]:
        """A JSON object; a device whose blocks all cost the same has one entry for them."""
        plain = {name: getattr(self, name) for name in ("format", *PLAIN)}
        return {
            **plain,
            "devices": {name: _device_json(costs) for name, costs in self.devices.items()},
            "links": [{"from": start, "to": end, **asdict(link)} for (start, end), link in self.links.items()],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Costs:
        """Read what `to_json` gave, or somebody wrote by hand. Raises ValueError with the place of what is wrong."""
        if data.get("format") != FORMAT:
            raise ValueError(f"format is {data.get('format')!r}, and this release reads format {FORMAT}")
        plain = {name: data[name] for name in PLAIN if name in data}
        for name in ("blocks", "hidden_size", "prompt_tokens", "bits"):
            if name not in plain:
                raise ValueError(f"{name} is missing")
        require_types(cls, plain)
        if plain["bits"] not in (16, 32) or min(plain["blocks"], plain["hidden_size"], plain["prompt_tokens"]) < 1:
            raise ValueError("bits must be 32 or 16; blocks, hidden_size and prompt_tokens at least 1")
        devices = {
            name: _device_costs(_object(entry, f"devices.{name}"), f"devices.{name}", plain["blocks"])
            for name, entry in _object(data.get("devices"), "devices").items()
        }
        links = data.get("links", [])
        if not isinstance(links, list):
            raise ValueError("links is no array")
        return cls(**plain, devices=devices, links=dict(_link(entry, f"links.{i}") for i, entry in enumerate(links)))


PLAIN = ("blocks", "hidden_size", "prompt_tokens", "bits", "about", "disturbed")


def _device_json(costs: DeviceCosts) -> dict[str, Any]:
    blocks: Sequence[Taken] = costs.blocks[:1] if len(set(costs.blocks)) == 1 else costs.blocks
    parts = {name: _taken_json(getattr(costs, name)) for name in ("embeddings", "entry", "head")}
    return {**parts, "blocks": [_taken_json(block) for block in blocks]}


def _taken_json(taken: Taken) -> dict[str, float]:
    return {"prompt_ms": taken.prompt, "token_ms": taken.token}


def _device_costs(entry: Mapping[str, Any], place: str, blocks: int) -> DeviceCosts:
    listed = entry.get("blocks")
    if not isinstance(listed, list) or len(listed) not in (1, blocks):
        raise ValueError(f"{place}.blocks must be an array of {blocks}, or of one that holds for all")
    read = tuple(_taken(block, f"{place}.blocks.{i}") for i, block in enumerate(listed))
    parts = {name: _taken(entry.get(name), f"{place}.{name}") for name in ("embeddings", "entry", "head")}
    return DeviceCosts(**parts, blocks=read * blocks if len(read) == 1 else read)


def _taken(entry: Any, place: str) -> Taken:
    values = _object(entry, place)
    return Taken(_number(values, "prompt_ms", place), _number(values, "token_ms", place))


def _link(entry: Any, place: str) -> tuple[tuple[str, str], Link]:
    values = _object(entry, place)
    link = Link(_number(values, "latency_ms", place), _number(values, "bytes_per_s", place))
    if link.bytes_per_s == 0:
        raise ValueError(f"{place}.bytes_per_s is 0")
    return (str(values.get("from")), str(values.get("to"))), link


def _object(entry: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(entry, dict):
        raise ValueError(f"{place} is missing, or no object")
    return entry


def _number(values: Mapping[str, Any], name: str, place: str) -> float:
    found = values.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float) or found < 0:
        raise ValueError(f"{place}.{name} is {found!r}, no number of at least 0")
    return float(found)
