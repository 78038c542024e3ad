"""Another form of what a run exported, in a folder of its own, whole or not at all."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from compress.core.errors import InputError
from compress.core.evaluation import Proof
from compress.core.export_form import Exported, ExportForm
from compress.core.json_file import read_regular
from compress.core.manifest import MANIFEST, write_manifest
from compress.core.signature import Signature
from compress.core.task import Task
from compress.core.whole import require_new_folder, whole_folder
from compress.deploy.forms.examples import Batches, largest_of, read_batches
from compress.deploy.forms.judged import JudgedExport, read_judged, require_carried
from compress.deploy.forms.known import form_named
from compress.deploy.forms.proof import prove_form
from compress.measure.environment import allowed_cpus
from compress.report.form_card import form_card, proof_facts
from compress.tasks.text import refused_as

CARD = "README.md"
# As libraries in Rust tell an error of the system, such as safetensors that of a full disk.
OS_ERROR = re.compile(r"\(os error (\d+)\)")
# What a run exported for its own runtime, and says of it.
NOT_COMPANIONS = frozenset(
    {CARD, MANIFEST, "model.onnx", "model.onnx.data", "model.safetensors", "structure.json", "runtime.json"}
)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a form's outputs are compared on: the model's task, what it takes and gives, and real examples."""

    task: Task
    signature: Signature
    batches: Batches


def write_form(folder: Path, name: str, out: Path, examples: Path | None) -> list[str]:
    """Write the form `name` of a run's export, or of an exported folder, into the new folder `out`, and return what is
    to be told. examples: of the user's own, to compare outputs on; None for those of the run's proof.

    Raises InputError for what cannot be used, and StageError where the form answers otherwise than what was judged.
    """
    form = form_named(name, len(allowed_cpus()))
    judged = read_judged(folder)
    require_new_folder(out)
    with _fit_to_be_written(judged, form):
        require_carried(judged, form)
        comparison = _comparison(judged, form, examples) if form.opens else None
        with whole_folder(out) as unfinished:
            lines = _write(judged, form, comparison, unfinished)
    return [*lines, f"written: {out}"]


@contextmanager
def _fit_to_be_written(judged: JudgedExport, form: ExportForm) -> Iterator[None]:
    """Inside, what a library makes of a folder from elsewhere, whose manifest says what its sender liked, is an
    InputError. An error of the disk stays what it is, or becomes it where a library only tells its number."""
    try:
        with refused_as(f"{judged.folder} cannot be written as {form.name}", "Export the model again."):
            yield
    except InputError as error:
        cause = error.__cause__
        if isinstance(cause, OSError):
            raise cause from None
        told = OS_ERROR.search(str(cause))
        if told is not None:
            raise OSError(int(told[1]), os.strerror(int(told[1]))) from cause
        raise


def _comparison(judged: JudgedExport, form: ExportForm, examples: Path | None) -> Comparison:
    """Raises InputError where the task has no such form, or where there are no examples."""
    from compress.nn.checkpoint import read_config
    from compress.pipeline.described import task_of

    if "task" not in judged.facts:
        raise InputError(f"{judged.folder} does not say its task: another release made it. Export it again.")
    task = task_of(judged.folder, judged.facts, {})
    signature = task.signature(read_config(judged.folder))
    if signature.decoding is not None and not form.decodes:
        raise InputError(
            f"--to is {form.name}, which carries models that are called once, and {judged.folder} goes on with a text "
            f"({task.name}). Use what the run exported, --to transformers or --to gguf."
        )
    return Comparison(task=task, signature=signature, batches=read_batches(judged, task, signature, examples))


def _write(judged: JudgedExport, form: ExportForm, comparison: Comparison | None, folder: Path) -> list[str]:
    """Write all files, the manifest last. Returns what is to be told."""
    from compress.nn.checkpoint import load_model
    from compress.nn.forward import torch_batch

    exported = Exported(
        folder=judged.folder,
        model=load_model(judged.folder),
        signature=None if comparison is None else comparison.signature,
        batch={} if comparison is None else torch_batch(largest_of(comparison.batches)),
    )
    told = list(form.write(exported, folder))
    if form.companions:
        _copy_companions(judged.folder, folder)
    proof = None if comparison is None else _prove(judged, form, comparison, folder)
    _write_card(judged, form, folder, exported.signature, told, proof)
    facts = {name: judged.facts[name] for name in ("task", "serving") if name in judged.facts}
    facts |= {"form": form.name, "parent": judged.key, "proof": None if proof is None else dataclasses.asdict(proof)}
    write_manifest(folder, facts, key=judged.key)
    found = {} if proof is None else proof_facts(proof)
    return [*told, *(f"{name}: {value}" for name, value in found.items())]


def _prove(judged: JudgedExport, form: ExportForm, comparison: Comparison, folder: Path) -> Proof:
    from compress.nn.checkpoint import read_structure
    from compress.pipeline.described import runtime_of

    runtime = runtime_of(judged.folder, judged.facts, form.threads)
    integers = any(kind.startswith(("int8", "int4")) for kind in read_structure(judged.folder).kinds())
    return prove_form(
        form,
        folder,
        runtime=runtime,
        export=judged.folder,
        signature=comparison.signature,
        batches=comparison.batches,
        rounded=integers or runtime.rounds,
        vectors=comparison.task.vectors,
    )


def _write_card(
    judged: JudgedExport,
    form: ExportForm,
    folder: Path,
    signature: Signature | None,
    told: Sequence[str],
    proof: Proof | None,
) -> None:
    card = judged.folder / CARD
    text = form_card(
        # For people: a byte that was damaged is no reason to refuse the model.
        read_regular(card).decode("utf-8", errors="replace") if card.is_file() else None,
        name=form.name,
        label=form.label,
        usage=form.usage(signature),
        key=judged.key,
        told=told,
        proof=proof,
    )
    (folder / CARD).write_text(text, encoding="utf-8")


def _copy_companions(source: Path, folder: Path) -> None:
    """The configuration, the processor's files and the like, as far as the form did not write its own."""
    for path in source.iterdir():
        if path.name in NOT_COMPANIONS or (folder / path.name).exists():
            continue
        if path.is_dir():
            shutil.copytree(path, folder / path.name, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(path, folder / path.name)
