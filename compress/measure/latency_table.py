"""Timing the parts of an encoder on the recipe's runtime: blocks of several sizes, in turns with the FP32 teacher."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.core.evaluation import Latency
from compress.core.latency_table import Grid, LatencyTable
from compress.core.recipe import Measurement
from compress.core.runtime import Runtime
from compress.core.signature import BATCH, SEQUENCE, TYPES, Port, Signature
from compress.measure.bystanders import Bystanders, Company, company_of
from compress.measure.decoder_table import measure_decoder_table
from compress.measure.environment import allowed_cpus
from compress.measure.latency import Rounds, measure_in_turns, representative
from compress.measure.processes import Candidate
from compress.measure.rounded import rounded
from compress.measure.statistics import speedup
from compress.measure.unfused import shallow_models, unfused_table, without_blocks
from compress.measure.worker import save_batches
from compress.nn.family import hidden_size, layers_of
from compress.nn.forward import positions_of, torch_batch
from compress.nn.fusion import LayerSizes, fuse_embeddings
from compress.nn.head import Reads
from compress.nn.layers import FusedLayer, LowRankLinear
from compress.nn.layers.fused_layer import FusedLayerSizes
from compress.nn.structure import replace_module
from compress.nn.surgery import change_activation, keep_layers

# Several blocks in one graph, so that the cost of a call and the clock's grain are small beside them.
STACKED = 4
EXAMPLES = 8
# Long turns: a process that has just been woken is slow for its first milliseconds, and these graphs take less.
REPEATED = 6
TURNS = Measurement(examples=EXAMPLES, launches=2, rounds=8, warmup=12)
# A whole model is timed beside the teacher alone, in turns as a gate takes them: in longer ones it is faster.
JUDGED_REPEATED = 3
JUDGED = Measurement(examples=EXAMPLES, launches=3, rounds=4, warmup=3)
SHARES = (0.125, 0.5, 1.0)
LAST_SHARES = (0.125, 1.0)
# A product of few heads is nearly as narrow as any rank that loses little of it: those stay whole.
LOW_RANK_HEADS, LOW_RANK_NEURONS = (0.5, 1.0), (0.125, 1.0)
# Of the hidden width. Above, a square product is no faster as two.
RANKS = (0.125, 0.375)
# A whole model of such a share of the layers, heads and neurons is timed beside its parts.
MIDDLE = 0.5
WHOLE = ("whole", 0)
# Of the rounds of each part so many count, the fastest: a graph that small is only ever slowed down.
FASTEST = 0.25
# Of an interval that nothing here looks at.
CONFIDENCE = 0.95
# What a part is: a curve and a size, and for low ranks the rank.
Key = TypeVar("Key")
THIN = {"attention": ("attention_output",), "ffn": ("ffn_in", "ffn_out")}


def measure_table(
    runtime: Runtime,
    *,
    teacher: Path,
    model: PreTrainedModel,
    signature: Signature,
    reads: Reads,
    batches: Sequence[Mapping[str, np.ndarray]],
    lengths: Sequence[int],
    layer: FusedLayerSizes | LayerSizes,
    precision: str,
    retry_seconds: float = 0.0,
) -> LatencyTable:
    """The table for layers like `layer` on this machine: fused, where they have such a form.

    teacher: the folder of its export. model: the teacher itself, which is used up: what no cutting changes is what is
    left of it without layers. reads: what its head reads; where that is the first position alone, a last layer that
    computes no other is timed too. batches: of as many examples each, of these lengths; a few of evenly spread lengths
    are timed; where one use is many calls, prompts of the signature's length instead. precision: `float`, `dynamic`,
    `static`, `blocks` or `blocks4`, of dense layers and word embeddings. retry_seconds: as in Measurement. Takes 20 to
    60 seconds, and the machine-wide lock while it times. Weights of layers are random: no kernel's speed depends on
    them. Beside the parts a whole model is timed: see `LatencyTable.assembled`.
    """
    if signature.decoding is not None:
        assert isinstance(layer, LayerSizes)
        return measure_decoder_table(
            runtime,
            teacher=teacher,
            model=model,
            signature=signature,
            layer=layer,
            precision=precision,
            retry_seconds=retry_seconds,
        )
    inputs = _inputs(model, signature, batches, lengths)
    if isinstance(layer, LayerSizes):
        depth, sizes = min(STACKED, len(layers_of(model))), [(each.heads, each.neurons) for each in layers_of(model)]
        whole = copy.deepcopy(model)
        change_activation(whole, layer.activation)
        fixed = ((key, without_blocks(model)) for key in [("fixed", 0)])
        parts = rounded(chain([(WHOLE, whole)], shallow_models(model, layer, depth, SHARES), fixed), precision)
        baseline, costs, ratio, company = _time(runtime, parts, teacher, inputs, signature, retry_seconds)
        table = unfused_table(baseline, costs, depth)
    else:
        sizes = _middle(model, layer)
        together = [(WHOLE, _assembled(model, signature, layer, sizes, reads))] if sizes else []
        alone = _parts(layer, signature.mask, reads).items()
        parts = rounded(chain(together, alone, _fixed(model, signature)), precision)
        baseline, costs, ratio, company = _time(runtime, parts, teacher, inputs, signature, retry_seconds)
        table = _table(baseline, costs)
    # What makes the table foretell the speed that a gate would find.
    return replace(table if ratio is None else table.assembled(sizes, baseline / ratio), **company)


def measure_low_rank(
    runtime: Runtime,
    *,
    model: PreTrainedModel,
    signature: Signature,
    batches: Sequence[Mapping[str, np.ndarray]],
    lengths: Sequence[int],
    layer: FusedLayerSizes,
    precision: str,
    retry_seconds: float = 0.0,
) -> tuple[dict[str, Grid], Company]:
    """What products of layers like `layer` take more, or less, as two thin ones: `LatencyTable.low_rank`, and what
    others did meanwhile.

    Attention and FFN blocks of two sizes are timed whole and at two ranks, in the same turns. Both products of an FFN
    are then thin, and each is taken to be half of the difference: they have as many multiply-adds, and the mean of two
    is less noisy. The rest is as in `measure_table`.
    """
    inputs = _inputs(model, signature, batches, lengths)
    parts = rounded(_low_rank_parts(layer, signature.mask).items(), precision)
    _, costs, _, company = _time(runtime, parts, None, inputs, signature, retry_seconds)
    return _low_rank(costs), company


def _time(
    runtime: Runtime,
    parts: Iterable[tuple[Key, nn.Module]],
    teacher: Path | None,
    inputs: Sequence[Mapping[str, np.ndarray]],
    signature: Signature,
    retry_seconds: float,
) -> tuple[float, dict[Key, float], float | None, Company]:
    """Milliseconds of the teacher's export and of each part, in turns; how many times as fast as the teacher a gate
    would find the part `WHOLE`, None where there is none; and what other processes did meanwhile.

    parts: read once, and each is let go when it was exported. teacher: 0.0 where there is none. inputs: what the model
    takes, one example each, and the `states` that its parts take. signature: the model's.
    """
    with tempfile.TemporaryDirectory(prefix="compress-table-") as name:
        root = Path(name)
        file = root / "batches.npz"
        save_batches(inputs, file)
        candidates: dict[Key, Candidate] = {}
        for key, module in parts:
            folder = root / str(len(candidates))
            folder.mkdir()
            taken = _export(module, signature, inputs[-1], folder, runtime)
            candidates[key] = Candidate(runtime=runtime, folder=folder, signature=taken)
        first = [] if teacher is None else [Candidate(runtime=runtime, folder=teacher, signature=signature)]
        whole = candidates.pop(WHOLE, None)  # type: ignore[arg-type]
        bystanders = Bystanders(allowed_cpus()[: runtime.threads])

        def timed(those: Sequence[Candidate], repeated: int, turns: Measurement) -> list[Rounds]:
            measurement = replace(turns, retry_seconds=retry_seconds)
            chosen = list(range(len(inputs))) * repeated
            return measure_in_turns(those, [file] * len(those), chosen, measurement, bystanders)

        rounds = timed([*first, *candidates.values()], REPEATED, TURNS)
        judged = None if whole is None else timed([*first, whole], JUDGED_REPEATED, JUDGED)
    costs = [float(np.mean(np.quantile(np.asarray(values), FASTEST, axis=0))) for values in rounds]
    baseline = 0.0 if teacher is None else costs.pop(0)
    ratio = None if judged is None else times(*judged, launches=JUDGED.launches)
    return baseline, dict(zip(candidates, costs, strict=True)), ratio, company_of(bystanders, FASTEST)


def times(baseline: Rounds, own: Rounds, *, launches: int) -> float:
    """How many times as fast as the first the second is, as a gate finds it."""
    return speedup(Latency(rounds=own, baseline_rounds=baseline, launches=launches), CONFIDENCE)[0]


def _parts(layer: FusedLayerSizes, mask: str | None, reads: Reads) -> dict[tuple[str, int], nn.Module]:
    """What is timed, by curve and size. mask: the input that hides padding."""
    heads = {share: max(1, round(layer.heads * share)) for share in SHARES}
    neurons = {share: max(1, round(layer.neurons * share)) for share in SHARES}
    made: dict[tuple[str, int], nn.Module] = {("call", 0): _Nothing()}
    for share in SHARES:
        made["attention", heads[share]] = _Attention(replace(layer, heads=heads[share]), mask)
        made["ffn", neurons[share]] = _FeedForward(replace(layer, neurons=neurons[share]))
    # What is left of a dropped block: the same, whichever it was.
    made["dropped", 0] = _FeedForward(replace(layer, heads=0, neurons=0))
    if reads == "first":
        last = replace(layer, first_token=1)
        made["last_dropped", 0] = _FeedForward(replace(last, heads=0, neurons=0))
        for share in LAST_SHARES:
            made["last_attention", heads[share]] = _Attention(replace(last, heads=heads[share]), mask)
            made["last_ffn", neurons[share]] = _FeedForward(replace(last, neurons=neurons[share]))
    return made


def _fixed(model: PreTrainedModel, signature: Signature) -> Iterator[tuple[tuple[str, int], PreTrainedModel]]:
    """What no cutting changes: the model without its layers, in place, as fusion would leave it."""
    keep_layers(model, [])
    fuse_embeddings(model, types=TYPES in signature.names)
    yield ("fixed", 0), model


def _middle(model: PreTrainedModel, layer: FusedLayerSizes) -> list[tuple[int, int]]:
    """Heads and neurons of each layer of a model of half the layers, whose layers have half of what `layer` has, as
    some of the parts have; of none where layers are as wide as none of this model's."""
    if layer.hidden != hidden_size(model):
        return []
    count = max(1, round(len(layers_of(model)) * MIDDLE))
    return [(max(1, round(layer.heads * MIDDLE)), max(1, round(layer.neurons * MIDDLE)))] * count


