"""One artifact's evaluation: its scores on the runtime, its latency in turns with the baseline, its size."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from compress.core.errors import InputError
from compress.core.evaluation import BatchEffect, Evaluation, Latency, Proof, Size
from compress.core.recipe import Measurement
from compress.core.runtime import Runtime
from compress.core.signature import Decoding, Signature
from compress.core.spent import spending
from compress.core.task import Task
from compress.measure.accuracy import logits_of
from compress.measure.bystanders import Bystanders
from compress.measure.environment import allowed_cpus, describe_machine
from compress.measure.latency import representative, uses_in_turns
from compress.measure.processes import Candidate, Worker
from compress.nn.checkpoint import load_model, shared_weights
from compress.nn.family import part_of_path
from compress.nn.layers import Int4BlockLinear

# How many texts the report shows the models going on with.
CONTINUED = 3


def candidate_of(runtime: Runtime, artifact: Path, export: Path | None, signature: Signature) -> Candidate:
    """What a worker opens for this artifact."""
    return Candidate(runtime=runtime, folder=export or artifact, signature=signature)


def score(
    candidate: Candidate, key: str, examples: Dataset, batches: Path, task: Task, config: Any, *, split: str
) -> Evaluation:
    """What the answers are worth: no latency. config: the model's."""
    outputs, rows = [values[0] for values in logits_of(candidate, batches)], list(examples)
    metric, statistics = task.metric(config), task.statistics(outputs, rows, config)
    return Evaluation(
        artifact=key,
        split=split,
        metric=metric.name,
        statistics=tuple(map(tuple, statistics.tolist())),
        value=metric.value(statistics),
        figures=task.figures(outputs, rows, config),
        groups=tuple(first_of_each(examples["group"], task.units(examples))),
        counts={name: tuple(of_class) for name, of_class in task.by_class(outputs, rows, config).items()},
        latency=None,
        size=None,
        proof=None,
        torch_ratio=None,
        environment=describe_machine(candidate.runtime),
    )


def first_of_each(values: Sequence[Any], units: Sequence[int] | None) -> list[Any]:
    """What is said of each row, once for each judged example: of its first row. units: see `Task.units`."""
    if units is None:
        return list(values)
    first: dict[int, Any] = {}
    for value, unit in zip(values, units, strict=True):
        first.setdefault(unit, value)
    return [first[unit] for unit in sorted(first) if unit >= 0]


def timed(values: Sequence[Any], units: Sequence[int] | None) -> list[Any]:
    """What is said of each row that is timed: the first ones. units: see `Task.units`."""
    return list(values) if units is None else [value for value, unit in zip(values, units, strict=True) if unit >= 0]


def time_candidate(
    candidate: Candidate,
    baseline: Candidate | None,
    lengths: list[int],
    batches: Sequence[Path],
    measurement: Measurement,
    *,
    at_once: int = 1,
) -> Latency:
    """Latency at the data's real lengths, in turns with the baseline where there is one.

    batches: the same examples as each of them reads them, the baseline's first. at_once: how many examples each batch
    has. lengths: of each batch.
    """
    chosen = timed_examples(lengths, candidate.signature, measurement.examples)
    bystanders = Bystanders(allowed_cpus()[: candidate.runtime.threads])
    turns = [candidate] if baseline is None else [baseline, candidate]
    with spending("measuring latency"):
        *before, after = uses_in_turns(turns, batches, chosen, measurement, bystanders)
    many = candidate.signature.decoding is not None
    return Latency(
        rounds=after.whole,
        baseline_rounds=before[0].whole if before else (),
        first_rounds=after.first if many else (),
        baseline_first_rounds=before[0].first if many and before else (),
        peak_bytes=after.peak_bytes,
        baseline_peak_bytes=before[0].peak_bytes if before else 0,
        launches=measurement.launches,
        at_once=at_once,
        foreign_share=bystanders.share,
        disturbed=bystanders.disturbed,
        disturbed_rounds=bystanders.disturbed_rounds,
        repeated_rounds=bystanders.repeated_rounds + bystanders.left_out_rounds,
    )


def timed_examples(lengths: Sequence[int], signature: Signature, count: int) -> list[int]:
    """Which examples are timed: `count` of evenly spread lengths. Where a use has a prompt, of those that are as long
    as that; InputError where none is."""
    if signature.decoding is None:
        return representative(lengths, count)
    prompt = signature.decoding.prompt_tokens
    long_enough = [row for row, length in enumerate(lengths) if length >= prompt]
    if not long_enough:
        raise InputError(
            f"workload.prompt_tokens is {prompt}; the longest validation example has {max(lengths, default=0)} tokens, "
            "so none can be a prompt. Use fewer, or give longer texts."
        )
    return [long_enough[i] for i in representative([lengths[row] for row in long_enough], count)]


def continuations(
    candidate: Candidate, batches: Path, lengths: Sequence[int], write: Callable[[Sequence[int]], str]
) -> tuple[tuple[str, str], ...]:
    """Of a few examples of evenly spread lengths the beginning, and what the model goes on with, as text. batches: one
    example each. write: makes text of tokens. Empty where the model goes on with nothing."""
    if candidate.signature.decoding is None:
        return ()
    chosen = timed_examples(lengths, candidate.signature, CONTINUED)
    with Worker(candidate, batches) as worker:
        found = worker.ask({"continue": chosen})["tokens"]
    return tuple((write(prompt), write(told)) for prompt, told in found)


