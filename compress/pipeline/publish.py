"""What a run leaves in its folder: `export/`, `summary.json` and `report.html`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from compress.core.evaluation import BUSY, Evaluation
from compress.core.kept_vectors import KeepsVectors, KeptVectors, ports_of
from compress.core.ledger import Row
from compress.core.manifest import write_manifest
from compress.core.metric import Label, Metric
from compress.core.recipe import Recipe
from compress.core.run_files import EXPORT, REPORT, SUMMARY
from compress.core.secrets import masked
from compress.core.serving import Serving
from compress.core.whole import whole_folder, write_whole
from compress.measure.environment import describe_machine
from compress.measure.prove import EXPECTED, PROBE, RAW, READ
from compress.measure.statistics import compare, percentiles
from compress.nn.checkpoint import read_config
from compress.pipeline.store import Entry, bytes_in, full_disk_explained
from compress.report.drawing import Drawing, Plot
from compress.report.labelled import read_labelled
from compress.report.limits import misses_limits
from compress.report.model_card import write_model_card
from compress.report.page import write_page

NOT_EXPORTED = {"manifest.json", PROBE, EXPECTED, RAW, READ}


@dataclass(frozen=True)
class Finding:
    """A stage's artifact, the folder the runtime opens, and what was measured on validation and (perhaps) test.
    vectors: the forms in which it gives its vectors, where others than float were asked for."""

    stage: str
    entry: Entry
    export: Path
    evaluation: Evaluation
    test: Evaluation | None
    vectors: KeptVectors | None = None


def publish(
    recipe: Recipe,
    folder: Path,
    *,
    rows: Sequence[Row],
    teacher: Finding,
    best: Finding | None,
    metric: Metric,
    doubts: Sequence[str],
    examples: Mapping[str, int],
    fingerprints: Mapping[str, str],
    groups: int,
    notes: Sequence[str],
    command: str,
    spent: Mapping[str, float],
    plots: Callable[[Drawing], Sequence[Plot]],
) -> dict[str, Any]:
    """Write everything and return the summary. doubts: what speaks against the teacher itself. spent: seconds up to
    now, by what for. plots: draws those of the report, or finds them drawn."""
    found: dict[str, Any] = {
        "recipe": recipe.name,
        "command": command,
        "task": {
            "name": recipe.task.name,
            "pipeline_tag": recipe.task.pipeline_tag,
            "outputs": "vectors" if recipe.task.vectors else "logits",
        },
        **Label.of(metric).to_json(),
        "runtime": recipe.runtime.name,
        "runtime_label": recipe.runtime.label,
        "at_once": recipe.objective.at_once,
        "teacher": _teacher(teacher),
        "student": None if best is None else _student(recipe, metric, teacher, best, _row_of(rows, best.stage)),
        "exported": None if best is None else _exported(recipe, best, _row_of(rows, best.stage), doubts),
        "labelled": None if best is None else _labelled(recipe, folder, best),
        "vectors": None if best is None or best.vectors is None else _vectors(recipe, metric, teacher, best),
        "doubts": list(doubts),
        "stopped_at": next((row.stage for row in rows if row.decision == "stop"), None),
        "examples": {"train": None, "validation": None, "test": None, **examples, "groups": {"validation": groups}},
        "fingerprints": dict(fingerprints),
        "objective": _objective(recipe, None if best is None else _row_of(rows, best.stage)),
        "gates": {name: _gate(recipe, name) for name in recipe.order},
        "environment": describe_machine(recipe.runtime),
        "seed": recipe.seed,
        "device": recipe.device,
        "settings": recipe.settings,
        "seconds": sum(spent.values()),
        "spent": {name: round(seconds, 2) for name, seconds in spent.items()},
        "notes": list(notes),
    }
    # Before anything reads it: page, card and trackers tell what it holds.
    summary: dict[str, Any] = masked(found)
    if best is not None:
        needed = bytes_in(best.entry.folder) + bytes_in(best.export)
        with full_disk_explained("hydra.run.dir", folder, "the exported folder", needed):
            _write_export(recipe, folder, best, rows, summary)
    text = json.dumps(summary, indent=2, ensure_ascii=False, default=str)
    write_whole(folder / SUMMARY, text)
    write_page(rows, summary, plots(Drawing.of(rows, summary)), folder / REPORT)
    return summary


def _teacher(teacher: Finding) -> dict[str, Any]:
    test = teacher.test
    return {
        **_measured(teacher),
        "torch_ratio": teacher.evaluation.torch_ratio,
        "test": None
        if test is None
        else {
            test.metric: test.value,
            "examples": len(test.statistics),
            **test.figures,
        },
    }


def _student(recipe: Recipe, metric: Metric, teacher: Finding, best: Finding, row: Row) -> dict[str, Any]:
    result = {
        "stage": best.stage,
        **_measured(best),
        "speedup": row.speedup,
        "speedup_interval": row.speedup_interval,
        "speedup_vs_torch": row.speedup_vs_torch,
        "disturbance": None if row.disturbance is None else row.disturbance.to_json(),
        "test": None,
        **_continued(teacher, best),
    }
    if best.test is not None and teacher.test is not None:
        gate = recipe.gates[best.stage]
        found = compare(teacher.test, best.test, metric, confidence=gate.confidence, margin=gate.max_accuracy_drop)
        result["test"] = {
            metric.name: best.test.value,
            **best.test.figures,
            "difference": found.score_difference,
            "interval": found.score_interval,
            "examples": found.examples,
            "confidence": found.confidence,
        }
    return result


def _vectors(recipe: Recipe, metric: Metric, teacher: Finding, best: Finding) -> list[dict[str, Any]]:
    """Of each form of the exported model's vectors what it is worth, against the teacher's in float and against its
    own, on the test split, or on validation where there is none; float first."""
    assert best.vectors is not None
    given = {"test": (teacher.test, best.test), "validation": (teacher.evaluation, best.evaluation)}
    split = "validation" if None in given["test"] else "test"
    before, own = given[split]
    assert before is not None and own is not None
    gate = recipe.gates[best.stage]
    found = []
    for form in best.vectors.forms:
        rows = form.statistics.get(split)
        kept = own if rows is None else _of_form(own, rows, metric)
        told = {"form": form.name, "output": form.output, "bytes_per_million": form.bytes_per_million, "split": split}
        for name, against in {"": before, "own_": own}.items():
            compared = compare(against, kept, metric, confidence=gate.confidence, margin=gate.max_accuracy_drop)
            told |= {f"{name}difference": compared.score_difference, f"{name}interval": compared.score_interval}
        found.append({**told, "value": kept.value, "examples": len(kept.statistics), "confidence": gate.confidence})
    return found


def _of_form(own: Evaluation, rows: np.ndarray, metric: Metric) -> Evaluation:
    statistics = tuple(map(tuple, rows.tolist()))
    return replace(own, statistics=statistics, value=metric.value(rows), latency=None, counts={})


def _continued(teacher: Finding, best: Finding) -> dict[str, Any]:
    """What the two models go on with after the same beginnings, where they do such."""
    pairs = zip(teacher.evaluation.continuations, best.evaluation.continuations, strict=False)
    found = [{"prompt": prompt, "teacher": told, "student": learned} for (prompt, told), (_, learned) in pairs]
    return {"continuations": found} if found else {}


def _measured(finding: Finding) -> dict[str, Any]:
    evaluation = finding.evaluation
    assert evaluation.latency is not None and evaluation.size is not None and evaluation.proof is not None
    p50, p90 = (None, None) if evaluation.latency.disturbed else percentiles(evaluation.latency)
    return {
        "artifact": finding.entry.key,
        "validation": evaluation.value,
        "batch_effect": None if evaluation.batch_effect is None else asdict(evaluation.batch_effect),
        "figures": dict(evaluation.figures),
        **({"by_class": dict(evaluation.by_class)} if evaluation.by_class else {}),
        "size_bytes": evaluation.size.bytes,
        "parameters": evaluation.size.parameters,
        "latency_ms_p50": p50,
        "latency_ms_p90": p90,
        "proof": {
            "torch_exact": evaluation.proof.torch_exact,
            "torch_difference": evaluation.proof.torch_difference,
            "max_difference": evaluation.proof.max_difference,
            "tolerance": evaluation.proof.tolerance,
            "argmax_agreement": evaluation.proof.argmax_agreement,
            "smallest_cosine": evaluation.proof.smallest_cosine,
            "same_tokens": evaluation.proof.same_tokens,
            "rows": evaluation.proof.rows,
        },
    }


def _exported(recipe: Recipe, best: Finding, row: Row, doubts: Sequence[str]) -> dict[str, Any]:
    """proven: nothing is, against a teacher that is worth no more than a guess, or where a busy machine kept the speed
    from being measured."""
    if row.verdict == "passed":
        how = "it passed its gate"
    elif row.verdict == "failed":
        how = "its gate failed, and its on_failure is warn"
    elif misses_limits(row, _gate(recipe, row.stage)):
        how = "its measured values lie outside its limits, though the data cannot prove it, and its on_failure is warn"
    else:
        how = "its measured values lie within its limits, though the data cannot prove it"
    if row.disturbance is not None:
        how += f"; {BUSY}"
    return {
        "stage": best.stage,
        "artifact": best.entry.key,
        "folder": EXPORT,
        "why": f"the last stage that was kept: {how}",
        "proven": row.verdict == "passed" and not doubts and row.disturbance is None,
    }


def _labelled(recipe: Recipe, folder: Path, best: Finding) -> dict[str, Any] | None:
    gate = recipe.gates[best.stage]
    return read_labelled(folder, best.entry.key, -gate.max_accuracy_drop, gate.confidence)


def _objective(recipe: Recipe, row: Row | None) -> dict[str, Any] | None:
    """What was asked and what was reached; None where no stage in the order took the objective up."""
    read = any(recipe.stages[name].uses_latency for name in recipe.order)
    if recipe.objective.speedup is None or not read:
        return None
    return {
        "speedup": recipe.objective.speedup,
        "reached": None if row is None else row.speedup,
        "max_accuracy_drop": recipe.objective.max_accuracy_drop,
    }


def _gate(recipe: Recipe, name: str) -> dict[str, Any]:
    gate = recipe.gates[name]
    fields = (
        "max_accuracy_drop",
        "max_recall_drop",
        "min_speedup",
        "max_batch_effect",
        "confidence",
        "on_failure",
        "on_inconclusive",
    )
    return {field: getattr(gate, field) for field in fields}


def _write_export(recipe: Recipe, folder: Path, best: Finding, rows: Sequence[Row], summary: Mapping[str, Any]) -> None:
    with whole_folder(folder / EXPORT) as unfinished:
        for source in (best.entry.folder, best.export):
            for path in source.iterdir():
                if path.is_dir():
                    shutil.copytree(path, unfinished / path.name, copy_function=shutil.copyfile)
                elif path.name not in NOT_EXPORTED:
                    shutil.copyfile(path, unfinished / path.name)
        usage = recipe.task.usage(recipe.runtime, read_config(best.entry.folder))
        kept = recipe.task.kept_usage(recipe.runtime, recipe.vectors) if isinstance(recipe.task, KeepsVectors) else ""
        write_model_card(unfinished, rows, summary, usage, kept)
        signature = recipe.task.signature(read_config(unfinished))
        settings = {name: recipe.settings[name] for name in ("task", "runtime")}
        serving = Serving(
            pipeline_tag=recipe.task.pipeline_tag,
            signature=replace(signature, more=(*signature.more, *ports_of(signature, recipe.vectors))),
            batch_effect=best.evaluation.batch_effect,
        )
        facts = {"parent": best.entry.facts["parent"], **settings, "serving": serving.to_json()}
        write_manifest(unfinished, facts, key=best.entry.key)


def _row_of(rows: Sequence[Row], stage: str) -> Row:
    return next(row for row in rows if row.stage == stage)
