from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.core.errors import InputError
from compress.data.formats import read_file
from compress.data.splits import fingerprint, held_out, number_groups, require_share

CELLS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)
TABLES = st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=12)


def test_a_share_of_single_rows_is_rounded() -> None:
    assert held_out(np.arange(10), 0.2, seed=0).sum() == 2
    assert held_out(np.arange(10), 0.34, seed=0).sum() == 3
    assert held_out(np.arange(10), 0.36, seed=0).sum() == 4


def test_whole_groups_are_held_out() -> None:
    # Two groups of five, and two rows wanted: neither group brings it nearer, but one must go.
    away = held_out(np.array([7, 7, 7, 7, 7, 9, 9, 9, 9, 9]), 0.2, seed=0)
    assert away.tolist() in ([True] * 5 + [False] * 5, [False] * 5 + [True] * 5)


def test_a_group_that_is_much_too_large_stays() -> None:
    # Eight rows of one group, two single rows; a fifth is exactly the two single rows, whatever the order.
    for seed in range(10):
        assert held_out(np.array([0] * 8 + [1, 2]), 0.2, seed).tolist() == [False] * 8 + [True] * 2


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_neither_side_is_empty(share: float) -> None:
    assert held_out(np.array([0, 0, 1, 2]), share, seed=3).sum() == (1 if share < 0.5 else 3)


def test_one_group_cannot_be_split() -> None:
    with pytest.raises(ValueError, match="1 groups"):
        held_out(np.array([4, 4, 4]), 0.5, seed=0)


def test_the_seed_decides() -> None:
    draws = {tuple(held_out(np.arange(20), 0.5, seed).tolist()) for seed in range(5)}
    assert len(draws) == 5
    assert held_out(np.arange(20), 0.5, 1).tolist() == held_out(np.arange(20), 0.5, 1).tolist()


@given(st.lists(st.integers(0, 9), min_size=2, max_size=60), st.floats(0.01, 0.99), st.integers(0, 99))
def test_groups_are_whole_and_the_share_is_near(numbers: list[int], share: float, seed: int) -> None:
    groups = np.array(numbers)
    if len(set(numbers)) < 2:
        return
    away = held_out(groups, share, seed)
    assert not set(groups[away]) & set(groups[~away])
    assert away.any() and not away.all()
    sizes = np.unique(groups, return_counts=True)[1]
    # Half of the largest group, or, where one side would have been empty, the smallest group.
    assert abs(away.sum() - share * len(groups)) <= max(sizes.max() / 2, sizes.min()) + 1e-9


def test_equal_values_get_equal_numbers_across_columns() -> None:
    assert number_groups([["b", "a", "b"], ["c", "a"], ["7", 7]]) == [[0, 1, 0], [2, 1], [3, 3]]


@pytest.mark.parametrize("value", [0, 1, 1.0, -0.1, True, "0.2", float("nan")])
def test_a_share_excludes_both_ends(value: object) -> None:
    with pytest.raises(InputError, match=r"data\.validation_share is .*it must lie in \(0, 1\)"):
        require_share("data.validation_share", value)


def _write(folder: Path, rows: list[tuple[str, str]], suffix: str) -> str:
    path = folder / f"{len(rows)}{suffix}"
    if suffix == ".jsonl":
        path.write_text("".join(json.dumps({"label": b, "text": a}) + "\n" for a, b in rows), encoding="utf-8")
    elif suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("text", "label"), *rows])
    else:
        frame = pd.DataFrame(rows, columns=["text", "label"]).astype({"label": "category"})
        frame.to_parquet(path, row_group_size=3)
    return str(path)


