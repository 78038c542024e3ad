"""What a run would do, before it does anything: stages to make and to reuse, time, and disk."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from filelock import FileLock, Timeout

from compress.core.errors import InputError
from compress.core.evaluation import Evaluation
from compress.core.words import Recipe
from compress.effort import Effort, Estimate, estimate
from compress.measure.evaluate import evaluation_from_json
from compress.measure.statistics import compare
from compress.pace import seconds_per_step
from compress.past import efforts, find
from compress.preflight import check_model, check_order, check_threads
from compress.prepared import Material, Prepared
from compress.store import Entry, content_key

# What a recipe's settings must share to share the data as read and the teacher as looked at.
OF_MATERIAL = ("model", "data", "task", "seed")

Need = Literal["nothing", "measuring", "all"]


@dataclass(frozen=True, kw_only=True)
class Piece:
    """An artifact with what is measured on it.

    stage: `teacher`, or a stage's name. parent: the stage it starts from. key: the artifact's; made up, and in no
    store, where `waits_for` is given: the stage that first has to make the tokenizer that it depends on. need: what is
    left to do. verdict: what an earlier run found, or None. decision: what the run then does; `keep` is assumed where
    there is no verdict yet. seconds: of what is left, None where no earlier work tells. training_seconds: then, where
    it trains, at most so many for that, by the pace of a few steps of a model like the teacher. bytes: kept afterwards
    at most.
    """

    stage: str
    parent: str | None
    key: str
    waits_for: str | None
    need: Need
    verdict: str | None
    decision: str
    seconds: Estimate | None
    training_seconds: float | None
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one recipe would do in one folder.

    pieces: the teacher, and the stages up to the last that will run. skipped: stages after one that is known to stop
    the run. test: whether the test split has to be scored; None where it is not yet known, or there is none. examples:
    of each split. training_bytes: needed for a while beside what is kept. teacher_vectors_bytes: what the teacher says
    inside, kept where it takes at most half of the free disk. free: bytes, where the store is. notes: what the data's
    source decided by itself.
    """

    pieces: tuple[Piece, ...]
    skipped: tuple[str, ...]
    test: bool | None
    examples: Mapping[str, int]
    labels: tuple[str, ...]
    model: str
    parameters: int
    training_bytes: int
    teacher_vectors_bytes: int
    free: int
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Total:
    """Several plans together, what they share counted once.

    stages: artifacts of all plans; distinct: different ones among them; of these, to_make and to_measure are left to
    do and stored are not. seconds: of what is left and known; unknown: pieces whose time no earlier work tells, whose
    training takes at most training_seconds. bytes: kept afterwards at most.
    """

    stages: int
    distinct: int
    to_make: int
    to_measure: int
    stored: int
    seconds: float
    unknown: int
    training_seconds: float
    bytes: int


class Planner:
    """Makes plans, and reads for several recipes once what they share."""

    def __init__(self) -> None:
        self._materials: dict[str, Material] = {}
        self._paces: dict[tuple[str, float], float] = {}
        self._earlier: dict[Path, list[tuple[Effort, float]]] = {}

    def plan(self, recipe: Recipe, folder: Path) -> Plan:
        """What `run(recipe, folder)` would do. Raises InputError where it would; writes nothing."""
        check_order(recipe)
        check_threads(recipe)
        require_writable("hydra.run.dir", folder)
        _require_unused(folder)
        require_writable("store", recipe.store)
        torch.set_num_threads(recipe.runtime.threads)
        material = self._material(recipe)
        prepared = Prepared(recipe, lambda *given: check_model(recipe, folder, *given), material)
        store = recipe.store.resolve()
        if store not in self._earlier:
            self._earlier[store] = list(efforts(store))
        return _Chain(prepared, store, self._earlier[store], lambda tokens: self._pace(recipe, material, tokens)).plan()

    def _pace(self, recipe: Recipe, material: Material, tokens: float) -> float:
        """Seconds for a step on batches of so many tokens."""
        key = f"{id(material)} {recipe.device} {recipe.runtime.threads}"
        if (key, tokens) not in self._paces:
            rows = material.reading.split("train")
            length = sum(rows["length"]) / len(rows)
            middle = sorted(range(len(rows)), key=lambda row: abs(rows["length"][row] - length))
            chosen = [middle[i % len(middle)] for i in range(max(1, round(tokens / length)))]
            batch = material.reading.collate([rows[row] for row in chosen])
            self._paces[key, tokens] = seconds_per_step(material.shape, batch, recipe.task, recipe.device)
        return self._paces[key, tokens]

    def _material(self, recipe: Recipe) -> Material:
        key = json.dumps([recipe.settings[part] for part in OF_MATERIAL], sort_keys=True, default=str)
        if key not in self._materials:
            self._materials[key] = Material.of(recipe)
        return self._materials[key]


