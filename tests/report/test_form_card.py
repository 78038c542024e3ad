"""The card of a form: how it is used, and what speaks for it, in the place of how the export was used."""

from __future__ import annotations

from compress.core.evaluation import Proof
from compress.report.form_card import form_card

PROOF = Proof(
    torch_exact=True,
    max_difference=0.00012,
    tolerance=0.2,
    argmax_agreement=0.995,
    rows=200,
    shapes=((1, 4), (8, 16)),
)
CARD = "---\nlibrary_name: onnxruntime\nlicense: mit\n---\n\n# A model\n\n## Use\n\nrun it\n\n## Evidence\n\nproven\n"


def test_the_section_on_use_is_the_forms() -> None:
    told = form_card(
        CARD, name="openvino", label="OpenVINO", usage="import openvino\n", key="k", told=["two files"], proof=PROOF
    )
    assert told.startswith("---\nlibrary_name: openvino\nlicense: mit\n---\n\n# A model\n\n## Use\n\n```python\n")
    assert "run it" not in told and told.endswith("not in this one.\n\nproven\n")
    assert "| what was written | two files |" in told and "| same class | 99.50% |" in told
    assert "| largest difference | 0.00012 (0.2 was allowed) |" in told
    assert "200 rows of real examples, in batches of 1 to 8" in told


def test_without_a_card_or_a_proof() -> None:
    told = form_card(None, name="gguf", label="llama.cpp", usage="llama-cli\n", key="k", told=["all equal"], proof=None)
    assert told.startswith("# A compressed model for llama.cpp\n\n## Use\n\n```sh\nllama-cli\n```\n")
    assert "largest difference" not in told and "all equal" in told
