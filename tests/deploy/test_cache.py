"""Bytes counted by hand, the order in which entries go, and threads."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from compress.deploy.answers import Labelled, bytes_of
from compress.deploy.cache import ENTRY_BYTES, AnswerCache, CacheCounts


def test_an_entry_takes_its_key_its_answer_and_200_bytes() -> None:
    cache = AnswerCache(1000)
    cache.keep("a", 50, "answer", 100)
    assert cache.counts == CacheCounts(hits=0, misses=0, entries=1, bytes=350)
    cache.keep("b", 50, "answer", 100)
    assert cache.counts.bytes == 700
    # 1,050 bytes would be too many: the first goes.
    cache.keep("c", 50, "answer", 100)
    assert (cache.counts.entries, cache.counts.bytes) == (2, 700)
    assert [cache.find(key) for key in "abc"] == [None, "answer", "answer"]


def test_exactly_as_many_bytes_as_there_are_fit() -> None:
    cache = AnswerCache(250)
    cache.keep("a", 20, 1, 30)
    assert cache.find("a") == 1
    cache.keep("b", 20, 2, 31)
    # Larger than all of it: not kept, and nothing makes room for it.
    assert (cache.find("a"), cache.find("b"), cache.counts.bytes) == (1, None, 250)


def test_what_was_not_asked_for_longest_goes_first() -> None:
    cache = AnswerCache(3 * 300)
    for key in "abc":
        cache.keep(key, 50, key.upper(), 50)
    assert cache.find("a") == "A"
    cache.keep("d", 50, "D", 50)
    assert [cache.find(key) for key in "abcd"] == ["A", None, "C", "D"]


def test_one_large_entry_lets_several_go() -> None:
    cache = AnswerCache(1000)
    for key in "abcd":
        cache.keep(key, 0, key, 50)
    assert cache.counts.bytes == 1000
    cache.keep("e", 0, "e", 400)
    assert [cache.find(key) for key in "abcde"] == [None, None, None, "d", "e"]
    assert cache.counts.bytes == 250 + 600


def test_the_same_key_again_is_counted_once() -> None:
    cache = AnswerCache(1000)
    cache.keep("a", 10, "first", 100)
    cache.keep("a", 10, "second", 20)
    assert (cache.find("a"), cache.counts.entries, cache.counts.bytes) == ("second", 1, 230)
    # What is too large now is not answered with what was there before.
    cache.keep("a", 10, "third", 5000)
    assert (cache.find("a"), cache.counts.entries, cache.counts.bytes) == (None, 0, 0)


def test_hits_and_misses_are_counted() -> None:
    cache = AnswerCache(1000)
    cache.find("a")
    cache.missed(1)
    cache.keep("a", 1, "answer", 1)
    cache.find("a")
    cache.find("a")
    assert (cache.counts.hits, cache.counts.misses) == (2, 1)


def test_what_answers_take() -> None:
    assert bytes_of(np.zeros(384, dtype=np.float32)) == 112 + 1536
    assert bytes_of(Labelled("a", 1.0, {"a": 1.0, "b": 0.0, "c": 0.0})) == 200 + 300


@given(
    st.integers(0, 2000),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 300), st.booleans()), max_size=60),
)
def test_it_is_what_a_plain_list_would_be(most: int, steps: list[tuple[int, int, bool]]) -> None:
    """Against a model that counts everything anew each time."""
    cache, expected = AnswerCache(most), OrderedDict[int, int]()
    for key, size, asks in steps:
        if asks:
            found = cache.find(key)
            assert found == expected.get(key)
            if key in expected:
                expected.move_to_end(key)
            continue
        cache.keep(key, 0, size, size)
        expected.pop(key, None)
        if size + ENTRY_BYTES <= most:
            expected[key] = size
        while sum(size + ENTRY_BYTES for size in expected.values()) > most:
            expected.popitem(last=False)
        assert cache.counts.entries == len(expected)
        assert cache.counts.bytes == sum(size + ENTRY_BYTES for size in expected.values()) <= most


def test_many_threads_neither_lose_bytes_nor_leave_the_bound() -> None:
    cache, wrong = AnswerCache(20_000), []
    start = threading.Barrier(8)

    def work(seed: int) -> None:
        draw = np.random.default_rng(seed)
        start.wait()
        for _ in range(3000):
            key = int(draw.integers(200))
            found = cache.find(key)
            if found is None:
                cache.keep(key, 0, key, key)
            elif found != key:
                wrong.append((key, found))
            if cache.counts.bytes > 20_000:
                wrong.append(("bytes", cache.counts.bytes))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    left = [key for key in range(200) if cache.find(key) is not None]
    assert cache.counts.entries == len(left)
    assert cache.counts.bytes == sum(key + ENTRY_BYTES for key in left)