def total(plans: Sequence[Plan]) -> Total:
    """The work of all of them, each distinct piece once."""
    pieces = [piece for plan in plans for piece in plan.pieces]
    # A piece that one plan makes is there for the others; what they need less of it is no reason to do less.
    distinct = {piece.key: piece for piece in sorted(pieces, key=lambda piece: ORDER_OF_NEED.index(piece.need))}
    left = [piece for piece in distinct.values() if piece.need != "nothing"]
    return Total(
        stages=len(pieces),
        distinct=len(distinct),
        to_make=sum(piece.need == "all" for piece in left),
        to_measure=sum(piece.need == "measuring" for piece in left),
        stored=len(distinct) - len(left),
        seconds=sum(piece.seconds.seconds for piece in left if piece.seconds is not None),
        unknown=sum(piece.seconds is None for piece in left),
        training_seconds=sum(piece.training_seconds or 0 for piece in left),
        bytes=sum(piece.bytes for piece in left),
    )


ORDER_OF_NEED: tuple[Need, ...] = ("nothing", "measuring", "all")


def require_writable(setting: str, folder: Path) -> None:
    """Raise InputError where nothing could be made in a folder, which need not exist. Nothing is left there."""
    folder = folder.resolve()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        # A file without a name: nobody sees it.
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise InputError(
            f"{setting} is {folder}, which cannot be written ({error.strerror}). Name another folder."
        ) from error


def _require_unused(folder: Path) -> None:
    if not (folder / ".lock").exists():
        return
    try:
        FileLock(folder / ".lock").acquire(timeout=0).lock.release()
    except Timeout:
        raise InputError(
            f"hydra.run.dir is {folder}, in use by a run that is still alive. Wait for it, or name another folder."
        ) from None


