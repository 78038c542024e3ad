"""What is measured of an artifact: on the validation split with latency, and on the test split."""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from pathlib import Path

from compress.core.evaluation import Evaluation
from compress.core.recipe import Measurement
from compress.measure.batch_effect import measure_batch_effect
from compress.measure.evaluate import (
    bulk_figures,
    candidate_of,
    continuations,
    evaluation_from_json,
    evaluation_to_json,
    request_figures,
    score,
    size_of,
    time_candidate,
    torch_ratio_of,
)
from compress.measure.processes import Candidate
from compress.pipeline.encoded_data import joined_fingerprint
from compress.pipeline.keys import evaluation_key
from compress.pipeline.loaded_recipe import LoadedRecipe
from compress.pipeline.made.batches import batch_file_of, timed_batches_of
from compress.pipeline.made.exports import export_of
from compress.pipeline.make_or_find import Facts, Work, make_or_find
from compress.pipeline.store import Entry, Store
from compress.runtimes.torch.runtime import TorchRuntime

KIND, FILE = "evaluations", "evaluation.json"


def measured(loaded: LoadedRecipe, store: Store, artifact: Entry, teacher: Entry | None) -> Evaluation:
    """The evaluation of `evaluation_of`, made or found. Where `measurement.again` asks for it, the latency of what an
    earlier run left disturbed is measured once more, and nothing else; the quieter of the two is kept."""
    work = evaluation_of(loaded, artifact, teacher)
    entry = make_or_find(store, work.as_entry())
    found = _read(entry)
    assert found.latency is not None
    if not (loaded.recipe.measurement.again and entry.reused and found.latency.disturbed) or work.key in loaded.timed:
        return found
    loaded.timed.add(work.key)

    def make(folder: Path) -> Facts:
        form = make_or_find(store, export_of(loaded, artifact)).folder
        again = _with_latency(found, loaded, store, artifact, teacher, form)
        # The second number tells other processes, which may have found the same, that this entry is another.
        times = entry.facts.get("measured", 1) + 1
        return {**entry.facts, **_write(min(again, found, key=_how_disturbed), folder), "measured": times}

    return _read(store.replace(KIND, entry, make, what="a measurement"))


def evaluation_of(loaded: LoadedRecipe, artifact: Entry, teacher: Entry | None) -> Work[Evaluation]:
    """Proof, scores, size, and latency: in turns with the teacher, or for the teacher itself with plain PyTorch."""
    recipe, encoded = loaded.recipe, loaded.encoded(artifact)
    shown = loaded.encoded(teacher or artifact)
    exported = export_of(loaded, artifact)

    def make(store: Store, folder: Path) -> Facts:
        found = make_or_find(store, exported)
        candidate = candidate_of(recipe.runtime, artifact.folder, found.folder, loaded.signature)
        scored = _score(loaded, store, candidate, artifact, "validation")
        batches = make_or_find(store, batch_file_of(loaded, artifact, "validation"))
        lengths, processor = shown.timed_lengths("validation"), encoded.processor
        rows = encoded.split("validation").select(range(len(lengths)))
        judged = dataclasses.replace(
            scored,
            batch_effect=measure_batch_effect(candidate, rows, recipe.task, processor, loaded.signature, recipe.seed),
            continuations=continuations(
                candidate, batches, lengths, lambda tokens: recipe.task.written(tokens, processor)
            ),
            size=size_of(artifact.folder, found.folder, recipe.runtime),
            proof=found.proof,
        )
        return _write(_with_latency(judged, loaded, store, artifact, teacher, found.folder), folder)

    split = joined_fingerprint("validation", encoded, shown)
    against = "" if teacher is None else teacher.key
    return Work(
        kind=KIND,
        key=evaluation_key(recipe, artifact.key, against, split, timed=True),
        make=make,
        read=_read,
        what="a measurement",
        needs=(exported,),
        effort=partial(loaded.effort, f"evaluation of a {'teacher' if teacher is None else 'student'}"),
    )


def scores_on_test(loaded: LoadedRecipe, artifact: Entry) -> Work[Evaluation]:
    """Scores on the test split, which nothing else reads."""
    exported = export_of(loaded, artifact)

    def make(store: Store, folder: Path) -> Facts:
        form = make_or_find(store, exported).folder
        candidate = candidate_of(loaded.recipe.runtime, artifact.folder, form, loaded.signature)
        return _write(_score(loaded, store, candidate, artifact, "test"), folder)

    split = loaded.encoded(artifact).fingerprint("test")
    return Work(
        kind=KIND,
        key=evaluation_key(loaded.recipe, artifact.key, "", split, timed=False),
        make=make,
        read=_read,
        what="the scores on the test split",
        needs=(exported,),
    )


def _with_latency(
    judged: Evaluation, loaded: LoadedRecipe, store: Store, artifact: Entry, teacher: Entry | None, form: Path | None
) -> Evaluation:
    """With the latency as it is measured now. form: the folder of the artifact's export, as in Export."""
    candidate = candidate_of(loaded.recipe.runtime, artifact.folder, form, loaded.signature)
    # The same examples for both, chosen by the baseline's lengths; each gets them as it reads them.
    shown = teacher or artifact
    works, lengths = timed_batches_of(loaded, shown, artifact)
    batches = [make_or_find(store, work) for work in works]
    baseline = _baseline(loaded, store, artifact, teacher)
    at_once = loaded.recipe.objective.at_once
    latency = time_candidate(candidate, baseline, lengths, batches, _measurement(loaded, teacher), at_once=at_once)
    of_requests = request_figures(latency, loaded.signature, compared=teacher is not None)
    return dataclasses.replace(
        judged,
        latency=latency,
        figures={**judged.figures, **of_requests, **bulk_figures(latency)},
        torch_ratio=torch_ratio_of(latency) if teacher is None else None,
    )


def _how_disturbed(evaluation: Evaluation) -> tuple[bool, float]:
    latency = evaluation.latency
    assert latency is not None
    told = latency.disturbed_rounds if latency.disturbed_rounds is not None else latency.foreign_share
    return bool(latency.disturbed), told or 0.0


def _baseline(loaded: LoadedRecipe, store: Store, artifact: Entry, teacher: Entry | None) -> Candidate:
    """What the artifact is timed in turns with."""
    runtime = loaded.recipe.runtime
    if teacher is None:
        return candidate_of(TorchRuntime(threads=runtime.threads), artifact.folder, None, loaded.signature)
    form = make_or_find(store, export_of(loaded, teacher)).folder
    return candidate_of(runtime, teacher.folder, form, loaded.signature)


def _measurement(loaded: LoadedRecipe, teacher: Entry | None) -> Measurement:
    given = loaded.recipe.measurement
    # Each start of torch takes seconds, and no gate reads this ratio.
    return dataclasses.replace(given, launches=min(2, given.launches)) if teacher is None else given


def _score(loaded: LoadedRecipe, store: Store, candidate: Candidate, artifact: Entry, split: str) -> Evaluation:
    task, encoded = loaded.recipe.task, loaded.encoded(artifact)
    batches = make_or_find(store, batch_file_of(loaded, artifact, split))
    return score(candidate, artifact.key, encoded.split(split), batches, task, loaded.config, split=split)


def _write(evaluation: Evaluation, folder: Path) -> Facts:
    (folder / FILE).write_text(json.dumps(evaluation_to_json(evaluation)), encoding="utf-8")
    return {"artifact": evaluation.artifact, "split": evaluation.split}


def _read(entry: Entry) -> Evaluation:
    return evaluation_from_json(json.loads((entry.folder / FILE).read_text(encoding="utf-8")))