@settings(max_examples=30, deadline=None)
@given(TABLES)
def test_the_fingerprint_knows_neither_path_nor_format(rows: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        found = {
            fingerprint(read_file("data.train", _write(Path(name), rows, s))) for s in (".jsonl", ".csv", ".parquet")
        }
    in_memory = Dataset.from_dict({"text": [a for a, _ in rows], "label": [b for _, b in rows]})
    assert found == {fingerprint(in_memory)}


@settings(deadline=None)
@given(TABLES, st.data())
def test_the_fingerprint_sees_one_changed_cell_and_two_swapped_rows(rows: list, data: st.DataObject) -> None:
    i, j = (data.draw(st.integers(0, len(rows) - 1)) for _ in range(2))
    changed, swapped = list(rows), list(rows)
    changed[i] = (rows[i][0], rows[i][1] + "x")
    swapped[i], swapped[j] = rows[j], rows[i]
    prints = [
        fingerprint(Dataset.from_dict({"a": [a for a, _ in t], "b": [b for _, b in t]}))
        for t in (rows, changed, swapped)
    ]
    assert prints[0] != prints[1]
    assert (prints[0] == prints[2]) == (rows[i] == rows[j])


def test_the_fingerprint_sees_where_one_value_ends() -> None:
    contents = [
        {"a": ["xy", "z"]},
        {"a": ["x", "yz"]},
        {"a": ["xz", "y"]},
        {"b": ["xy", "z"]},
        {"a": ["xy", None]},
        {"a": ["xy", ""]},
        {"a": [1, 2]},
        {"a": ["1", "2"]},
        {"a": [1.0, 2.0]},
        {"a": [[1, 2], [3]]},
        {"a": [[1], [2, 3]]},
        {"a": [[1, 2], [3], []]},
        {"a": [[1, 2], [3], None]},
        {"a": [True, False]},
        {"a": [{"x": 1, "y": 2}]},
        {"a": [{"x": 2, "y": 1}]},
        {"a": [{"x": 1, "z": 2}]},
        {"a": [0, 0]},
        {"a": [0.0, 0.0]},
        {"a": [False, False]},
    ]
    assert len({fingerprint(Dataset.from_dict(content)) for content in contents}) == len(contents)


def test_the_fingerprint_of_a_part_is_that_of_its_own_values() -> None:
    columns = {"text": ["a", None, "bc", "d"], "ids": [[1], [], None, [2, 3]]}
    part = Dataset.from_dict(columns).select(range(2, 4))
    assert fingerprint(part) == fingerprint(Dataset.from_dict({name: values[2:] for name, values in columns.items()}))
    assert fingerprint(part) != fingerprint(Dataset.from_dict({"text": ["bx", "d"], "ids": [None, [2, 3]]}))


def test_the_fingerprint_knows_no_storage() -> None:
    wide = pa.table(
        {"ids": pa.array([[1, 2], [3]], pa.large_list(pa.int64())), "text": pa.array(["a", "b"], pa.large_string())}
    )
    narrow = pa.table({"text": pa.chunked_array([["a"], ["b"]]), "ids": pa.array([[1, 2], [3]], pa.list_(pa.int8()))})
    reordered = Dataset.from_dict({"text": ["b", "a"], "ids": [[3], [1, 2]]}).select([1, 0])
    assert fingerprint(Dataset(wide)) == fingerprint(Dataset(narrow)) == fingerprint(reordered)


def test_the_fingerprint_of_many_rows_knows_no_storage() -> None:
    # More rows than are hashed at once, so that the second part starts inside a buffer.
    texts = [f"text {n}" for n in range(10_010)]
    stored = [Dataset(pa.table({"text": pa.array(texts, kind)})) for kind in (pa.string(), pa.large_string())]
    assert fingerprint(stored[0]) == fingerprint(stored[1])


def test_the_fingerprint_of_many_rows_sees_the_last() -> None:
    ids = [[n, n + 1] for n in range(25_000)]
    before = fingerprint(Dataset.from_dict({"ids": ids}))
    ids[-1] = [0, 0]
    assert fingerprint(Dataset.from_dict({"ids": ids})) != before
