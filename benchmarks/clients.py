"""Every form of export in its own client, in an environment of its own: does it give the judged answers?

    make clients                                       everything, in .clients; about 3 GB
    python -m benchmarks.clients --work DIR --only onnxruntime openvino

Two runs on BBC news are made first, where they are not there yet: all-MiniLM-L6-v2 with a smaller vocabulary, in FP32,
and in INT8 with fixed ranges. Then each client reads the same 200 passages, and its vectors are compared with those
that the run's own export gives in ONNX Runtime. What was found is written to benchmarks/results/clients.json, from
which `python -m benchmarks.render` writes the table of docs/exports.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import code_facts
from compress.deploy.forms.known import known_forms

ROOT = Path(__file__).resolve().parents[1]
CLIENTS = ROOT / "tests" / "clients"
RESULTS = ROOT / "benchmarks" / "results" / "clients.json"
TEXTS = 200
# What counts as the same vector, of length 1.
SAME = 1e-4
# Judged, but on little: what is asked here is whether clients give the judged answers, not how good those are.
COMMON = (
    "data.passages=1",
    "data.validation_share=0.1",
    "data.test_share=0.1",
    "measurement.examples=2",
    "measurement.launches=1",
    "measurement.rounds=1",
    "blame_seconds=0",
    "objective.speedup=null",
    "gate.on_failure=warn",
    "runtime.threads=1",
)
RECIPES: Mapping[str, Sequence[str]] = {
    "FP32": (
        "order=[vocabulary]",
        "+stage/prune@stages.vocabulary=vocabulary",
        "+gate@gates.vocabulary=as_recipe",
    ),
    "INT8": ("order=[quantize]", "stage/quantize@stages.quantize=static"),
}


@dataclass(frozen=True)
class Case:
    """client: the folder's name. opens: what it is, for people. model: of RECIPES. form: as `compress-export --to`
    calls it; None for what the run itself exported. exact: whether its vectors must be the judged ones; of integers in
    other kernels, or scaled back, only what was found is told."""

    client: str
    opens: str
    model: str
    form: str | None
    exact: bool


CASES = (
    Case("onnxruntime", "ONNX Runtime alone", "FP32", None, True),
    Case("onnxruntime", "ONNX Runtime alone", "INT8", None, True),
    Case("transformers_js", "transformers.js", "FP32", None, True),
    Case("transformers_js", "transformers.js", "INT8", None, True),
    Case("optimum", "Optimum", "FP32", None, True),
    Case("optimum", "Optimum", "INT8", None, True),
    Case("openvino", "OpenVINO", "FP32", "openvino", True),
    Case("openvino", "OpenVINO", "INT8", "openvino", False),
    Case("torch_export", "torch alone", "FP32", "torch_export", True),
    Case("torch_export", "torch alone", "INT8", "torch_export", False),
    Case("litert", "LiteRT", "FP32", "litert", True),
    Case("litert", "LiteRT", "INT8", "litert", False),
    Case("sentence_transformers", "sentence-transformers", "FP32", "transformers", True),
    Case("sentence_transformers", "sentence-transformers", "INT8", "transformers", False),
    Case("candle", "Candle (candding)", "FP32", "transformers", True),
    Case("candle", "Candle (candding)", "INT8", "transformers", False),
)


def main() -> int:
    """0 where every client that must give the judged answers did."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--work", type=Path, default=ROOT / ".clients", help="environments, runs and forms (%(default)s)"
    )
    parser.add_argument("--only", nargs="+", choices=sorted({case.client for case in CASES}), metavar="CLIENT")
    given = parser.parse_args()
    cases = [case for case in CASES if given.only is None or case.client in given.only]
    found = run_all(cases, given.work.resolve())
    failed = [row for row in found if row["exact"] and not row["same"]]
    for row in failed:
        print(f"{row['opens']}, {row['model']}: vectors differ by {row['largest_difference']:.2g}", file=sys.stderr)
    return 1 if failed else 0


def run_all(cases: Sequence[Case], work: Path) -> list[dict[str, Any]]:
    """The results of each case, written as they come. Those of clients that are not among them stay as they were."""
    chosen = {case.client for case in cases}
    before = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"] if RESULTS.is_file() else []
    rows = [row for row in before if row["client"] not in chosen]
    order = {(case.client, case.model): place for place, case in enumerate(CASES)}
    work.mkdir(parents=True, exist_ok=True)
    texts = work / "texts.json"
    texts.write_text(json.dumps(passages()), encoding="utf-8")
    for model in dict.fromkeys(case.model for case in cases):
        export = exported(model, work)
        judged = judged_vectors(export, json.loads(texts.read_text(encoding="utf-8")))
        for case in (case for case in cases if case.model == model):
            program = installed(case.client, work)
            folder = export if case.form is None else in_form(export, case.form, work)
            row = compared(case, asked(program, folder, texts, work), judged)
            print(f"{case.opens}, {model}: largest difference {row['largest_difference']:.2g}", flush=True)
            rows.append(row)
            rows.sort(key=lambda row: order[row["client"], row["model"]])
            told = {"command": "make clients", **code_facts("clients"), "rows": rows}
            RESULTS.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return rows


