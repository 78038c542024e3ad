"""Settings of Transformers' Trainer that every training here shares, its progress bar, and resuming after a kill."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Sampler
from tqdm.auto import tqdm
from transformers import PreTrainedModel, ProgressCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_pt_utils import LengthGroupedSampler

from compress.core.checks import require_at_least, require_fraction, require_integer, require_positive
from compress.core.errors import DiskFullError, InputError
from compress.core.json_file import parse_json, read_regular
from compress.core.manifest import xxh3_of
from compress.core.spent import spending
from compress.methods.training.processes import count, is_main, number, same, totals
from compress.nn.family import family_of, hidden_size

CHECKPOINT_SECONDS = 30.0
WHOLE = "whole"
# A label that PyTorch's losses, and so the models' own, leave out.
UNCOUNTED = -100


@dataclass(frozen=True, kw_only=True)
class Optimization:
    """How a training steps.

    learning_rate: for a model whose hidden width is reference_width; a model n times as wide takes 1/n of it, so that
    one setting fits small and large encoders (Yang et al. 2022, Tensor Programs V, table 3: Adam, hidden weights).
    reference_width None: for every model as it is. warmup_share: share of the steps in which the learning rate rises;
    it then falls linearly. mixed_precision: `auto` (bfloat16 where the CPU or GPU and the model's code compute it) or
    `off`. batch_size: examples per step.
    """

    learning_rate: float
    reference_width: int | None
    batch_size: int
    warmup_share: float
    weight_decay: float
    mixed_precision: str

    def __post_init__(self) -> None:
        require_positive("learning_rate", self.learning_rate, "Use 1e-4, for example.")
        if self.reference_width is not None:
            require_integer("reference_width", self.reference_width, 1, "Use null to leave learning_rate as it is.")
        require_integer("batch_size", self.batch_size, 1, "Use 32, for example.")
        require_at_least("weight_decay", self.weight_decay, 0, "Use 0.01, for example.")
        if self.warmup_share != 0:
            require_fraction("warmup_share", self.warmup_share, "Use 0.1, for example.")
        if self.mixed_precision not in ("auto", "off"):
            raise InputError(f"mixed_precision is {self.mixed_precision!r}; it must be auto or off.")

    def learning_rate_at(self, width: int) -> float:
        """The learning rate for a model of this hidden width."""
        return self.learning_rate * (1 if self.reference_width is None else self.reference_width / width)


def training_arguments(
    optimization: Optimization, *, model: PreTrainedModel, steps: int, device: str, seed: int, folder: Path
) -> TrainingArguments:
    """Arguments for a training of `steps` steps of `model`; checkpoints go to `folder`.

    Where several processes train together each takes its part of every batch. Raises InputError where a batch cannot be
    divided among them.
    """
    if optimization.batch_size % count():
        raise InputError(
            f"batch_size is {optimization.batch_size}, which {count()} processes cannot share evenly. Use a multiple "
            "of it, or another number of processes."
        )
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=optimization.batch_size // count(),
        learning_rate=optimization.learning_rate_at(hidden_size(model)),
        weight_decay=optimization.weight_decay,
        warmup_steps=round(steps * optimization.warmup_share),
        lr_scheduler_type="linear",
        bf16=optimization.mixed_precision == "auto" and trains_in_bfloat16(model, device),
        use_cpu=device == "cpu",
        seed=seed,
        remove_unused_columns=False,
        logging_strategy="no",
        # Otherwise a NaN loss is replaced by the average of earlier ones, and nobody sees it.
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to=[],
        dataloader_num_workers=0,
        # Every parameter of a learner has a gradient; a search for those that have none takes time in each step.
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=device != "cpu",
    )


def trains_in_bfloat16(model: PreTrainedModel, device: str) -> bool:
    """True where both the hardware and the model's own code compute with bfloat16 products."""
    return computes_bfloat16(device) and family_of(model.config).bfloat16


def computes_bfloat16(device: str) -> bool:
    """True where bfloat16 products are computed in hardware."""
    if device == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return torch.cuda.is_bf16_supported()


def steps_of(examples: int, batch_size: int, epochs: float) -> int:
    """How many optimizer steps there are in all."""
    per_epoch = -(-examples // batch_size)
    return max(1, round(per_epoch * epochs))


@dataclass(frozen=True)
class Mean:
    """A loss of one process's rows. value: a mean. over: what the sum in it was divided by, asked for where several
    processes train together."""

    value: torch.Tensor
    over: Callable[[], float]


class ResumableTrainer(Trainer):
    """Transformers' Trainer, whose batches follow from the seed and the epoch alone, and whose loss is that of the
    whole batch, in however many parts several processes compute it.

    Its own sampler draws from the global generator, whose state at the start of a later epoch is lost in a kill: a
    resumed training would see other batches. And a sampler that waits to be told its epoch is not told where a resumed
    epoch is shared among processes: accelerate's shards hide it from the Trainer.
    """

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The model's own, a mean over labels."""
        if count() == 1:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        inputs = self.counting(inputs)
        # With a number of items, the Trainer would take the loss for a share already, and several times.
        loss, outputs = super().compute_loss(model, inputs, True, None)
        (loss,) = self.of_whole_batch([Mean(loss, lambda: float((inputs["labels"] != UNCOUNTED).sum()))])
        return (loss, outputs) if return_outputs else loss

    def training_step(self, *given: Any, **named: Any) -> torch.Tensor:
        """Forward and backward of a batch."""
        with spending("training: backward"):
            return super().training_step(*given, **named)

    def compute_loss_context_manager(self) -> contextlib.ExitStack:
        """Around the forward of a batch."""
        around = super().compute_loss_context_manager()
        around.enter_context(spending("training: forward"))
        return around

    def counting(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """`inputs` without the rows that only fill up an epoch's last batch; one of them stays where all do."""
        return {name: value[: max(1, self._own_rows())] for name, value in inputs.items()} if count() > 1 else inputs

    def of_whole_batch(self, means: Sequence[Mean]) -> list[torch.Tensor]:
        """The means as parts of those of the whole batch: their gradients, averaged over the processes as is done next,
        are its gradients. All processes call it at the same point, with as many."""
        if count() == 1:
            return [mean.value for mean in means]
        own = [mean.over() if self._own_rows() else 0.0 for mean in means]
        # Where nothing counts anywhere the loss is 0 as it is.
        shares = [over / whole if whole else 0.0 for over, whole in zip(own, totals(own), strict=True)]
        return [mean.value * (share * count()) for mean, share in zip(means, shares, strict=True)]

    def _own_rows(self) -> int:
        batch = self.args.train_batch_size * count()
        return own_rows(len(self.train_dataset), batch, self.state.global_step, count(), number())  # type: ignore[arg-type]

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        dataset: Any = self.train_dataset if train_dataset is None else train_dataset
        # Whole batches, of which each process takes its part: as many processes as one see the same.
        batch = self.args.train_batch_size * count()
        steps = -(-len(dataset) // batch)
        order = batch, self.args.seed, lambda: self.state.global_step // steps
        if "together" in dataset.column_names:
            return SetsOfSimilarLengths(dataset["length"], dataset["together"], *order)
        return SimilarLengths(dataset["length"], *order)


def own_rows(examples: int, batch_size: int, step: int, processes: int, process: int) -> int:
    """How many rows of its part of a batch count in a process (from 0), 0 to batch_size / processes.

    step: from 0, through all epochs. Accelerate cuts each batch into one part after the other. The last of an epoch may
    be short: it fills its parts up, at the end, with rows from the epoch's beginning, which have counted already.
    """
    part = batch_size // processes
    left = examples - step % -(-examples // batch_size) * batch_size
    return min(max(left - process * part, 0), part)


class SimilarLengths(LengthGroupedSampler):
    """Rows in an order in which batches have similar lengths: little is wasted on padding, twice as fast on short
    texts. epoch: asked at the start of each; the order follows from it and the seed.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int, epoch: Callable[[], int]) -> None:
        super().__init__(batch_size, lengths=list(lengths), generator=torch.Generator())
        self._seed, self._epoch = seed, epoch

    def __iter__(self) -> Iterator[int]:
        self.generator.manual_seed(self._seed + self._epoch())
        return super().__iter__()


class SetsOfSimilarLengths(SimilarLengths):
    """The same for rows of which some are compared: those of a set follow each other, so that a batch holds them, but
    where its end cuts a set in two. together: the number of each row's set."""

    def __init__(
        self, lengths: Sequence[int], together: Sequence[int], batch_size: int, seed: int, epoch: Callable[[], int]
    ) -> None:
        sets: dict[int, list[int]] = {}
        for row, name in enumerate(together):
            sets.setdefault(name, []).append(row)
        self._sets, known = list(sets.values()), list(lengths)
        super().__init__([max(known[row] for row in rows) for rows in self._sets], batch_size, seed, epoch)

    def __iter__(self) -> Iterator[int]:
        return (row for place in super().__iter__() for row in self._sets[place])

    def __len__(self) -> int:
        return sum(map(len, self._sets))


def run_training(trainer: Trainer, folder: Path, title: str) -> None:
    """Train to the end, from the last whole checkpoint in `folder` where there is one. Raises DiskFullError where the
    disk cannot hold a checkpoint."""
    trainer.remove_callback(ProgressCallback)
    if is_main():
        trainer.add_callback(_Progress(title))
    trainer.add_callback(_TimedCheckpoints())
    last = last_checkpoint(folder)
    if last is None and any(folder.glob(f"checkpoint-*/{WHOLE}")):
        tqdm.write(f"warning: the checkpoint in {folder} is damaged; {title} begins anew", file=sys.stderr)
    _keep_only(last, folder)
    with spending("training: optimizer, batches, checkpoints"):
        trainer.train(resume_from_checkpoint=None if last is None else str(last))


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end, and to the disk, and of which every byte is as it was."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{WHOLE}") if sums_of(path.parent) == _told(path)]
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def sums_of(checkpoint: Path) -> dict[str, str]:
    """A checksum of each of a checkpoint's files."""
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != WHOLE)
    return {path.relative_to(checkpoint).as_posix(): xxh3_of(path) for path in files}


def _told(path: Path) -> Any:
    """What a checkpoint's marker says of its files; None where it is damaged itself."""
    try:
        return parse_json(read_regular(path))
    except (OSError, ValueError):
        return None


def _keep_only(checkpoint: Path | None, folder: Path) -> None:
    for path in folder.glob("checkpoint-*"):
        if path != checkpoint:
            # Half removed, it must not pass for whole.
            (path / WHOLE).unlink(missing_ok=True)
            shutil.rmtree(path)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _TimedCheckpoints(TrainerCallback):
    """A kill costs at most half a minute, and a short training writes nothing."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask for a checkpoint once enough time has passed."""
        if same(time.monotonic() - self._last >= CHECKPOINT_SECONDS) and state.global_step < state.max_steps:
            if is_main():
                _require_room(kwargs["model"], Path(args.output_dir))
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Bring the new checkpoint to the disk, remove the one before, and count from here."""
        self._last = time.monotonic()
        if state.is_world_process_zero:
            folder = Path(args.output_dir)
            checkpoint = folder / f"checkpoint-{state.global_step}"
            for path in (*checkpoint.iterdir(), checkpoint):
                _flush(path)
            (checkpoint / WHOLE).write_text(json.dumps(sums_of(checkpoint)), encoding="utf-8")
            _flush(checkpoint / WHOLE)
            _flush(checkpoint)
            _keep_only(checkpoint, folder)


def _require_room(model: Any, folder: Path) -> None:
    """Raise DiskFullError where a checkpoint does not fit: torch would only say that its file ended early."""
    folder.mkdir(parents=True, exist_ok=True)
    # The weights, and the optimizer's two moments.
    needed = 3 * sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DiskFullError.of("store", folder, what="a checkpoint", needed_bytes=needed, free_bytes=free)


class _Progress(ProgressCallback):
    """The Trainer's bar, with the stage's name, gone when done."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = title

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the bar."""
        self.training_bar = tqdm(total=state.max_steps, desc=self._title, unit="step", dynamic_ncols=True, leave=False)
        self.current_step = 0

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Print nothing."""