class _Chain:
    """Walks through a recipe as a run would, and keeps what a run would keep."""

    def __init__(
        self,
        prepared: Prepared,
        store: Path,
        earlier: Iterable[tuple[Effort, float]],
        pace: Callable[[float], float],
    ) -> None:
        self._prepared, self._store, self._earlier, self._pace = prepared, store, list(earlier), pace
        # Artifacts that have to be made first, and bring a processor that nobody has seen yet, by their keys.
        self._unseen: dict[str, str] = {}
        self._teacher_evaluation: Evaluation | None = None

    def plan(self) -> Plan:
        prepared, recipe = self._prepared, self._prepared.recipe
        teacher, piece = self._teacher()
        pieces, current, at = [piece], teacher, "teacher"
        for name in recipe.order:
            entry, piece = self._stage(name, current, at, teacher)
            pieces.append(piece)
            if piece.decision == "keep":
                current, at = entry, name
            if piece.decision == "stop":
                break
        return Plan(
            pieces=tuple(pieces),
            skipped=recipe.order[len(pieces) - 1 :],
            test=self._test(pieces, teacher, current),
            examples={name: len(split) for name, split in prepared.examples.items()},
            labels=_labels(prepared.config),
            model=str(prepared.config.model_type),
            parameters=prepared.parameters,
            training_bytes=self._training_bytes(pieces),
            teacher_vectors_bytes=self._teacher_vectors_bytes(pieces),
            free=free_bytes(self._store),
            notes=prepared.notes,
        )

    def _teacher(self) -> tuple[Entry, Piece]:
        key = self._prepared.teacher_key()
        found = find(self._store, "artifacts", key)
        entry = found or self._imagined(key, {"processor": None})
        self._teacher_evaluation = None if found is None else self._evaluation(entry, None)
        return entry, self._piece("teacher", None, entry, found, self._teacher_evaluation, None, "keep")

    def _stage(self, name: str, parent: Entry, at: str, teacher: Entry) -> tuple[Entry, Piece]:
        recipe = self._prepared.recipe
        waits_for = self._unseen.get(str(parent.facts["processor"]))
        if waits_for is None:
            key = self._prepared.stage_key(name, parent, teacher)
            found = find(self._store, "artifacts", key)
        else:
            settings = json.dumps(recipe.settings["stages"][name], sort_keys=True, default=str)
            key, found = content_key(what="unseen", parent=parent.key, settings=settings), None
        entry = found or self._imagined(key, parent.facts)
        if found is None and hasattr(recipe.stages[name], "check_processor"):
            entry = replace(entry, facts={"processor": key})
            self._unseen[key] = name
        evaluation = None if found is None else self._evaluation(entry, teacher)
        verdict, decision = self._judged(name, evaluation)
        return entry, self._piece(name, at, entry, found, evaluation, verdict, decision, waits_for)

    def _judged(self, name: str, evaluation: Evaluation | None) -> tuple[str | None, str]:
        if evaluation is None or self._teacher_evaluation is None:
            return None, "keep"
        gate = self._prepared.recipe.gates[name]
        found = compare(self._teacher_evaluation, evaluation, confidence=gate.confidence, margin=gate.max_accuracy_drop)
        verdict = gate.judge(found)
        return verdict.outcome, gate.decide(verdict)

    def _piece(
        self,
        stage: str,
        parent: str | None,
        entry: Entry,
        found: Entry | None,
        evaluation: Evaluation | None,
        verdict: str | None,
        decision: str,
        waits_for: str | None = None,
    ) -> Piece:
        need: Need = "all" if found is None else "measuring" if evaluation is None else "nothing"
        exported = self._prepared.recipe.runtime.needs_export
        # An artifact and its export, neither larger than the teacher.
        seconds = self._seconds(stage, need)
        kept = {"all": 1 + exported, "measuring": int(exported), "nothing": 0}[need] * self._teacher_bytes
        return Piece(
            stage=stage,
            parent=parent,
            key=entry.key,
            waits_for=waits_for,
            need=need,
            verdict=verdict,
            decision=decision,
            seconds=seconds,
            training_seconds=self._training_seconds(stage) if need == "all" and seconds is None else None,
            bytes=kept,
        )

    def _seconds(self, stage: str, need: Need) -> Estimate | None:
        """Of what is left to do; None where a part of it is unknown."""
        work = {
            "all": (stage, _evaluation_of(stage)),
            "measuring": (_evaluation_of(stage),),
            "nothing": (),
        }[need]
        parts = [estimate(self._prepared.effort(part), self._earlier) for part in work]
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        first = known[0] if known else Estimate(0, 1)
        return replace(first, seconds=sum(part.seconds for part in known))

    def _training_seconds(self, stage: str) -> float | None:
        effort = self._prepared.effort(stage)
        return effort.steps * self._pace(effort.tokens) if effort.steps else None

    def _evaluation(self, entry: Entry, teacher: Entry | None) -> Evaluation | None:
        if find(self._store, "exports", self._prepared.export_key(entry)) is None:
            return None
        found = find(self._store, "evaluations", self._prepared.evaluation_key(entry, teacher))
        if found is None:
            return None
        return evaluation_from_json(json.loads((found.folder / "evaluation.json").read_text(encoding="utf-8")))

    def _test(self, pieces: Sequence[Piece], teacher: Entry, best: Entry) -> bool | None:
        if "test" not in self._prepared.examples or any(piece.need != "nothing" for piece in pieces):
            return None
        keys = [self._prepared.test_key(entry) for entry in (teacher, best)]
        return any(find(self._store, "evaluations", key) is None for key in keys)

    def _imagined(self, key: str, facts: Mapping[str, Any]) -> Entry:
        return Entry(key, self._store / "artifacts" / key, {"processor": facts["processor"]}, reused=False)

    @property
    def _teacher_bytes(self) -> int:
        return 4 * self._prepared.parameters

    def _trained(self, pieces: Sequence[Piece]) -> list[str]:
        return [piece.stage for piece in pieces if piece.need == "all" and self._prepared.effort(piece.stage).steps]

    def _training_bytes(self, pieces: Sequence[Piece]) -> int:
        # A checkpoint: the model with the optimizer's two moments; a new one is whole before the old one goes.
        return 2 * 3 * self._teacher_bytes if self._trained(pieces) else 0

    def _teacher_vectors_bytes(self, pieces: Sequence[Piece]) -> int:
        recipe, config = self._prepared.recipe, self._prepared.config
        stages = [recipe.stages[name] for name in self._trained(pieces) if name in recipe.stages]
        if not any(getattr(getattr(stage, "imitation", None), "hidden_weight", 0) for stage in stages):
            return 0
        # Half precision, at most every layer.
        return int(2 * self._prepared.tokens * config.hidden_size * config.num_hidden_layers)


def _evaluation_of(stage: str) -> str:
    return f"evaluation of a {'teacher' if stage == 'teacher' else 'student'}"


def _labels(config: Any) -> tuple[str, ...]:
    return tuple(str(label) for _, label in sorted((config.id2label or {}).items()))


def free_bytes(folder: Path) -> int:
    """Of the disk that a folder is on, which need not exist."""
    return shutil.disk_usage(next(parent for parent in (folder, *folder.parents) if parent.exists())).free
