"""Timing the parts of an encoder on the recipe's runtime: blocks of several sizes, in turns with the FP32 teacher."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compress.core.latency_table import Grid, LatencyTable
from compress.core.recipe import Measurement
from compress.core.runtime import Runtime
from compress.measure.bystanders import Bystanders
from compress.measure.environment import allowed_cpus
from compress.measure.latency import measure_in_turns, representative
from compress.measure.processes import Candidate
from compress.measure.worker import save_batches
from compress.nn.layers import (
    FusedEmbeddings,
    FusedLayer,
    Int8DynamicLinear,
    Int8Embedding,
    Int8StaticLinear,
    LowRankLinear,
)
from compress.nn.layers.fused_embeddings import FusedEmbeddingsSizes
from compress.nn.layers.fused_layer import FusedLayerSizes
from compress.nn.structure import replace_module
from compress.runtimes.onnx.export import export_module

# Several blocks in one graph, so that the cost of a call and the clock's grain are small beside them.
STACKED = 4
EXAMPLES = 8
# Long turns: a process that has just been woken is slow for its first milliseconds, and these graphs take less.
REPEATED = 6
TURNS = Measurement(examples=EXAMPLES, launches=2, rounds=8, warmup=12)
SHARES = (0.125, 0.5, 1.0)
LAST_SHARES = (0.125, 1.0)
# A product of few heads is nearly as narrow as any rank that loses little of it: those stay whole.
LOW_RANK_HEADS, LOW_RANK_NEURONS = (0.5, 1.0), (0.125, 1.0)
# Of the hidden width. Above, a square product is no faster as two.
RANKS = (0.125, 0.375)
THIN = {"attention": ("attention_output",), "ffn": ("ffn_in", "ffn_out")}

Build = Callable[[], nn.Module]


def measure_table(
    runtime: Runtime,
    *,
    teacher: Path,
    batches: Sequence[Mapping[str, np.ndarray]],
    lengths: Sequence[int],
    layer: FusedLayerSizes,
    words: int,
    positions: int,
    labels: int,
    precision: str,
) -> LatencyTable:
    """The table for layers like `layer` on this machine.

    teacher: the folder of its export. batches: one example each, of these lengths; a few of evenly spread lengths are
    timed. precision: `float`, `dynamic` or `static`, of dense layers and word embeddings. Takes 20 to 60 seconds, and
    the machine-wide lock while it times. Weights are random: no kernel's speed depends on them.
    """
    parts = _parts(layer, words, positions, labels, precision)
    costs, foreign_share = _time(runtime, parts, [teacher], batches, lengths, layer.hidden)
    return _table(costs[0], dict(zip(parts, costs[1:], strict=True)), foreign_share)


def measure_low_rank(
    runtime: Runtime,
    *,
    batches: Sequence[Mapping[str, np.ndarray]],
    lengths: Sequence[int],
    layer: FusedLayerSizes,
    precision: str,
) -> tuple[dict[str, Grid], float | None]:
    """What products of layers like `layer` take more, or less, as two thin ones: `LatencyTable.low_rank`, and the share
    of the processors that others used meanwhile.

    Attention and FFN blocks of two sizes are timed whole and at two ranks, in the same turns. Both products of an FFN
    are then thin, and each is taken to be half of the difference: they have as many multiply-adds, and the mean of two
    is less noisy. The rest is as in `measure_table`.
    """
    parts = _low_rank_parts(layer, precision)
    costs, foreign_share = _time(runtime, parts, [], batches, lengths, layer.hidden)
    return _low_rank(dict(zip(parts, costs, strict=True))), foreign_share


def _time(
    runtime: Runtime,
    parts: Mapping[Any, nn.Module],
    others: Sequence[Path],
    batches: Sequence[Mapping[str, np.ndarray]],
    lengths: Sequence[int],
    hidden: int,
) -> tuple[list[float], float | None]:
    """Milliseconds of the exports in `others` and then of each part, in turns, and what others used meanwhile."""
    chosen = representative(lengths, EXAMPLES)
    with tempfile.TemporaryDirectory(prefix="compress-table-") as name:
        root = Path(name)
        inputs = [_inputs(batches[i], hidden) for i in chosen]
        save_batches(inputs, root / "batches.npz")
        folders = [*others]
        for number, module in enumerate(parts.values()):
            folder = root / str(number)
            folder.mkdir()
            _export(module, inputs[-1], folder, runtime)
            folders.append(folder)
        candidates = [Candidate(runtime=runtime, folder=folder) for folder in folders]
        files = [root / "batches.npz"] * len(candidates)
        bystanders = Bystanders(allowed_cpus()[: runtime.threads])
        rounds = measure_in_turns(candidates, files, list(range(len(inputs))) * REPEATED, TURNS, bystanders)
    costs = [float(np.mean(np.quantile(np.asarray(values), 0.25, axis=0))) for values in rounds]
    return costs, bystanders.share


def _parts(
    layer: FusedLayerSizes, words: int, positions: int, labels: int, precision: str
) -> dict[tuple[str, int], nn.Module]:
    """What is timed, by curve and size."""
    last = replace(layer, first_token=1)
    heads = {share: max(1, round(layer.heads * share)) for share in SHARES}
    neurons = {share: max(1, round(layer.neurons * share)) for share in SHARES}
    made: dict[tuple[str, int], nn.Module] = {
        ("call", 0): _Nothing(),
        ("fixed", 0): _Fixed(FusedEmbeddingsSizes(words, positions, layer.hidden, layer.epsilon_exponent), labels),
    }
    for share in SHARES:
        made["attention", heads[share]] = _Attention(replace(layer, heads=heads[share]))
        made["ffn", neurons[share]] = _FeedForward(replace(layer, neurons=neurons[share]))
    # What is left of a dropped block: the same, whichever it was.
    made["dropped", 0] = _FeedForward(replace(layer, heads=0, neurons=0))
    made["last_dropped", 0] = _FeedForward(replace(last, heads=0, neurons=0))
    for share in LAST_SHARES:
        made["last_attention", heads[share]] = _Attention(replace(last, heads=heads[share]))
        made["last_ffn", neurons[share]] = _FeedForward(replace(last, neurons=neurons[share]))
    for module in made.values():
        _round(module, precision)
    return {key: module.eval() for key, module in made.items()}


def _low_rank_parts(layer: FusedLayerSizes, precision: str) -> dict[tuple[str, int, int], nn.Module]:
    """What is timed, by block, heads or neurons, and rank; 0 where its products are whole."""
    ranks = (0, *(max(1, round(layer.hidden * share)) for share in RANKS))
    heads = [max(1, round(layer.heads * share)) for share in LOW_RANK_HEADS]
    neurons = [max(1, round(layer.neurons * share)) for share in LOW_RANK_NEURONS]
    made: dict[tuple[str, int, int], nn.Module] = {}
    for rank in ranks:
        made |= {("attention", count, rank): _Attention(replace(layer, heads=count)) for count in heads}
        made |= {("ffn", count, rank): _FeedForward(replace(layer, neurons=count)) for count in neurons}
    for (block, _, rank), module in made.items():
        if rank:
            _factorize(module, THIN[block], rank)
        _round(module, precision)
    return {key: module.eval() for key, module in made.items()}


def _factorize(module: nn.Module, names: Sequence[str], rank: int) -> None:
    for path, part in list(module.named_modules()):
        if path.rpartition(".")[2] in names:
            assert isinstance(part, nn.Linear)
            replace_module(module, path, LowRankLinear(part.in_features, part.out_features, rank, bias=True))


def _low_rank(costs: Mapping[tuple[str, int, int], float]) -> dict[str, Grid]:
    found: dict[str, dict[int, dict[int, float]]] = {}
    for (block, count, rank), cost in costs.items():
        for product in THIN[block] if rank else ():
            more = (cost - costs[block, count, 0]) / STACKED / len(THIN[block])
            found.setdefault(product, {}).setdefault(count, {})[rank] = more
    return found  # type: ignore[return-value]


def _table(teacher: float, costs: Mapping[tuple[str, int], float], foreign_share: float | None = None) -> LatencyTable:
    call = costs["call", 0]

    def curve(name: str) -> dict[int, float]:
        return {size: max(0.0, cost - call) / STACKED for (part, size), cost in costs.items() if part == name}

    dropped, last_dropped = curve("dropped"), curve("last_dropped")
    return LatencyTable(
        teacher=teacher,
        fixed=costs["fixed", 0],
        attention=dropped | curve("attention"),
        ffn=dropped | curve("ffn"),
        last_attention=last_dropped | curve("last_attention"),
        last_ffn=last_dropped | curve("last_ffn"),
        foreign_share=foreign_share,
    )


def _inputs(batch: Mapping[str, np.ndarray], hidden: int) -> dict[str, np.ndarray]:
    ids = batch["input_ids"]
    states = np.random.default_rng(0).standard_normal((*ids.shape, hidden), dtype=np.float32)
    return {"input_ids": ids, "attention_mask": batch["attention_mask"], "states": states}


def _export(module: nn.Module, inputs: Mapping[str, np.ndarray], folder: Path, runtime: Runtime) -> None:
    # Two rows, or the exporter freezes their number.
    wanted = {name: torch.from_numpy(np.concatenate([value, value])) for name, value in inputs.items()}
    wanted = {name: wanted[name] for name in module.reads}  # type: ignore[union-attr]
    axes = {name: {0: "batch", 1: "length"} for name in wanted}
    export_module(module, wanted, axes, folder, attention_operator=runtime.attention_operator)


class _Nothing(nn.Module):
    """A call that computes nothing to speak of."""

    reads = ("states",)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return inputs["states"][:, 0, :1] + 1


class _Fixed(nn.Module):
    """Embeddings and a head: what no cutting changes."""

    reads = ("input_ids",)

    def __init__(self, sizes: FusedEmbeddingsSizes, labels: int) -> None:
        super().__init__()
        self.embeddings = FusedEmbeddings(sizes)
        self.pooler, self.classifier = nn.Linear(sizes.hidden, sizes.hidden), nn.Linear(sizes.hidden, labels)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.classifier(torch.tanh(self.pooler(self.embeddings(inputs["input_ids"])[:, 0])))


class _Blocks(nn.Module):
    def __init__(self, sizes: FusedLayerSizes) -> None:
        super().__init__()
        self.layers = nn.ModuleList(FusedLayer(sizes) for _ in range(STACKED))
        self.first_token = bool(sizes.first_token)


class _Attention(_Blocks):
    reads = ("states", "attention_mask")

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        mask = (1 - inputs["attention_mask"].to(torch.float32)) * torch.finfo(torch.float32).min
        mask, states = mask[:, None, None, :], inputs["states"]
        if self.first_token:
            # One after the other is not possible: each reads all tokens and returns one.
            return sum(layer.attend(states, mask) for layer in self.layers)  # type: ignore[return-value, operator]
        for layer in self.layers:
            states = layer.attend(states, mask)  # type: ignore[operator]
        return states


class _FeedForward(_Blocks):
    reads = ("states",)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        states = inputs["states"][:, :1] if self.first_token else inputs["states"]
        for layer in self.layers:
            states = layer.feed_forward(states)  # type: ignore[operator]
        return states


def _round(module: nn.Module, precision: str) -> None:
    if precision == "float":
        return
    for path, part in list(module.named_modules()):
        if isinstance(part, nn.Embedding) and path.endswith("word_embeddings"):
            replace_module(module, path, Int8Embedding.of(part))
        elif isinstance(part, nn.Linear) and precision == "dynamic":
            replace_module(module, path, Int8DynamicLinear.of(part))
        elif isinstance(part, nn.Linear):
            replace_module(module, path, Int8StaticLinear.of(part).fix_inputs(torch.tensor(0.05), torch.tensor(128.0)))