def passages() -> list[str]:
    """Passages of the test split, which no run learned from."""
    import compress

    splits = compress.recipe("bbc_search", *COMMON, *RECIPES["INT8"]).data.load()
    texts = [row["text"] for row in splits.test]
    step = len(texts) // TEXTS
    return texts[: step * TEXTS : step]


def exported(model: str, work: Path) -> Path:
    """The folder that the run of this model exported, made where it is not there."""
    import compress

    folder = work / "runs" / model
    if not (folder / "export").is_dir():
        recipe = compress.recipe("bbc_search", *COMMON, *RECIPES[model], f"store={work / 'store'}")
        compress.run(recipe, folder)
    return folder / "export"


def in_form(export: Path, form: str, work: Path) -> Path:
    """The folder in another form, made where it is not there."""
    out = work / f"{export.parent.name}-{form}"
    if not out.is_dir():
        command = [writer(form, work), "-m", "compress.cli.commands.export", str(export.parent), "--to", form]
        subprocess.run([*command, "--out", str(out)], check=True)
    return out


def writer(form: str, work: Path) -> str:
    """The Python that writes a form: this one where it has what that takes, else one of an environment of its own."""
    if find_spec(known_forms()[form].package[0]) is not None:
        return sys.executable
    place = work / "environments" / f"write_{form}"
    python = place / "bin" / "python"
    if not (place / ".installed").is_file():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--constraint", str(ROOT / "constraints.txt")]
        subprocess.run([*install, "--editable", f"{ROOT}[{form}]"], check=True)
        (place / ".installed").touch()
    return str(python)


def judged_vectors(export: Path, texts: Sequence[str]) -> np.ndarray:
    """(texts, dimensions), from the run's own export in ONNX Runtime."""
    import compress

    return np.stack(compress.Predictor(export, batch_size=1)(texts))


def installed(client: str, work: Path) -> list[str]:
    """The command that runs the client, installed where it is not yet."""
    source, place = CLIENTS / client, work / "environments" / client
    if (source / "package.json").is_file():
        if not (place / "node_modules").is_dir():
            place.mkdir(parents=True, exist_ok=True)
            for name in ("package.json", "client.js"):
                shutil.copyfile(source / name, place / name)
            # Its binaries come inside the package; what it would fetch besides is for other processors.
            environment = {**os.environ, "ONNXRUNTIME_NODE_INSTALL": "skip"}
            subprocess.run(["npm", "install", "--no-audit", "--no-fund"], cwd=place, env=environment, check=True)
        shutil.copyfile(source / "client.js", place / "client.js")
        return ["node", str(place / "client.js")]
    python = place / "bin" / "python"
    if not (place / ".installed").is_file():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        requirements = str(source / "requirements.txt")
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--requirement", requirements], check=True)
        (place / ".installed").touch()
    return [str(python), str(source / "client.py")]


def asked(program: Sequence[str], folder: Path, texts: Path, work: Path) -> Mapping[str, Any]:
    """What the client wrote: its version and its answers."""
    answers = work / "answers.json"
    answers.unlink(missing_ok=True)
    # Nothing of this package, nor of what it was started with, is to be found there.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([*program, str(folder), str(texts), str(answers)], check=True, env=environment, cwd=work)
    return json.loads(answers.read_text(encoding="utf-8"))


def compared(case: Case, told: Mapping[str, Any], judged: np.ndarray) -> dict[str, Any]:
    """One row of the results. changed: of how many texts another text is the nearest."""
    found = np.array(told["answers"], dtype=np.float32)
    if found.shape != judged.shape:
        raise SystemExit(f"{case.opens} gave vectors of the shape {found.shape}, and {judged.shape} was judged")
    difference = float(np.abs(found - judged).max())
    return {
        **asdict(case),
        "version": told["version"],
        "date": time.strftime("%Y-%m-%d"),
        "inputs": len(found),
        "largest_difference": difference,
        "smallest_cosine": float((found * judged).sum(axis=1).min()),
        "changed": int((nearest(found) != nearest(judged)).sum()),
        "same": bool(difference <= SAME),
    }


def nearest(vectors: np.ndarray) -> np.ndarray:
    """Of each vector the number of the other one that is most like it."""
    likeness = vectors @ vectors.T
    np.fill_diagonal(likeness, -np.inf)
    return likeness.argmax(axis=1)


if __name__ == "__main__":
    sys.exit(main())