def _assembled(
    model: PreTrainedModel,
    signature: Signature,
    layer: FusedLayerSizes,
    sizes: Sequence[tuple[int, int]],
    reads: Reads,
) -> PreTrainedModel:
    """A copy of the model with layers of these sizes, as fusion would leave it. Their weights are random."""
    made = copy.deepcopy(model)
    keep_layers(made, range(len(sizes)))
    fused = [replace(layer, heads=heads, neurons=neurons) for heads, neurons in sizes]
    if reads == "first":
        fused[-1] = replace(fused[-1], first_token=1)
    for one, own in zip(layers_of(made), fused, strict=True):
        replace_module(made, one.path, FusedLayer(own))
    fuse_embeddings(made, types=TYPES in signature.names)
    return made


def _low_rank_parts(layer: FusedLayerSizes, mask: str | None) -> dict[tuple[str, int, int], nn.Module]:
    """What is timed, by block, heads or neurons, and rank; 0 where its products are whole."""
    ranks = (0, *(max(1, round(layer.hidden * share)) for share in RANKS))
    heads = [max(1, round(layer.heads * share)) for share in LOW_RANK_HEADS]
    neurons = [max(1, round(layer.neurons * share)) for share in LOW_RANK_NEURONS]
    made: dict[tuple[str, int, int], nn.Module] = {}
    for rank in ranks:
        made |= {("attention", count, rank): _Attention(replace(layer, heads=count), mask) for count in heads}
        made |= {("ffn", count, rank): _FeedForward(replace(layer, neurons=count)) for count in neurons}
    for (block, _, rank), module in made.items():
        if rank:
            _factorize(module, THIN[block], rank)
    return made


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


