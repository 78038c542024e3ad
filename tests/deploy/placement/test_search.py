"""A plan worked out on paper, and the search against all placements there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby, permutations, product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.core.placement import DeviceCosts, Link, Step, Taken
from compress.deploy.placement.problem import (
    Needs,
    Phase,
    Placement,
    Problem,
    Run,
    alone,
    busy_ms,
    bytes_on,
    fits,
    period_ms,
    steps_of,
    total_ms,
)
from compress.deploy.placement.search import best, first_filled, missing_bytes

NEEDS = Needs(embeddings=10, blocks=(20,) * 4, caches=(5,) * 4, head=10, shared=0, activations=3)
# A prompt of ten tokens takes the GPU no longer than one token does, and the CPU five times as long.
GPU = DeviceCosts(embeddings=Taken(0.1, 0.1), entry=Taken(0.2, 0.2), blocks=(Taken(1, 1),) * 4, head=Taken(0.5, 0.5))
CPU = DeviceCosts(embeddings=Taken(0.5, 0.1), entry=Taken(0.2, 0.2), blocks=(Taken(20, 4),) * 4, head=Taken(2, 2))
# The hidden state of a token is 100 bytes: 0.1 ms after 0.3.
LINK = Link(0.3, 1.0e6)
PROBLEM = Problem(
    needs=NEEDS,
    memory={"gpu": 66, "cpu": 1000},
    costs={"gpu": GPU, "cpu": CPU},
    links={("gpu", "cpu"): LINK, ("cpu", "gpu"): LINK},
    hidden_bytes=100,
    prompt_tokens=10,
)
# The GPU holds two blocks (50), what it needs to compute (3), and the embeddings or the head (10), not both.
IN_ORDER = Placement("gpu", (Run("gpu", 0, 2), Run("cpu", 2, 4)), "cpu")
FROM_THE_END = Placement("cpu", (Run("cpu", 0, 2), Run("gpu", 2, 4)), "gpu")


def test_what_is_on_a_device_adds_up() -> None:
    assert bytes_on(NEEDS, IN_ORDER) == {"gpu": 3 + 10 + 50, "cpu": 3 + 50 + 10}
    assert bytes_on(NEEDS, IN_ORDER, requests=2) == {"gpu": 3 + 10 + 60, "cpu": 3 + 60 + 10}
    assert (fits(PROBLEM, IN_ORDER), fits(PROBLEM, IN_ORDER, requests=2)) == (True, False)


def test_a_table_that_embeddings_and_head_share_is_there_once_where_both_are() -> None:
    tied = replace(NEEDS, shared=9)
    assert bytes_on(tied, alone("cpu", 4)) == {"cpu": 3 + 10 + 100 + 10 - 9} == {"cpu": tied.total}
    assert bytes_on(tied, IN_ORDER) == bytes_on(NEEDS, IN_ORDER)
    # 123 bytes, 9 of them counted twice.
    assert best(replace(PROBLEM, needs=tied, memory={"cpu": 114}), "token") == alone("cpu", 4)
    assert best(replace(PROBLEM, needs=tied, memory={"cpu": 113}), "token") is None


def test_what_a_token_takes_adds_up() -> None:
    assert total_ms(PROBLEM, alone("cpu", 4), "token") == pytest.approx(0.1 + 0.2 + 16 + 2)
    # Two blocks on each; a hidden state there, and the number of the token back: eight bytes.
    assert busy_ms(PROBLEM, IN_ORDER, "token") == pytest.approx({"gpu": 0.1 + 0.2 + 2, "cpu": 0.2 + 8 + 2})
    assert total_ms(PROBLEM, IN_ORDER, "token") == pytest.approx(2.3 + 0.4 + 10.2 + 0.308)


def test_a_prompt_hands_on_all_its_hidden_states_and_nothing_goes_back() -> None:
    assert total_ms(PROBLEM, IN_ORDER, "prompt") == pytest.approx((0.1 + 0.2 + 2) + (0.3 + 1.0) + (0.2 + 40 + 2))


def test_the_fastest_plan_on_paper() -> None:
    # In order 13.208; from the end the head is where it is fast; all on the CPU 18.3; a block with both ends on the GPU
    # 0.1 + 0.2 + 1 + 0.4 + 0.2 + 12 + 0.4 + 0.5 = 14.8; two blocks there, and both ends on the CPU, 13.3.
    assert total_ms(PROBLEM, FROM_THE_END, "token") == pytest.approx(8.3 + 0.4 + 2.7 + 0.308)
    assert best(PROBLEM, "token") == FROM_THE_END


def test_with_two_in_flight_the_slower_device_sets_the_pace_or_the_way_round_does() -> None:
    assert period_ms(PROBLEM, FROM_THE_END) == pytest.approx(8.3)
    # Where the way between them is long, each of two requests is on it most of the time.
    far = replace(PROBLEM, links=dict.fromkeys(PROBLEM.links, Link(10.0, 1.0e6)))
    assert period_ms(far, FROM_THE_END) == pytest.approx((8.3 + 10.1 + 2.7 + 10.008) / 2)


def test_a_device_that_is_far_away_is_left_alone() -> None:
    far = replace(PROBLEM, links=dict.fromkeys(PROBLEM.links, Link(10.0, 1.0e6)))
    assert best(far, "token") == alone("cpu", 4)


def test_with_room_for_all_nothing_is_split() -> None:
    assert best(replace(PROBLEM, memory={"cpu": 1000, "gpu": 123}), "token") == alone("gpu", 4)


def test_as_much_as_fits_is_taken_in_the_users_order() -> None:
    assert first_filled(PROBLEM) == IN_ORDER
    assert first_filled(replace(PROBLEM, memory={"cpu": 1000, "gpu": 66})) == alone("cpu", 4)
    # All blocks fit on the first, and not the head.
    assert first_filled(replace(PROBLEM, memory={"gpu": 113, "cpu": 13})) == Placement(
        "gpu", (Run("gpu", 0, 4),), "cpu"
    )
    assert first_filled(replace(PROBLEM, memory={"gpu": 66, "cpu": 62})) is None


def test_what_is_missing_is_found_to_the_byte() -> None:
    # 10 + 100 + 10 + 3 are needed.
    assert missing_bytes(replace(PROBLEM, memory={"cpu": 100})) == ("cpu", 23)
    # The CPU holds two blocks, and then no end; the GPU two, and one end, and would need 73 for both. With the other
    # end on the CPU that would need 63, ten more.
    assert missing_bytes(replace(PROBLEM, memory={"gpu": 66, "cpu": 53})) == ("gpu", 7)
    with pytest.raises(ValueError):
        missing_bytes(PROBLEM)


def test_neighbours_on_one_device_are_one_step() -> None:
    assert steps_of(FROM_THE_END) == (Step("cpu", True, 0, 2, False), Step("gpu", False, 2, 4, True))
    assert steps_of(alone("cpu", 4)) == (Step("cpu", True, 0, 4, True),)
    around = Placement("cpu", (Run("gpu", 0, 3), Run("cpu", 3, 4)), "gpu")
    assert steps_of(around) == (
        Step("cpu", True, 0, 0, False),
        Step("gpu", False, 0, 3, False),
        Step("cpu", False, 3, 4, False),
        Step("gpu", False, 4, 4, True),
    )


def every_placement(problem: Problem) -> Iterator[Placement]:
    """All there are, from all ways to give each block a device."""
    for devices in product(problem.memory, repeat=problem.blocks):
        runs, start = [], 0
        for device, group in groupby(devices):
            end = start + len(list(group))
            runs.append(Run(device, start, end))
            start = end
        if len({run.device for run in runs}) == len(runs):
            for embeddings, head in product(problem.memory, repeat=2):
                yield Placement(embeddings, tuple(runs), head)


@st.composite
def problems(draw: Any) -> Problem:
    blocks, names = draw(st.integers(1, 5)), ("a", "b", "c")[: draw(st.integers(1, 3))]
    small, times = st.integers(0, 9), st.integers(0, 9).map(float)
    embeddings, head = draw(small), draw(small)
    each = st.lists(small, min_size=blocks, max_size=blocks).map(tuple)
    taken = st.builds(Taken, times, times)
    costs = st.builds(
        DeviceCosts,
        embeddings=taken,
        entry=taken,
        blocks=st.lists(taken, min_size=blocks, max_size=blocks).map(tuple),
        head=taken,
    )
    return Problem(
        needs=Needs(
            embeddings=embeddings,
            blocks=draw(each),
            caches=draw(each),
            head=head,
            shared=draw(st.integers(0, min(embeddings, head))),
            activations=draw(small),
        ),
        memory={name: draw(st.integers(0, 60)) for name in names},
        costs={name: draw(costs) for name in names},
        links={pair: Link(draw(times), 1000.0) for pair in permutations(names, 2)},
        hidden_bytes=draw(small),
        prompt_tokens=draw(st.integers(1, 4)),
    )


@settings(max_examples=150, deadline=None)
@given(problem=problems(), phase=st.sampled_from(["token", "prompt"]))
def test_none_that_fits_is_faster(problem: Problem, phase: Phase) -> None:
    possible = [placement for placement in every_placement(problem) if fits(problem, placement)]
    found = best(problem, phase)
    if found is None:
        assert possible == []
        return
    assert found in possible
    least = min(total_ms(problem, placement, phase) for placement in possible)
    assert total_ms(problem, found, phase) == pytest.approx(least, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(problem=problems())
def test_what_fills_the_first_device_fits_and_is_never_faster(problem: Problem) -> None:
    filled, found = first_filled(problem), best(problem, "token")
    if filled is not None:
        assert fits(problem, filled) and found is not None
        assert total_ms(problem, found, "token") <= total_ms(problem, filled, "token") + 1e-9


@settings(max_examples=50, deadline=None)
@given(problem=problems())
def test_what_is_missing_would_do_and_a_byte_less_would_not(problem: Problem) -> None:
    if best(problem, "token") is not None:
        return
    name, missing = missing_bytes(problem)
    for more, enough in ((missing, True), (missing - 1, False)):
        memory = {**problem.memory, name: problem.memory[name] + more}
        assert (best(replace(problem, memory=memory), "token") is not None) is enough
