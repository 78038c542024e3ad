"""Proof by reload, in a process that knows nothing but the folder: started by `prove`.

It loads the artifact, reads raw examples with the processor in it, which must give what was measured, computes the
probe batches and compares with the outputs from before saving: bit for bit, where the processor is the one that
computed those. What belongs to padding is not compared. Where the runtime needs an export, it writes one from the
reloaded model, opens it and compares again.
"""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from compress.core.errors import CompressError, InputError, ReloadError, StageError, TooLittleError
from compress.core.evaluation import Proof
from compress.core.runtime import Runtime, Session
from compress.core.signature import Signature
from compress.core.task import Task
from compress.measure.decoding import continued
from compress.measure.description import build, describe
from compress.measure.environment import describe_processor, versions
from compress.measure.kept import kept
from compress.measure.processes import clean_environment, isolated
from compress.measure.worker import load_batches, save_batches

if TYPE_CHECKING:
    from datasets import Dataset

PROBE = "probe.npz"
EXPECTED = "probe-logits.npz"
# Raw examples, and the batch that the processor in memory made of them.
RAW, READ = "probe-examples.arrow", "probe-inputs.npz"
FEW = 16
# Of float arithmetic: an absolute floor, and for large outputs a share of the largest.
FLOAT_TOLERANCE, FLOAT_SHARE = 1e-3, 1e-4
# Rounding to int8 turns a difference in the last bit into one step of 1/255 of a range, and bfloat16 keeps eight bits;
# over a few layers such steps add up. Relative to the spread of the outputs.
ROUNDED_TOLERANCE = 0.2


def write_probe(folder: Path, model: Any, task: Task, examples: Any, processor: Any, threads: int) -> None:
    """Save probe batches of several sizes and lengths beside a model, with the outputs it gives now and what their
    last bits depend on.

    examples: encoded; the shortest, the longest and some between are taken, alone and together. threads: to compute
    them with, now and whenever the artifact is proven, however many its runtime then has. Raises StageError where an
    output is NaN or infinite.
    """
    import torch

    from compress.nn.forward import forward, numpy_batch, torch_batch

    lengths, signature = examples["length"][:], task.signature(model.config)
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    spread = [order[round(i * (len(order) - 1) / 7)] for i in range(8)]
    picks = [spread[:1], spread[-1:], spread[-2:], spread[2:5], spread]
    batches = [numpy_batch(signature, task.collate([examples[i] for i in pick], processor)) for pick in picks]
    # Jobs that train side by side have fewer each, and the next stage is this job's.
    training = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            expected = [
                kept(signature, forward(model, signature, torch_batch(batch)).output.numpy(), batch)
                for batch in batches
            ]
    finally:
        torch.set_num_threads(training)
    if not all(np.isfinite(row).all() for row in _rows(signature, expected, batches)):
        raise StageError("the model's outputs for validation examples are not finite (NaN, or infinite)")
    save_batches(batches, folder / PROBE)
    np.savez(folder / EXPECTED, *expected, arithmetic=np.array(json.dumps(_arithmetic(threads))))