def _table(teacher: float, costs: Mapping[tuple[str, int], float]) -> LatencyTable:
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
    )


def _inputs(
    model: PreTrainedModel,
    signature: Signature,
    batches: Sequence[Mapping[str, np.ndarray]],
    lengths: Sequence[int],
) -> list[dict[str, np.ndarray]]:
    """A few of the batches, of evenly spread lengths, each with random hidden states of as many positions."""
    made = []
    for batch in (batches[i] for i in representative(lengths, EXAMPLES)):
        rows = len(next(iter(batch.values())))
        shape = (rows, positions_of(model, signature, torch_batch(batch)), hidden_size(model))
        made.append({**batch, "states": np.random.default_rng(0).standard_normal(shape, dtype=np.float32)})
    return made


def _export(
    module: nn.Module, signature: Signature, inputs: Mapping[str, np.ndarray], folder: Path, runtime: Runtime
) -> Signature:
    """Write what the runtime opens of a part, or of a whole model of this signature. Returns the part's own."""
    # Two rows, or the exporter freezes their number.
    batch = torch_batch({name: np.concatenate([value, value]) for name, value in inputs.items()})
    if isinstance(module, PreTrainedModel):
        runtime.export(module, signature, batch, folder)
        return signature
    states = Port("states", (BATCH, SEQUENCE, "hidden"), "float32")
    masks = tuple(port for port in signature.inputs if port.name == module.mask)
    taken = Signature(
        inputs=(states, *masks),
        output=Port("output", states.axes, "float32"),
        mask=signature.mask if masks else None,
        fixed={"hidden": inputs["states"].shape[2]},
    )
    runtime.export_part(module, taken, batch, folder)
    return taken


class _Nothing(nn.Module):
    """A call that computes nothing to speak of."""

    mask = None

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return inputs["states"][:, 0, :1] + 1


class _Blocks(nn.Module):
    """mask: the input that hides padding, where the blocks look at it."""

    def __init__(self, sizes: FusedLayerSizes, mask: str | None = None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(FusedLayer(sizes) for _ in range(STACKED))
        self.first_token, self.mask = bool(sizes.first_token), mask


class _Attention(_Blocks):
    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        mask, states = None, inputs["states"]
        if self.mask is not None:
            mask = (1 - inputs[self.mask].to(torch.float32)) * torch.finfo(torch.float32).min
            mask = mask[:, None, None, :]
        if self.first_token:
            # One after the other is not possible: each reads all tokens and returns one.
            return sum(layer.attend(states, mask) for layer in self.layers)  # type: ignore[return-value, operator]
        for layer in self.layers:
            states = layer.attend(states, mask)  # type: ignore[operator]
        return states


class _FeedForward(_Blocks):
    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        states = inputs["states"][:, :1] if self.first_token else inputs["states"]
        for layer in self.layers:
            states = layer.feed_forward(states)  # type: ignore[operator]
        return states
