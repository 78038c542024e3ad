"""Answers of frequent inputs, kept while there is room."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

# What an entry takes besides its key and its answer: its place in the dictionary and the linked list, with their slack.
ENTRY_BYTES = 200


@dataclass(frozen=True)
class CacheCounts:
    """hits: answers that were found. misses: answers that were computed. entries, bytes: now."""

    hits: int
    misses: int
    entries: int
    bytes: int


class AnswerCache:
    """Bounded in bytes; what was not asked for longest goes first; safe for threads. An entry is found by a key that is
    exactly equal."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._entries: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._bytes = self._hits = self._misses = 0
        self._lock = threading.Lock()

    def find(self, key: Hashable) -> Any | None:
        """The answer, which becomes the last to go; None where there is none."""
        with self._lock:
            found = self._entries.get(key)
            if found is None:
                return None
            self._entries.move_to_end(key)
            self._hits += 1
            return found[0]

    def keep(self, key: Hashable, key_bytes: int, answer: Any, answer_bytes: int) -> None:
        """Keep an answer, and let others go until there is room. One that is larger than all of it is not kept."""
        size = ENTRY_BYTES + key_bytes + answer_bytes
        with self._lock:
            before = self._entries.pop(key, None)
            if before is not None:
                self._bytes -= before[1]
            if size > self._most:
                return
            self._entries[key] = answer, size
            self._bytes += size
            while self._bytes > self._most:
                _, (_, freed) = self._entries.popitem(last=False)
                self._bytes -= freed

    def missed(self, count: int) -> None:
        """Count answers that were computed because they were not found."""
        with self._lock:
            self._misses += count

    @property
    def counts(self) -> CacheCounts:
        """What happened so far, and what is kept now."""
        with self._lock:
            return CacheCounts(self._hits, self._misses, len(self._entries), self._bytes)
