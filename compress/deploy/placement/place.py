"""The whole of a placement: what each piece needs and takes, the fastest that fits, and what else there would be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.core.checks import require_integer
from compress.core.errors import InputError
from compress.core.placement import Costs, Device, DeviceCosts, Link, Taken
from compress.deploy.placement.costs_file import read_costs
from compress.deploy.placement.devices import MEASURED_ELSEWHERE, require_here
from compress.deploy.placement.files import device_map, gpu_layers, layers_of_devices
from compress.deploy.placement.memory import BITS, needs_of
from compress.deploy.placement.problem import (
    Needs,
    Placement,
    Problem,
    alone,
    bytes_on,
    fits,
    period_ms,
    steps_of,
    total_ms,
)
from compress.deploy.placement.search import best, first_filled, missing_bytes

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.measure.placement.pipeline import Ran
    from compress.nn.pieces import Pieces

# Times may come from elsewhere; what runs the plan may not.
NOT_RUN_HERE = "--verify runs the plan on these devices: leave it out, or type this where they are."


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the user asked for. bits: of weights, None where they stay as they are stored. costs: a file of times.
    verify: whether the plan is to be run here."""

    model: Path
    devices: Mapping[Device, int]
    context: int
    prompt_tokens: int
    bits: int | None
    costs: Path | None
    verify: bool = False

    def __post_init__(self) -> None:
        require_integer("--context", self.context, 2, "Give the tokens of the longest text, such as 4096.")
        require_integer("--prompt", self.prompt_tokens, 1, "Give the tokens of a usual prompt, such as 128.")
        if self.prompt_tokens >= self.context:
            raise InputError(
                f"--prompt is {self.prompt_tokens}, and --context {self.context}, in which it must fit with a token "
                "after it. Give a longer context."
            )

    @property
    def by_name(self) -> dict[str, Device]:
        """The devices, in the user's order."""
        return {device.name: device for device in self.devices}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """bits: of the weights. plan: the least time of a token. for_prompts: the least time of a prompt. in_bits: what the
    model needs with so many bits. ran: what running it took, where that was asked for."""

    asked: Asked
    bits: int
    problem: Problem
    costs: Costs
    plan: Placement
    for_prompts: Placement
    in_bits: Mapping[int, Needs]
    pieces: Pieces
    plain: bool
    ran: Ran | None = None

    @property
    def cpu(self) -> str | None:
        """The first CPU device."""
        return next((device.name for device in self.asked.devices if device.kind == "cpu"), None)

    @property
    def gpus(self) -> list[str]:
        """All GPUs."""
        return [device.name for device in self.asked.devices if device.kind == "cuda"]

    def others(self) -> dict[str, Placement | None]:
        """What people take without searching, by its name: None where it does not fit."""
        found: dict[str, Placement | None] = {}
        if self.cpu is not None:
            everything = alone(self.cpu, self.problem.blocks)
            found[f"all on {self.cpu}"] = everything if fits(self.problem, everything) else None
        found[f"as much as fits on {next(iter(self.problem.memory))}"] = first_filled(self.problem)
        return found

    def files(self) -> dict[str, Any]:
        """What `--out` gets, by name."""
        return {
            "device_map.json": device_map(self.pieces, self.plan, self.asked.by_name),
            "layers.json": layers_of_devices(self.plan),
            "plan.json": self.record(),
        }

    def record(self) -> dict[str, Any]:
        """All of it, for programs."""
        problem, plan = self.problem, self.plan
        return {
            "format": 1,
            "model": str(self.asked.model),
            "bits": self.bits,
            "context": self.asked.context,
            "devices": {
                name: {"memory_bytes": memory, "needed_bytes": bytes_on(problem.needs, plan).get(name, 0)}
                for name, memory in problem.memory.items()
            },
            "layers": layers_of_devices(plan),
            "predicted": _predicted(problem, plan),
            "others": {name: other and _predicted(problem, other) for name, other in self.others().items()},
            "measured": None if self.ran is None else asdict(self.ran),
            "n_gpu_layers": gpu_layers(problem, plan, self.gpus),
            "costs": self.costs.to_json(),
        }


def _predicted(problem: Problem, placement: Placement) -> dict[str, float | None]:
    two = fits(problem, placement, requests=2)
    return {
        "token_ms": total_ms(problem, placement, "token"),
        "prompt_ms": total_ms(problem, placement, "prompt"),
        "period_ms_with_two_requests": period_ms(problem, placement) if two else None,
    }


