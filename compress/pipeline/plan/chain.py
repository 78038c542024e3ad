"""A recipe walked through as a run would, and what is left to do at each step."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from compress.core.evaluation import Evaluation
from compress.measure.effort import Effort, Estimate, estimate
from compress.measure.spare_text import SpareText
from compress.measure.statistics import compare
from compress.pipeline.loaded_recipe import LoadedRecipe
from compress.pipeline.made.artifacts import stage_artifact, teacher_artifact
from compress.pipeline.made.evaluations import evaluation_of, scores_on_test
from compress.pipeline.made.outputs import found_spare_text
from compress.pipeline.make_or_find import find
from compress.pipeline.plan.disk import free_bytes
from compress.pipeline.plan.plan import Need, Piece, Plan
from compress.pipeline.store import Entry, content_key


class Chain:
    """Walks through a recipe as a run would, and keeps what a run would keep."""

    def __init__(
        self,
        loaded: LoadedRecipe,
        store: Path,
        earlier: Iterable[tuple[Effort, float]],
        pace: Callable[[float], float],
    ) -> None:
        self._loaded, self._store, self._earlier, self._pace = loaded, store, list(earlier), pace
        # Artifacts that have to be made first, and bring a processor that nobody has seen yet, by their keys.
        self._unseen: dict[str, str] = {}
        self._teacher_evaluation: Evaluation | None = None

    def plan(self) -> Plan:
        """Of the whole recipe."""
        loaded, recipe = self._loaded, self._loaded.recipe
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
            examples={name: len(loaded.groups(name)) for name in loaded.examples},
            labels=_labels(loaded.config),
            model=str(loaded.config.model_type),
            parameters=loaded.parameters,
            training_bytes=self._training_bytes(pieces),
            teacher_vectors_bytes=self._teacher_vectors_bytes(pieces),
            free=free_bytes(self._store),
            notes=loaded.notes,
        )

    def _teacher(self) -> tuple[Entry, Piece]:
        work = teacher_artifact(self._loaded)
        found = find(self._store, work)
        entry = found or self._imagined(work.key, {"processor": None})
        self._teacher_evaluation = None if found is None else self._evaluation(entry, None)
        return entry, self._piece("teacher", None, entry, found, self._teacher_evaluation, None, "keep")

    def _stage(self, name: str, parent: Entry, at: str, teacher: Entry) -> tuple[Entry, Piece]:
        recipe = self._loaded.recipe
        waits_for = self._unseen.get(str(parent.facts["processor"]))
        if waits_for is None:
            work = stage_artifact(self._loaded, name, parent, teacher)
            key, found = work.key, find(self._store, work)
        else:
            settings = json.dumps(recipe.settings["stages"][name], sort_keys=True, default=str)
            key, found = content_key(what="unseen", parent=parent.key, settings=settings), None
        entry = found or self._imagined(key, parent.facts)
        if found is None and recipe.stages[name].changes_processor:
            entry = replace(entry, facts={"processor": key})
            self._unseen[key] = name
        evaluation = None if found is None else self._evaluation(entry, teacher)
        spare = None
        if evaluation is not None and self._loaded.teacher_encoded.spare is not None:
            spare = found_spare_text(self._loaded, self._store, teacher, entry)
            # What judges too has still to be answered.
            evaluation = None if spare is None else evaluation
        verdict, decision = self._judged(name, evaluation, spare)
        return entry, self._piece(name, at, entry, found, evaluation, verdict, decision, waits_for)

    def _judged(self, name: str, evaluation: Evaluation | None, spare: SpareText | None) -> tuple[str | None, str]:
        if evaluation is None or self._teacher_evaluation is None:
            return None, "keep"
        gate = self._loaded.recipe.gates[name]
        found = compare(
            self._teacher_evaluation,
            evaluation,
            self._loaded.metric,
            confidence=gate.confidence,
            margin=gate.max_accuracy_drop,
            recall_margin=gate.max_recall_drop,
            spare=spare,
        )
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
        exported = self._loaded.recipe.runtime.form is not None
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
        parts = [estimate(self._loaded.effort(part), self._earlier) for part in work]
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        first = known[0] if known else Estimate(0, 1)
        return replace(first, seconds=sum(part.seconds for part in known))

    def _training_seconds(self, stage: str) -> float | None:
        effort = self._loaded.effort(stage)
        return effort.steps * self._pace(effort.tokens) if effort.steps else None

    def _evaluation(self, entry: Entry, teacher: Entry | None) -> Evaluation | None:
        return find(self._store, evaluation_of(self._loaded, entry, teacher))

    def _test(self, pieces: Sequence[Piece], teacher: Entry, best: Entry) -> bool | None:
        if "test" not in self._loaded.examples or any(piece.need != "nothing" for piece in pieces):
            return None
        works = [scores_on_test(self._loaded, entry) for entry in (teacher, best)]
        return any(find(self._store, work) is None for work in works)

    def _imagined(self, key: str, facts: Mapping[str, Any]) -> Entry:
        return Entry(key, self._store / "artifacts" / key, {"processor": facts["processor"]}, reused=False)

    @property
    def _teacher_bytes(self) -> int:
        return 4 * self._loaded.parameters

    def _trained(self, pieces: Sequence[Piece]) -> list[str]:
        return [piece.stage for piece in pieces if piece.need == "all" and self._loaded.effort(piece.stage).steps]

    def _training_bytes(self, pieces: Sequence[Piece]) -> int:
        # A checkpoint: the model with the optimizer's two moments; a new one is whole before the old one goes.
        return 2 * 3 * self._teacher_bytes if self._trained(pieces) else 0

    def _teacher_vectors_bytes(self, pieces: Sequence[Piece]) -> int:
        recipe, config = self._loaded.recipe, self._loaded.config
        examples = len(self._loaded.examples["train"])
        stages = [recipe.stages[name] for name in self._trained(pieces) if name in recipe.stages]
        if not any(training.keeps_hidden_states for stage in stages if (training := stage.training(examples))):
            return 0
        # Half precision, at most every layer.
        return int(2 * self._loaded.tokens * config.hidden_size * config.num_hidden_layers)


def _evaluation_of(stage: str) -> str:
    return f"evaluation of a {'teacher' if stage == 'teacher' else 'student'}"


def _labels(config: Any) -> tuple[str, ...]:
    return tuple(str(label) for _, label in sorted((config.id2label or {}).items()))
