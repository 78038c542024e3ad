"""How texts are arranged, and what of their answers is counted."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import same_answer
from benchmarks.render.forms import same_answer as table
from compress.tasks.text_task import SIGNATURE


def test_every_text_is_in_every_arrangement_once() -> None:
    found = same_answer.arrangements(20)
    assert [len(part) for part in found["batches of 8"]] == [8, 8, 4]
    assert [len(part) for part in found["batches of 32"]] == [20]
    assert len(found["alone"]) == len(found["padded to twice"]) == 20
    assert all([i for part in parts for i in part] == list(range(20)) for parts in found.values())


def test_padding_doubles_the_length_and_is_masked() -> None:
    batch = {"input_ids": np.array([[5, 6, 7]]), "attention_mask": np.array([[1, 1, 1]])}
    found = same_answer.doubled(batch, SIGNATURE)
    assert found["input_ids"].tolist() == [[5, 6, 7, 0, 0, 0]]
    assert found["attention_mask"].tolist() == [[1, 1, 1, 0, 0, 0]]


def test_another_class_is_counted() -> None:
    alone = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.4]])
    assert same_answer.changed(alone, np.array([[0.2, 0.1], [0.9, 1.0], [0.4, 0.5]])) == 1


def test_speed_is_told_against_dynamic_ranges() -> None:
    # Rounds of two calls each; every other form takes twice as long as the control, and one half as long.
    control = [[1.0, 2.0]] * 24
    rounds = [
        [[0.5, 1.0]] * 24 if name == "static" else control if name == "dynamic" else [[2.0, 4.0]] * 24
        for name in same_answer.FORMS
    ]
    found = {row["form"]: row for row in same_answer.compared(rounds)}
    assert found["dynamic"]["times_as_fast"] == 1 and found["static"]["times_as_fast"] == 2
    assert found["fp32"]["times_as_fast"] == 0.5 and found["fp32"]["interval"] == [0.5, 0.5]
    assert found["static"]["milliseconds"] == 0.75


def result(**more: object) -> dict[str, object]:
    """Of one form."""
    counted = [
        {"threads": threads, "way": way, "changed": changed, "largest_difference": difference}
        for threads, way, changed, difference in (
            (1, "alone", 0, 0.0),
            (1, "batches of 8", 3, 0.25),
            (2, "alone", 1, 0.5),
            (2, "batches of 8", 4, 0.125),
        )
    ]
    row = {"form": "dynamic", "label": "a range", "bytes": 15_600_000, "right": 880, "other_than_fp32": 7}
    facts = {"machine": {"cpu": "a processor", "threads": 2}, "versions": {"onnxruntime": "1.31.1"}}
    plain = {"texts": 1000, "largest_logit": 8.04, "date": "2026-12-01", **facts}
    return {**plain, "rows": [{**row, "changed": counted}], **more}


def test_the_table_by_hand() -> None:
    *_, headings, _, line = table(result()).splitlines()
    assert [cell.strip() for cell in headings.strip("|").split("|")][-3:] == [
        "batches of 8",
        "2 threads",
        "largest difference",
    ]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == ["a range", "88.0%", "15.6", "7", "3 / 4", "1", "5.0e-01"]


@pytest.mark.parametrize(("disturbed", "told"), [(False, "95% intervals"), (True, "while others used the processors")])
def test_times_stand_beside_it_where_they_were_measured(disturbed: bool, told: str) -> None:
    row = {"form": "dynamic", "milliseconds": 1.0, "times_as_fast": 1.5, "interval": [1.25, 1.75]}
    ways = [{"way": "one text", "disturbed": disturbed, "rows": [row]}]
    times = {"date": "2026-12-02", "machine": {"cpu": "another", "threads": 4}, "ways": ways}
    found = table(result(times=times))
    assert told in found and "Timed on 2026-12-02 with 4 threads of another" in found
    assert found.splitlines()[-1].rstrip(" |").endswith("1.50 [1.25, 1.75]")