def request_figures(latency: Latency, signature: Signature, *, compared: bool) -> dict[str, float]:
    """Of uses that are a prompt and new tokens: the median time of each part, and the memory; and where it is compared
    with the teacher, how much faster each part is, and the share of its memory. Empty elsewhere; no times where others
    disturbed them."""
    if signature.decoding is None:
        return {}
    found = {} if latency.disturbed else _request_times(latency, signature.decoding, compared=compared)
    if latency.peak_bytes:
        found["peak_megabytes"] = latency.peak_bytes / 1e6
    if compared and latency.peak_bytes:
        found["peak_share"] = latency.peak_bytes / latency.baseline_peak_bytes
    return found


def bulk_figures(latency: Latency) -> dict[str, float]:
    """Where many examples are timed at once: how many are answered in a second, by the median batch. Empty elsewhere,
    and where others disturbed it."""
    if latency.at_once == 1 or latency.disturbed:
        return {}
    return {"examples_per_second": 1000 * latency.at_once / float(np.median(np.asarray(latency.rounds)))}


def _request_times(latency: Latency, decoding: Decoding, *, compared: bool) -> dict[str, float]:
    whole, first = (np.median(np.asarray(rounds)) for rounds in (latency.rounds, latency.first_rounds))
    found = {
        "first_token_ms": float(first),
        "token_ms": float(whole - first) / (decoding.new_tokens - 1),
        "tokens_per_second": 1000 * decoding.new_tokens / float(whole),
    }
    if compared:
        before, before_first = (
            np.median(np.asarray(rounds)) for rounds in (latency.baseline_rounds, latency.baseline_first_rounds)
        )
        found |= {
            "first_token_speedup": float(before_first / first),
            "token_speedup": float((before - before_first) / (whole - first)),
        }
    return found


def torch_ratio_of(latency: Latency) -> float | None:
    """Plain PyTorch's time over the runtime's, where the baseline of `latency` is plain PyTorch; None where others
    disturbed it."""
    if latency.disturbed:
        return None
    torch_time = np.median(np.asarray(latency.baseline_rounds), axis=0).sum()
    return float(torch_time / np.median(np.asarray(latency.rounds), axis=0).sum())


def size_of(artifact: Path, export: Path | None, runtime: Runtime) -> Size:
    """Bytes of the files that the runtime executes, and what the checkpoint stores."""
    model, place = load_model(artifact), export or artifact
    parts = {"embeddings": 0, "attention": 0, "ffn": 0, "other": 0}
    # Two of these share a byte.
    unpacked = {
        f"{path}.weight_blocks": module.values
        for path, module in model.named_modules()
        if isinstance(module, Int4BlockLinear)
    }
    values = nonzero = 0
    shared = shared_weights(model)
    for name, tensor in ((name, tensor) for name, tensor in model.state_dict().items() if name not in shared):
        parts[part_of_path(model, name)] += tensor.numel() * tensor.element_size()
        single = unpacked.get(name, tensor)
        values += single.numel()
        nonzero += int(torch.count_nonzero(single))
    executed = sum((place / name).stat().st_size for name in (*runtime.files, *_beside(place, runtime)))
    return Size(bytes=executed, parameters=values, nonzero_parameters=nonzero, bytes_by_part=parts)


def _beside(place: Path, runtime: Runtime) -> list[str]:
    """The files with the weights that one of the runtime's own could not hold."""
    return [f"{name}.data" for name in runtime.files if (place / f"{name}.data").exists()]


def evaluation_to_json(evaluation: Evaluation) -> dict[str, Any]:
    """Plain values."""
    return dataclasses.asdict(evaluation)


def evaluation_from_json(data: Mapping[str, Any]) -> Evaluation:
    """What `evaluation_to_json` gave, after a round trip through JSON."""
    latency, size, proof, effect = (data[name] for name in ("latency", "size", "proof", "batch_effect"))
    return Evaluation(
        **{
            **data,
            "statistics": tuple(map(tuple, data["statistics"])),
            "groups": tuple(data["groups"]),
            "counts": {name: tuple(map(tuple, of_class)) for name, of_class in data["counts"].items()},
            "latency": None if latency is None else _latency_from_json(latency),
            "size": None if size is None else Size(**size),
            "batch_effect": None if effect is None else BatchEffect(**effect),
            "continuations": tuple(map(tuple, data["continuations"])),
            "proof": None if proof is None else Proof(**{**proof, "shapes": tuple(tuple(s) for s in proof["shapes"])}),
        }
    )


def _latency_from_json(data: Mapping[str, Any]) -> Latency:
    names = ("rounds", "baseline_rounds", "first_rounds", "baseline_first_rounds")
    return Latency(**{**data, **{name: _rounds(data[name]) for name in names}})


def _rounds(rounds: list[list[float]]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(values) for values in rounds)