def place(asked: Asked) -> Outcome:
    """Find the placement. Raises InputError for devices that are not there, for a folder that is no model which says
    what comes next, and where nothing fits: before anything is timed."""
    from compress.core.structure import Structure
    from compress.nn.checkpoint import load_shapes, read_structure
    from compress.nn.pieces import computed_in, is_decoder, pieces_of

    if asked.costs is None or asked.verify:
        _require_here(asked)
    folder = asked.model
    model, stored = load_shapes(folder, "MODEL")
    if not is_decoder(model):
        raise InputError(
            f"MODEL is {folder}, a {type(model).__name__}; placed are models that say what comes next, such as "
            "LlamaForCausalLM: give the folder of one."
        )
    bits = asked.bits or stored
    in_bits = {each: needs_of(model, bits=each, context=asked.context) for each in BITS if each <= max(bits, stored)}
    memory = {device.name: count for device, count in asked.devices.items()}
    require_room(in_bits, bits, memory)
    costs = _costs(asked, model, bits)
    problem = Problem(
        needs=in_bits[bits],
        memory=memory,
        costs={name: costs.devices[name] for name in memory},
        links={pair: costs.link(*pair) for pair in permutations(memory, 2)},
        hidden_bytes=costs.hidden_size * computed_in(model, bits).itemsize,
        prompt_tokens=costs.prompt_tokens,
    )
    plan, for_prompts = best(problem, "token"), best(problem, "prompt")
    assert plan is not None and for_prompts is not None
    return Outcome(
        asked=asked,
        bits=bits,
        problem=problem,
        costs=costs,
        plan=plan,
        for_prompts=for_prompts,
        in_bits=in_bits,
        pieces=pieces_of(model),
        plain=read_structure(folder) == Structure(),
    )


def verify(outcome: Outcome) -> Outcome:
    """Run the plan here, and note what it takes."""
    from compress.measure.placement.pipeline import run_placement
    from compress.measure.processes import one_measurement_at_a_time

    with one_measurement_at_a_time():
        ran = run_placement(
            outcome.asked.model,
            steps_of(outcome.plan),
            outcome.asked.by_name,
            bits=outcome.bits,
            prompt_tokens=outcome.problem.prompt_tokens,
        )
    return replace(outcome, ran=ran)


def require_room(in_bits: Mapping[int, Needs], bits: int, memory: Mapping[str, int]) -> None:
    """Raise InputError where a device cannot hold a single block, and where no placement fits: with what is missing,
    and the bits that would do. in_bits: what the model needs with so many bits."""
    needs = in_bits[bits]
    least = needs.activations + min(map(sum, zip(needs.blocks, needs.caches, strict=True)))
    for name, count in memory.items():
        if count < least:
            raise InputError(
                f"--devices gives {name} {size(count)}; a single block with its cache, and room to compute, needs "
                f"{size(least)} in {bits} bits. Give it more, or leave it out."
            )
    problem = without_times(needs, memory)
    if best(problem, "token") is not None:
        return
    name, missing = missing_bytes(problem)
    smaller = [each for each in in_bits if each < bits]
    enough = next((each for each in smaller if best(without_times(in_bits[each], memory), "token") is not None), None)
    way_out = "No fewer bits would do: give more memory, or a shorter --context."
    if enough is not None:
        way_out = f"--bits {enough} fits."
    raise InputError(
        f"in {bits} bits the model needs {size(needs.total)}, and --devices does not hold it: "
        f"{size(missing)} are missing on {name}. {way_out}"
    )


def without_times(needs: Needs, memory: Mapping[str, int]) -> Problem:
    """The problem of what fits, where nothing takes any time."""
    none = Taken(0.0, 0.0)
    costs = DeviceCosts(embeddings=none, entry=none, blocks=(none,) * len(needs.blocks), head=none)
    return Problem(
        needs=needs,
        memory=memory,
        costs=dict.fromkeys(memory, costs),
        links=dict.fromkeys(permutations(memory, 2), Link(0.0, 1.0e12)),
        hidden_bytes=0,
        prompt_tokens=1,
    )


def size(count: float) -> str:
    """Bytes for people: `5.12 GiB`, `300 MiB`."""
    for unit, least in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= least:
            return f"{count / least:.3g} {unit}" if count < 1000 * least else f"{count / least:,.0f} {unit}"
    return f"{count:.0f} bytes"


def _costs(asked: Asked, model: PreTrainedModel, bits: int) -> Costs:
    from compress.nn.family import hidden_size, layers_of

    if asked.costs is not None:
        blocks, width = len(layers_of(model)), hidden_size(model)
        return read_costs(asked.costs, devices=list(asked.by_name), blocks=blocks, hidden_size=width)
    from compress.measure.placement.measure import measure_costs

    return measure_costs(model, list(asked.devices), prompt_tokens=asked.prompt_tokens, bits=bits)


def _require_here(asked: Asked) -> None:
    import torch

    from compress.measure.environment import allowed_cpus

    way_out = NOT_RUN_HERE if asked.verify else MEASURED_ELSEWHERE
    gpus, processors = torch.cuda.device_count(), len(allowed_cpus())
    require_here(list(asked.devices), gpus=gpus, processors=processors, way_out=way_out)
