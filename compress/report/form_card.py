"""The card of a form: what the run's own says, with how this form is used and what speaks for it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from compress.core.evaluation import Proof

USE, EVIDENCE = "## Use\n", "## Evidence\n"


def form_card(
    card: str | None, *, name: str, label: str, usage: str, key: str, told: Sequence[str], proof: Proof | None
) -> str:
    """card: of the run's export, whose section on use is replaced; None where there is none. told: sentences about what
    was written. proof: None where it is one of those sentences."""
    section = _section(name, label, usage, key, told, proof)
    if card is None or USE not in card or EVIDENCE not in card:
        return f"# A compressed model for {label}\n\n{USE}\n{section}"
    before, _, rest = card.partition(USE)
    _, _, evidence = rest.partition(EVIDENCE)
    before = re.sub(r"^library_name: .*$", f"library_name: {name}", before, count=1, flags=re.MULTILINE)
    measured = "Measured in the form that the run exported, not in this one."
    return f"{before}{USE}\n{section}\n{EVIDENCE}\n{measured}\n{evidence}"


def _section(name: str, label: str, usage: str, key: str, told: Sequence[str], proof: Proof | None) -> str:
    facts: Mapping[str, str] = {
        "form": f"{label}, written by `compress-export --to {name}`",
        "made of": f"the export of artifact `{key}`",
        "what was written": "; ".join(told),
        **({} if proof is None else proof_facts(proof)),
    }
    rows = "".join(f"| {fact} | {value} |\n" for fact, value in facts.items())
    language = "python" if "import " in usage else "sh"
    return f"```{language}\n{usage}```\n\n| | |\n| --- | --- |\n{rows}"


def proof_facts(proof: Proof) -> dict[str, str]:
    """What comparing its outputs with the judged ones showed, by name."""
    found = {
        "outputs compared with the judged ones": f"{proof.rows} rows of real examples, in batches of 1 to "
        f"{max(shape[0] for shape in proof.shapes)}",
        "largest difference": f"{proof.max_difference:.2g} ({proof.tolerance:.2g} was allowed)",
    }
    if proof.argmax_agreement is not None:
        found["same class"] = f"{proof.argmax_agreement:.2%}"
    if proof.smallest_cosine is not None:
        found["smallest cosine"] = f"{proof.smallest_cosine:.6f}"
    return found
