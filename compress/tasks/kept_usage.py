"""Python that makes an index of vectors in fewer bytes, and asks it: shown on a card, and run as it is."""

from __future__ import annotations

from collections.abc import Sequence

from compress.core.kept_vectors import BINARY, INT8, RANGES
from compress.tasks.metrics.ndcg import FIRST
from compress.tasks.stored_vectors import CANDIDATES

OPENING = """\
import numpy, PACKAGE, tokenizers
tokenizer = tokenizers.Tokenizer.from_file("tokenizer.json")
OPEN

def outputs(text):
    text = tokenizer.encode(text)
    return RUN

documents = ["Put one text here.", "Put another one here."]
query = outputs("Put what is looked for here.")[0][0]
query = query / numpy.linalg.norm(query)
"""
FORMS = {
    INT8: """
# INT8: the index keeps a byte a dimension. The query stays in float.
index = numpy.concatenate([outputs(text)[NUMBER] for text in documents])
low, high = numpy.load("RANGES")
step = (high - low) / 255
print("int8", index @ (query * step) + (low + 128.5 * step) @ query)
""",
    BINARY: """
# Binary: the index keeps a bit a dimension. Bits find candidates, and the query in float ranks these.
bits = numpy.concatenate([outputs(text)[NUMBER] for text in documents])
signs = numpy.unpackbits(bits, axis=1, count=len(query)) * 2.0 - 1.0
candidates = numpy.argsort(-(signs @ numpy.where(query > 0, 1.0, -1.0)), kind="stable")[:CANDIDATES]
print("binary", candidates[numpy.argsort(-(signs[candidates] @ query), kind="stable")])
""",
}


def kept_usage(package: str, opening: str, run: str, forms: Sequence[str], *, first: int) -> str:
    """package, opening: as in `Runtime.snippet`. run: an expression for all outputs of one `text`. first: the number of
    the first form's output, from 0."""
    shown = OPENING.replace("PACKAGE", package).replace("OPEN", opening).replace("RUN", run)
    for number, form in enumerate(forms, start=first):
        lines = FORMS[form].replace("NUMBER", str(number)).replace("RANGES", RANGES)
        shown += lines.replace("CANDIDATES", str(CANDIDATES * (FIRST + 1)))
    return shown
