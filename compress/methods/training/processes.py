"""Training in several processes (`accelerate launch`): the main one runs the recipe, the others help it train.

The main process alone writes the store, measures, judges and prints. Before it applies a stage it says so, and the
helpers apply the same stage to the same artifact: their trainings meet, and what a helper ends with is thrown away.
Between two stages a helper sleeps in a read, so that it disturbs no measurement.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

# torch is imported where it is used: commands ask `is_main` before they wait for it.

# A helper waits as long as the main process measures, or makes what needs no training.
PATIENCE = timedelta(days=30)


def count() -> int:
    """How many processes train together; 1 without `accelerate launch`."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def count_here() -> int:
    """How many of them are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def number() -> int:
    """Which of them this is, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_main() -> bool:
    """Whether this is the process that runs the recipe."""
    return number() == 0


class _Channel:
    group: Any = None


def join(device: str) -> None:
    """Meet the other processes; nothing where there are none. Each calls it once, before anything else here."""
    if count() == 1 or _Channel.group is not None:
        return
    import torch
    import torch.distributed as dist

    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if not dist.is_initialized():
        dist.init_process_group(backend="nccl" if device == "cuda" else "gloo", timeout=PATIENCE)
    # Messages go over the processors, whatever trains: a GPU's collectives spin while they wait.
    _Channel.group = dist.new_group(backend="gloo", timeout=PATIENCE)


def leave() -> None:
    """Let the helpers go; nothing where there are none."""
    if _Channel.group is None:
        return
    import torch.distributed as dist

    if is_main():
        same(None)
    _Channel.group = None
    dist.destroy_process_group()


def same(value: Any) -> Any:
    """What the main process gave, in every process. All call it at the same point."""
    if _Channel.group is None:
        return value
    import torch.distributed as dist

    box = [value]
    dist.broadcast_object_list(box, src=0, group=_Channel.group)
    return box[0]


def totals(amounts: Sequence[float]) -> list[float]:
    """The sum of each of these over all processes. All call it at the same point, with as many."""
    if _Channel.group is None:
        return list(amounts)
    import torch
    import torch.distributed as dist

    sums = torch.tensor(amounts, dtype=torch.float64)
    dist.all_reduce(sums, group=_Channel.group)
    return sums.tolist()


def once(find: Callable[[], Any]) -> Any:
    """What `find()` returns in the main process, in every process; the others do not call it."""
    return same(find() if is_main() else None)


@contextlib.contextmanager
def main_first() -> Iterator[None]:
    """The block runs in the main process, then in the others, who find on the disk what it left."""
    if not is_main():
        same(None)
    yield
    if is_main():
        same(None)
