"""From tags to entities, and which scheme tags are written in."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Literal

Scheme = Literal["bio", "bioes", "plain"]
# Type, first token, last token.
Entity = tuple[str, int, int]

_OUTSIDE = "O"
_BIO = re.compile(r"[BI](-.*)?")
_BIOES = re.compile(r"[BIES](-.*)?")


def scheme_of(labels: Collection[str]) -> Scheme:
    """`bio` where all are O, B-TYPE or I-TYPE; `bioes` where some are E-TYPE or S-TYPE too; otherwise `plain`.

    labels: all that a model knows, not those of one text, which may lack some.
    """
    inside = [label for label in labels if label != _OUTSIDE]
    if inside and all(_BIO.fullmatch(label) for label in inside):
        return "bio"
    return "bioes" if inside and all(_BIOES.fullmatch(label) for label in inside) else "plain"


def entities(tags: Sequence[str], scheme: Scheme | None = None) -> set[Entity]:
    """The entities that the tags of one text mark: type, first and last token, counted from 0.

    scheme: found from these tags alone where None. `bio`: as CoNLL's own scorer and seqeval's default read it, so an
    I-TYPE that continues nothing of its type begins an entity. `bioes`: as seqeval's strict mode does, so only S-TYPE,
    or B-TYPE, any I-TYPE, E-TYPE of one type, is one; what is cut short is none. `plain`: each run of one tag other
    than O. The type of a tag without one is `_`.
    """
    scheme = scheme_of(tags) if scheme is None else scheme
    if scheme == "plain":
        return _runs(tags)
    return _lenient(tags) if scheme == "bio" else _strict(tags)


def _split(tag: str) -> tuple[str, str]:
    """`B-PER` is (`B`, `PER`)."""
    return tag[:1], tag[1:].split("-", maxsplit=1)[-1] or "_"


def _lenient(tags: Sequence[str]) -> set[Entity]:
    found: set[Entity] = set()
    start, open_type = 0, ""
    for i, tag in enumerate([*tags, _OUTSIDE]):
        prefix, kind = _split(tag)
        goes_on = prefix == "I" and kind == open_type
        if open_type and not goes_on:
            found.add((open_type, start, i - 1))
            open_type = ""
        if prefix in ("B", "I") and not goes_on:
            start, open_type = i, kind
    return found


def _strict(tags: Sequence[str]) -> set[Entity]:
    found: set[Entity] = set()
    start, open_type = 0, ""
    for i, tag in enumerate(tags):
        prefix, kind = _split(tag)
        if prefix == "S":
            found.add((kind, i, i))
        elif prefix == "E" and kind == open_type:
            found.add((kind, start, i))
        if prefix == "B":
            start, open_type = i, kind
        elif not (prefix == "I" and kind == open_type):
            open_type = ""
    return found


def _runs(tags: Sequence[str]) -> set[Entity]:
    found: set[Entity] = set()
    start = 0
    for i in range(1, len(tags) + 1):
        if i == len(tags) or tags[i] != tags[start]:
            if tags[start] != _OUTSIDE:
                found.add((tags[start], start, i - 1))
            start = i
    return found
