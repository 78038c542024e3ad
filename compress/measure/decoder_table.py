"""Timing a decoder's layers: what each adds to reading a prompt, and to each token after it.

The two differ in kind. A prompt is arithmetic: every weight is used once for each of its tokens. A token after it is
memory: every weight is read once, for itself alone. So blocks are timed in both, in requests as users make them.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
from torch import nn
from transformers import PreTrainedModel

from compress.core.latency_table import Curve, LatencyTable
from compress.core.recipe import Measurement
from compress.core.runtime import Runtime
from compress.core.signature import Signature
from compress.measure.bystanders import Bystanders, Company, company_of
from compress.measure.environment import allowed_cpus
from compress.measure.latency import Turns, uses_in_turns
from compress.measure.processes import Candidate
from compress.measure.rounded import rounded
from compress.measure.unfused import shallow_models, unfused_table, without_blocks
from compress.measure.worker import save_batches
from compress.nn.family import layers_of
from compress.nn.forward import torch_batch
from compress.nn.fusion import LayerSizes

# Several layers in one graph, so that a call's own cost and the clock's grain are small beside them.
STACKED = 4
SHARES = (0.125, 0.5, 1.0)
# A request is many calls, and takes seconds where an encoder's example takes milliseconds.
TURNS = Measurement(examples=1, launches=2, rounds=4, warmup=1)
# The quartile of the rounds that counts: see there.
FASTEST = 0.25
TEACHER, WHOLE = ("teacher", 0), ("whole", 0)
# A curve and a size, as in `unfused_table`.
Key = tuple[str, int]


@dataclass(frozen=True)
class Request:
    """Milliseconds of a prompt, and of all tokens after its first answer together."""

    prompt: float
    tokens: float


def measure_decoder_table(
    runtime: Runtime,
    *,
    teacher: Path,
    model: PreTrainedModel,
    signature: Signature,
    layer: LayerSizes,
    precision: str,
    retry_seconds: float,
) -> LatencyTable:
    """The table for requests to models whose layers are like `layer`; its `prompt` is that of reading the prompt alone.

    teacher: the folder of its export. model: the teacher itself, which is used up. precision, retry_seconds: as in
    `measure_table`.
    Beside the parts the whole model is timed in that precision: see `decoder_table`. Takes the time of about a dozen
    of the teacher's requests and twice as many of the rounded model's, and the machine-wide lock.
    """
    depth, sizes = min(STACKED, len(layers_of(model))), [(each.heads, each.neurons) for each in layers_of(model)]
    whole = [] if precision == "float" else [(WHOLE, copy.deepcopy(model))]
    fixed = ((key, without_blocks(model)) for key in [("fixed", 0)])
    parts = rounded(chain(whole, shallow_models(model, layer, depth, SHARES), fixed), precision)
    costs, company = _time(runtime, parts, teacher, signature, retry_seconds)
    return replace(decoder_table(costs, sizes, depth), **company)


def decoder_table(costs: Mapping[Key, Request], layers: Sequence[tuple[int, int]], depth: int) -> LatencyTable:
    """The table from what each part takes: those of `unfused_table`, the `teacher`, and the `whole` model in the
    precision of the parts, which is the teacher where there is no such entry. layers: (heads, neurons) of that model.

    A few layers fit into a processor's cache, and a whole model does not: it reads its weights from memory, for each
    token anew. So the costs of blocks are those of the whole model: see `LatencyTable.assembled`.
    """
    whole = costs.get(WHOLE, costs[TEACHER])
    prompt = _phase({key: cost.prompt for key, cost in costs.items()}, whole.prompt, layers, depth)
    tokens = _phase({key: cost.tokens for key, cost in costs.items()}, whole.tokens, layers, depth)
    return LatencyTable(
        teacher=prompt.teacher + tokens.teacher,
        fixed=prompt.fixed + tokens.fixed,
        attention=_sum(prompt.attention, tokens.attention),
        ffn=_sum(prompt.ffn, tokens.ffn),
        last_attention={},
        last_ffn={},
        prompt=prompt,
    )


def _phase(costs: Mapping[Key, float], whole: float, layers: Sequence[tuple[int, int]], depth: int) -> LatencyTable:
    return unfused_table(costs[TEACHER], costs, depth).assembled(layers, whole)


def _sum(one: Curve, other: Curve) -> Curve:
    return {size: cost + other[size] for size, cost in one.items()}


def _time(
    runtime: Runtime, parts: Iterator[tuple[Key, nn.Module]], teacher: Path, signature: Signature, retry_seconds: float
) -> tuple[dict[Key, Request], Company]:
    """What a request takes of the teacher and of each part, in turns, and what others did meanwhile. parts: read once,
    and each is let go when it was exported."""
    assert signature.decoding is not None
    # The number 0 is a token of every model, of those without a table of words to speak of, too.
    tokens = np.zeros((1, signature.decoding.prompt_tokens), dtype=np.int64)
    prompt = {"input_ids": tokens, "attention_mask": np.ones_like(tokens)}
    batch = torch_batch({name: np.concatenate([values, values]) for name, values in prompt.items()})
    with tempfile.TemporaryDirectory(prefix="compress-table-") as name:
        root = Path(name)
        save_batches([prompt], root / "batches.npz")
        candidates = {TEACHER: Candidate(runtime=runtime, folder=teacher, signature=signature)}
        for key, part in parts:
            folder = root / str(len(candidates))
            folder.mkdir()
            runtime.export(part, signature, batch, folder)
            candidates[key] = Candidate(runtime=runtime, folder=folder, signature=signature)
        files = [root / "batches.npz"] * len(candidates)
        bystanders = Bystanders(allowed_cpus()[: runtime.threads])
        measurement = replace(TURNS, retry_seconds=retry_seconds)
        turns = uses_in_turns(list(candidates.values()), files, [0], measurement, bystanders)
    requests = {key: _request(taken) for key, taken in zip(candidates, turns, strict=True)}
    return requests, company_of(bystanders, FASTEST)


def _request(turns: Turns) -> Request:
    """As elsewhere, what it takes where little disturbs it: the first quartile."""
    whole, first = np.asarray(turns.whole), np.asarray(turns.first)
    return Request(float(np.quantile(first, FASTEST)), float(np.quantile(whole - first, FASTEST)))
