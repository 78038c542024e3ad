"""What a signature says of batches, by hand."""

import json

import numpy as np

from compress.core.signature import BATCH, SEQUENCE, Port, Signature

TOKENS = Signature(
    inputs=tuple(Port(name, (BATCH, SEQUENCE), "int64") for name in ("ids", "mask")),
    output=Port("logits", (BATCH, SEQUENCE, "tags"), "float32"),
    mask="mask",
)
IMAGES = Signature(
    inputs=(Port("pixels", (BATCH, "channels", "height", "width"), "float32"),),
    output=Port("logits", (BATCH, "labels"), "float32"),
    mask=None,
    fixed={"channels": 3, "height": 8, "width": 8},
)


def test_rows_of_a_padded_batch_have_their_own_lengths() -> None:
    batch = {"mask": np.array([[1, 1, 1], [1, 0, 0]])}
    rows = TOKENS.rows(np.arange(12).reshape(2, 3, 2), batch)
    assert [row.tolist() for row in rows] == [[[0, 1], [2, 3], [4, 5]], [[6, 7]]]
    assert TOKENS.positions(batch) == 3


def test_rows_without_padding_are_whole() -> None:
    assert [row.tolist() for row in IMAGES.rows(np.array([[1, 2], [3, 4]]), {})] == [[1, 2], [3, 4]]
    assert IMAGES.positions({}) is None
    assert IMAGES.dynamic_axes() == {"pixels": {0: "batch"}}


def test_another_process_reads_the_same() -> None:
    for signature in (TOKENS, IMAGES):
        assert Signature.from_json(json.loads(json.dumps(signature.to_json()))) == signature
