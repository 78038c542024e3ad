"""What outputs of further forms are called."""

from __future__ import annotations

from compress.core.kept_vectors import BINARY, FLOAT, INT8, port_of, ports_of
from compress.core.signature import BATCH, Port, Signature

OUTPUT = Port("vector", (BATCH, "dimensions"), "float32")


def test_an_output_is_called_by_the_precision_of_sentence_transformers() -> None:
    assert port_of(OUTPUT, INT8) == Port("vector_int8", (BATCH, "dimensions"), "int8")
    assert port_of(OUTPUT, BINARY) == Port("vector_ubinary", (BATCH, "bytes"), "uint8")


def test_float_has_no_output_of_its_own() -> None:
    signature = Signature(inputs=(), output=OUTPUT, mask=None)
    assert [port.dtype for port in ports_of(signature, [FLOAT, BINARY])] == ["uint8"]
