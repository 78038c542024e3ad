"""What a signature says of batches, by hand."""

import json

import numpy as np

from compress.core.signature import BATCH, SEQUENCE, Decoding, Port, Signature

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


def test_a_row_has_one_answer_however_many_positions_it_has() -> None:
    one = Signature(inputs=TOKENS.inputs, output=Port("logits", (BATCH, "labels"), "float32"), mask="mask")
    batch = {"mask": np.array([[1, 1, 1], [1, 0, 0]])}
    assert [row.tolist() for row in one.rows(np.array([[1, 2], [3, 4]]), batch)] == [[1, 2], [3, 4]]
    assert one.lengths(batch) == [3, 1]


def test_positions_are_cut_off_along_their_own_axis() -> None:
    # Two layers, then the positions: of the second row one of three is real.
    deep = Signature(inputs=TOKENS.inputs, output=Port("kept", (BATCH, "layers", SEQUENCE), "float32"), mask="mask")
    rows = deep.rows(np.arange(12).reshape(2, 2, 3), {"mask": np.array([[1, 1, 1], [1, 0, 0]])})
    assert [row.tolist() for row in rows] == [[[0, 1, 2], [3, 4, 5]], [[6], [9]]]


def test_without_a_mask_each_position_is_real() -> None:
    whole = Signature(inputs=TOKENS.inputs, output=TOKENS.output, mask=None)
    assert [row.tolist() for row in whole.rows(np.arange(4).reshape(1, 2, 2), {})] == [[[0, 1], [2, 3]]]


def test_rows_without_padding_are_whole() -> None:
    assert [row.tolist() for row in IMAGES.rows(np.array([[1, 2], [3, 4]]), {})] == [[1, 2], [3, 4]]
    assert IMAGES.positions({}) is None
    assert IMAGES.dynamic_axes() == {"pixels": {0: "batch"}}


def test_another_process_reads_the_same() -> None:
    language = Signature(
        inputs=TOKENS.inputs,
        output=TOKENS.output,
        mask="mask",
        more=(Port("present.0", (BATCH, "heads", SEQUENCE), "float32"),),
        asked="places",
        decoding=Decoding(state="past", present="present", prompt_tokens=8, new_tokens=4),
    )
    for signature in (TOKENS, IMAGES, language):
        assert Signature.from_json(json.loads(json.dumps(signature.to_json()))) == signature