def write_raw_probe(folder: Path, config: Any, task: Task, examples: Dataset, processor: Any) -> None:
    """Save a few raw examples beside a model, with what its processor makes of them now. Further ones where these are
    too short to be anything."""
    few = examples.select(range(min(FEW, len(examples))))
    try:
        batch = _read_by(task, few, processor, config)
    except TooLittleError:
        few = examples
        batch = _read_by(task, few, processor, config)
    table = few.with_format("arrow")[:].replace_schema_metadata(None)
    # Not as Parquet, which has no place for some kinds of column.
    with pa.OSFile(str(folder / RAW), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    save_batches([batch], folder / READ)


def _read_by(task: Task, examples: Dataset, processor: Any, config: Any) -> dict[str, np.ndarray]:
    from compress.nn.forward import numpy_batch

    rows = task.encode_unlabelled(examples, processor, config)
    return numpy_batch(task.signature(config), task.collate(list(rows), processor))


def require_same_reading(artifact: Path, task: Task, config: Any) -> None:
    """Raise ReloadError where the processor in `artifact` makes something else of raw examples than was measured."""
    if not (artifact / RAW).is_file():
        # An artifact of an earlier release.
        return
    from datasets import Dataset

    try:
        with pa.OSFile(str(artifact / RAW), "rb") as file:
            examples = Dataset(pa.ipc.open_file(file).read_all())
        found = _read_by(task, examples, task.load_processor(artifact), config)
    except InputError as error:
        raise ReloadError(f"its processor cannot be used once it is loaded again: {error}") from error
    (expected,) = load_batches(artifact / READ)
    for name, values in expected.items():
        if not np.array_equal(found[name], values):
            raise ReloadError(
                f"its processor, loaded again, makes other {name} of the same examples than what was measured"
            )


def prove(artifact: Path, export: Path | None, task: Task, runtime: Runtime) -> Proof:
    """Reload `artifact` in a fresh process; write its export into `export` where one is needed.

    Raises ReloadError where the reloaded model is not the same. Whatever else goes wrong says nothing about the
    artifact: StageError where the export or the runtime fails or its outputs differ too much, CompressError where the
    process was killed.
    """
    request = {
        "artifact": str(artifact),
        "export": None if export is None else str(export),
        "task": describe(task),
        "runtime": describe(runtime),
    }
    done = subprocess.run(
        isolated("compress.measure.prove"),
        input=json.dumps(request),
        capture_output=True,
        text=True,
        env=clean_environment(runtime.threads),
        check=False,
    )
    if done.returncode < 0:
        how = signal.Signals(-done.returncode).name
        raise CompressError(
            f"the process that loads {artifact} again was ended by {how}; memory may be short. Run again."
        )
    try:
        answer = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        raise StageError(f"{artifact} could not be proven: {done.stderr[-2000:]}") from None
    if "errno" in answer:
        raise OSError(answer["errno"], answer["error"], answer["file"])
    if "error" in answer:
        if answer["reload"]:
            raise ReloadError(f"{artifact} could not be loaded again: {answer['error']}")
        raise StageError(f"{artifact} could not be proven in {runtime.label}: {answer['error']}")
    return Proof(**{**answer, "shapes": tuple(tuple(shape) for shape in answer["shapes"])})


def _main() -> int:
    request = json.loads(sys.stdin.read())
    task, runtime = build(request["task"]), build(request["runtime"])
    export = None if request["export"] is None else Path(request["export"])
    try:
        answer = dataclasses.asdict(_prove_here(Path(request["artifact"]), export, task, runtime))
    except CompressError as error:
        answer = {"error": str(error), "reload": isinstance(error, ReloadError)}
    except OSError as error:
        # A full disk is not the artifact's fault: the parent raises it as what it is.
        answer = {"errno": error.errno, "error": error.strerror, "file": str(error.filename or export)}
    print(json.dumps(answer))
    return 0


def _prove_here(artifact: Path, export: Path | None, task: Task, runtime: Runtime) -> Proof:
    import torch

    from compress.nn.checkpoint import load_model, read_structure
    from compress.nn.forward import forward, torch_batch
    from compress.runtimes.torch.runtime import TorchSession

    try:
        model = load_model(artifact)
    except InputError as error:
        raise ReloadError(str(error)) from error
    require_same_reading(artifact, task, model.config)
    batches, signature = list(load_batches(artifact / PROBE)), task.signature(model.config)
    with np.load(artifact / EXPECTED, allow_pickle=False) as arrays:
        before = [arrays[f"arr_{i}"] for i in range(len(batches))]
        # Artifacts of before this was noted do not say; what is in a store must not be damaged by an update.
        arithmetic = json.loads(str(arrays["arithmetic"])) if "arithmetic" in arrays else {"threads": runtime.threads}
    torch.set_num_threads(arithmetic["threads"])
    with torch.inference_mode():
        after = [
            kept(signature, forward(model, signature, torch_batch(batch)).output.numpy(), batch) for batch in batches
        ]
    expected, reloaded = _rows(signature, before, batches), _rows(signature, after, batches)
    rounded = any(kind.startswith(("int8", "int4")) for kind in read_structure(artifact).kinds())
    allowed = 0.0 if arithmetic == _arithmetic(arithmetic["threads"]) else _tolerance(expected, rounded=rounded)
    changed = _difference(expected, reloaded)
    if not changed <= allowed:
        raise ReloadError(f"its outputs changed by up to {changed:.3g} on reload; {allowed:.3g} is allowed")
    if export is not None:
        largest_batch = max(batches, key=lambda batch: next(iter(batch.values())).size)
        runtime.export(model, signature, torch_batch(largest_batch), export)
    session = runtime.open(export or artifact, signature)
    found = _rows(signature, [kept(signature, session.run(batch), batch) for batch in batches], batches)
    shapes = tuple(tuple(int(n) for n in next(iter(batch.values())).shape) for batch in batches)
    same_tokens = None
    if signature.decoding is not None:
        told = TorchSession(model, signature)
        same_tokens = _require_same_decoding(told, session, batches, rounded=rounded or runtime.rounds)
    proof = compare(reloaded, found, rounded=rounded or runtime.rounds, shapes=shapes, vectors=task.vectors)
    return dataclasses.replace(proof, torch_exact=changed == 0, torch_difference=changed, same_tokens=same_tokens)


def _require_same_decoding(
    torch_session: Session, session: Session, batches: Sequence[Mapping[str, np.ndarray]], *, rounded: bool
) -> float:
    """The share of the tokens torch goes on with that the runtime would choose as well. Raises StageError where its
    logits differ too much: from torch's, from its own without what it kept, or behind padding."""
    prompt = next(iter(batches[-1].values()))[-1]
    found = continued(torch_session, session, prompt.tolist(), int(prompt[0]))
    tolerance = _tolerance(list(found.torch), rounded=rounded)
    against = {"torch's": found.torch, "its own in one call": found.whole, "its own behind padding": found.padded}
    for whose, logits in against.items():
        difference = float(np.abs(found.runtime - logits).max())
        if not difference <= tolerance:
            raise StageError(
                f"going on with a text, the runtime's logits differ from {whose} by {difference:.3g}; {tolerance:.3g} "
                "is allowed"
            )
    return found.same_tokens


def _rows(
    signature: Signature, outputs: Sequence[np.ndarray], batches: Sequence[Mapping[str, np.ndarray]]
) -> list[np.ndarray]:
    """The output of each row of all batches, without padding."""
    return [row for output, batch in zip(outputs, batches, strict=True) for row in signature.rows(output, batch)]


def _arithmetic(threads: int) -> dict[str, Any]:
    """What the last bits of torch's outputs depend on: sums are split over threads, and the instructions that a
    processor has decide in which order. Over a network's disk the prover may be another machine."""
    machine = describe_processor()
    return {**machine, "threads": threads, **versions(("torch",))}


def _tolerance(outputs: Sequence[np.ndarray], *, rounded: bool) -> float:
    """How far outputs of other arithmetic may be away."""
    largest = max(float(np.abs(values).max()) for values in outputs)
    return ROUNDED_TOLERANCE * largest if rounded else max(FLOAT_TOLERANCE, FLOAT_SHARE * largest)


def _difference(expected: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> float:
    """The largest, of outputs row by row; NaN where one of them is."""
    return float(np.max([np.abs(a - b).max() for a, b in zip(expected, found, strict=True)]))


def compare(
    torch_outputs: Sequence[np.ndarray],
    runtime_outputs: Sequence[np.ndarray],
    *,
    rounded: bool,
    shapes: tuple[tuple[int, ...], ...],
    vectors: bool = False,
    whose: str = "torch's",
) -> Proof:
    """The largest difference and the agreement of two models' outputs, for each row an array without padding.

    rounded: int8 layers, or float arithmetic in less than FP32, whose tolerance is relative to the spread. vectors: see
    Task. whose: the first outputs, in the message. Raises StageError where the difference exceeds the tolerance.
    """
    if not all(np.isfinite(values).all() for values in runtime_outputs):
        raise StageError("the runtime's outputs are not finite")
    tolerance, difference = _tolerance(torch_outputs, rounded=rounded), _difference(torch_outputs, runtime_outputs)
    if difference > tolerance:
        raise StageError(f"the runtime's outputs differ from {whose} by {difference:.3g}; {tolerance:.3g} is allowed")
    pairs = list(zip(torch_outputs, runtime_outputs, strict=True))
    return Proof(
        torch_exact=True,
        max_difference=difference,
        tolerance=tolerance,
        # A single number has no class.
        argmax_agreement=None if vectors or torch_outputs[0].shape[-1] == 1 else _agreement(pairs),
        rows=len(torch_outputs),
        shapes=shapes,
        smallest_cosine=_smallest_cosine(pairs) if vectors else None,
    )


def _agreement(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    same = [np.atleast_1d(ours.argmax(-1) == theirs.argmax(-1)).ravel() for ours, theirs in pairs]
    return float(np.concatenate(same).mean())


def _smallest_cosine(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    return min(float(ours @ theirs / (np.linalg.norm(ours) * np.linalg.norm(theirs))) for ours, theirs in pairs)


if __name__ == "__main__":
    try:
        sys.exit(_main())
    except InputError as failure:
        print(json.dumps({"error": str(failure), "reload": False}))
