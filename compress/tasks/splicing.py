"""Texts made up of two: the beginning of one and the end of another."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

# A drawn text may be one that must not be made; so often another is drawn in its place.
TRIES = 20

# Each part is a text, or a tuple of words.
Example = tuple[Any, ...]


def joined(first: str, second: str, begin: float, end: float) -> str:
    """The share `begin` of `first`'s words, at least one, and then the share `end` of `second`'s, its last ones.

    A text without spaces, as Chinese is written, is taken apart into characters.
    """
    left, between_left = _pieces(first)
    right, between_right = _pieces(second)
    head = between_left.join(left[: max(1, round(begin * len(left)))])
    tail = between_right.join(right[len(right) - max(1, round(end * len(right))) :])
    return (between_left or between_right).join((head, tail))


def joined_words(first: Sequence[str], second: Sequence[str], begin: float, end: float) -> tuple[str, ...]:
    """The share `begin` of `first`, at least one word, and then the share `end` of `second`, its last ones."""
    head = first[: max(1, round(begin * len(first)))]
    tail = second[len(second) - max(1, round(end * len(second))) :]
    return (*head, *tail)


def splice(
    examples: Sequence[Example],
    count: int,
    seed: int,
    *,
    apart_from: Collection[Example] = (),
    join: Callable[[Any, Any, float, float], Any] = joined,
) -> list[Example]:
    """`count` examples, each made of two drawn from `examples`; none is among those or in `apart_from`, or comes twice.

    An example has one text or several; of each text the first part of one example, of a length drawn for each, is
    followed by the last part of another. Fewer than `count` where, after some tries, nothing new was found. A teacher
    can say what it makes of such a text, so a student sees more of the teacher than on the examples alone; whether the
    text makes sense does not matter. After Tang et al. 2019, Distilling Task-Specific Knowledge from BERT into Simple
    Neural Networks, section 3.2, where pieces of one example are drawn. join: makes one part of two, given two shares.
    """
    generator = np.random.default_rng(seed)
    known = {_normal(example) for example in (*examples, *apart_from)}
    made: list[Example] = []
    for _ in range(count):
        for _ in range(TRIES):
            first, second = (examples[i] for i in generator.integers(len(examples), size=2))
            begin, end = generator.random(2)
            new = tuple(join(*pair, begin, end) for pair in zip(first, second, strict=True))
            if _normal(new) not in known:
                known.add(_normal(new))
                made.append(new)
                break
    return made


def _pieces(text: str) -> tuple[list[str], str]:
    """What a text is made of, and what is written between."""
    words = text.split()
    return (words, " ") if len(words) > 1 else (list(text.strip()), "")


def _normal(example: Example) -> Example:
    return tuple(" ".join((part if isinstance(part, str) else " ".join(part)).split()) for part in example)
