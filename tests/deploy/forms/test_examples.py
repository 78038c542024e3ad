"""Examples of a run's own proof, as a stranger's run may hold them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress.core.errors import InputError
from compress.core.manifest import write_manifest
from compress.core.signature import Port, Signature
from compress.deploy.forms.examples import read_batches
from compress.deploy.forms.judged import JudgedExport
from compress.measure.prove import PROBE
from compress.measure.worker import save_batches

KEY = "a key"
TOKENS = tuple(Port(name, ("batch", "sequence"), "int64") for name in ("input_ids", "attention_mask"))
SIGNATURE = Signature(inputs=TOKENS, output=Port("logits", ("batch", "labels"), "float32"), mask="attention_mask")
ONES = np.ones((2, 3), dtype=np.int64)
WHOLE = {"input_ids": ONES, "attention_mask": ONES}


def run_with(folder: Path, batches: list[dict[str, np.ndarray]], damage: bool = False) -> JudgedExport:
    """A run whose store holds these, or a file that is no archive."""
    artifact = folder / "store" / "artifacts" / KEY
    artifact.mkdir(parents=True)
    save_batches(batches, artifact / PROBE)
    if damage:
        data = bytearray((artifact / PROBE).read_bytes())
        # In the first array's numbers, which its archive has a checksum of.
        data[150] ^= 1
        (artifact / PROBE).write_bytes(data)
    write_manifest(artifact, {}, key=KEY)
    summary(folder, {"store": str(folder / "store")})
    return JudgedExport(folder=folder / "export", run=folder, key=KEY, facts={})


def summary(folder: Path, settings: Any) -> None:
    (folder / "summary.json").write_text(json.dumps({"settings": settings}), encoding="utf-8")


def read(judged: JudgedExport) -> Any:
    return read_batches(judged, None, SIGNATURE, None)  # type: ignore[arg-type]


def test_what_the_proof_was_made_with(tmp_path: Path) -> None:
    (found,) = read(run_with(tmp_path, [WHOLE]))
    assert found["input_ids"].tolist() == [[1, 1, 1], [1, 1, 1]]


@pytest.mark.parametrize(
    ("batch", "told"),
    [
        ({"input_ids": ONES}, "a batch has 'input_ids'"),
        ({**WHOLE, "more": ONES}, "a batch has .*'more'"),
        ({**WHOLE, "input_ids": ONES[0]}, r"input_ids is of the shape \(3,\)"),
        ({**WHOLE, "input_ids": ONES.astype(np.float32)}, r"input_ids is of .* the type float32"),
        ({**WHOLE, "input_ids": ONES[:1]}, "a batch has no rows, or its inputs"),
        (dict.fromkeys(WHOLE, ONES[:0]), "a batch has no rows, or its inputs"),
    ],
)
def test_batches_of_another_model(batch: dict[str, np.ndarray], told: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"was proven, cannot be read \({told}.*Give some: --examples FILE"):
        read(run_with(tmp_path, [WHOLE, batch]))


def test_an_archive_with_a_damaged_byte(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"was proven, cannot be read .*Give some: --examples FILE"):
        read(run_with(tmp_path, [WHOLE], damage=True))


@pytest.mark.parametrize("settings", [None, 0.5, [], {}, {"store": 7}, {"store": "x" * 5000}, {"store": "\0"}])
def test_a_summary_that_names_no_store(settings: Any, tmp_path: Path) -> None:
    judged = run_with(tmp_path, [WHOLE])
    summary(tmp_path, settings)
    with pytest.raises(InputError, match=r"has none now\. Give some: --examples FILE"):
        read(judged)
