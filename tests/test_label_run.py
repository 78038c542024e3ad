"""`compress-label`: a run that its labels could not decide is judged by texts that its models answer differently."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import compress
from compress.cli.commands.label import main
from compress.core.manifest import find_damage
from compress.deploy.labelling.sheet import FACTS, TABLE, VERDICT


def status_of(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    return int(stopped.value.code or 0)


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / TABLE).open(encoding="utf-8-sig", newline="") as file:
        delimiter = ";" if ";" in file.readline() else ","
        file.seek(0)
        return list(csv.DictReader(file, delimiter=delimiter))


def fill(folder: Path, label: Callable[[dict[str, str]], str]) -> None:
    """As somebody does in a spreadsheet, and sorts the lines by text."""
    rows = [row | {"label": label(row)} for row in rows_of(folder)]
    with (folder / TABLE).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=";")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: row["text"]))


@pytest.fixture
def make_run(checkpoint: Path, examples: Path, tmp_path: Path, in_this_process: None) -> Callable[..., Path]:
    """Heads and neurons are taken from a model with random weights, and nothing is learned again. It answers half of
    the examples with each label."""
    halve(checkpoint, examples)

    def make(*more: str) -> Path:
        recipe = compress.recipe(
            "text_classification",
            f"model.path={checkpoint}",
            f"data.train={examples}",
            "data.max_length=16",
            f"store={tmp_path / 'store'}",
            "order=[prune]",
            "stage/prune@stages.prune=structured",
            "stages.prune.heads=0.5",
            "stages.prune.neurons=0.25",
            "stages.prune.recovery_epochs=0",
            "gates.prune.on_failure=warn",
            "gates.prune.max_recall_drop=null",
            "blame_seconds=0",
            "device=cpu",
            "runtime.threads=1",
            "measurement.launches=1",
            "measurement.rounds=1",
            *more,
        )
        return compress.run(recipe, tmp_path / "run").folder

    return make


@pytest.fixture
def run(make_run: Callable[..., Path]) -> Path:
    return make_run()


def test_texts_are_drawn_labelled_and_judged(
    make_run: Callable[..., Path],
    tmp_path: Path,
    make_examples: Callable[..., Path],
    examples: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = make_run()
    texts = make_examples(tmp_path / "texts.jsonl", 400, seed=5)
    # The run's own texts are in it too, once more.
    with texts.open("a", encoding="utf-8") as file:
        file.write(examples.read_text(encoding="utf-8"))
    out = tmp_path / "labels"
    assert status_of([str(run), "--texts", str(texts), "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert told.startswith("both models answer 560 texts, one at a time")
    assert f"{len(fresh(texts, examples))} texts that the run has not seen" in told
    assert f"{560 - len(fresh(texts, examples))} are left out, as it learned or chose by them" in told

    expected = answers(run, texts, examples)
    drawn = json.loads((out / FACTS).read_text(encoding="utf-8"))["drawn"]
    differing = {text for text, (before, after) in expected.items() if before != after}
    assert 5 < len(differing) < len(expected) - 5, "the student is to differ on some"
    assert drawn["pool"]["texts"] == sum(1 for _ in fresh(texts, examples))
    assert {row["text"] for row in rows_of(out)} == differing
    for row, before, after in zip(rows_of(out), drawn["teacher"], drawn["student"], strict=True):
        assert (before, after) == expected[row["text"]] and row["answers"] == "cold | warm" and row["label"] == ""
        # A column that the texts have themselves is no place to write into.
        assert row["given label"] in ("cold", "warm")

    # Before they are labelled, and where a label is no class.
    assert status_of([str(out)]) == 2
    assert f"{len(differing)} of {len(differing)} texts have no label, the first is number 1" in capsys.readouterr().err
    fill(out, lambda row: "wram")
    assert status_of([str(out)]) == 2
    assert "label is 'wram', which is no class of the model. Did you mean 'warm'?" in capsys.readouterr().err

    # A labeller who always agrees with the student, then one who agrees with the teacher.
    by_text = dict(expected)
    fill(out, lambda row: by_text[row["text"]][1].upper())
    assert status_of([str(out)]) == 0
    told = capsys.readouterr().out
    assert "proven to lie within the limit" in told
    card = run / "export" / "README.md"
    assert told.endswith(f"told on {run / 'report.html'} and {card}\n")
    assert "proven to lie within the limit" in card.read_text(encoding="utf-8")
    assert find_damage(run / "export") is None
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    assert summary["labelled"]["outcome"] == "passed"
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "proven to lie within the limit" in page and "What each stage gained and cost" in page
    verdict = json.loads((out / VERDICT).read_text(encoding="utf-8"))
    counts = [row["text"] for row in rows_of(out)]
    assert verdict["better"] == len(counts) and verdict["worse"] == 0
    assert verdict["difference"] == pytest.approx(len(counts) / drawn["pool"]["texts"])
    assert verdict["artifact"] == json.loads((run / "summary.json").read_text())["exported"]["artifact"]
    fill(out, lambda row: by_text[row["text"]][0])
    assert status_of([str(out)]) == 3
    assert "shown to lie beyond the limit" in capsys.readouterr().out
    assert "shown to lie beyond the limit" in (run / "report.html").read_text(encoding="utf-8")
    assert "compress-label --help" not in (run / "report.html").read_text(encoding="utf-8")
    assert "**Labels of further texts contradict its limit.**" in card.read_text(encoding="utf-8")
    assert "proven to lie within the limit" not in card.read_text(encoding="utf-8")
    # The same work once more: what was labelled is told still, and of another model it is not.
    before = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    assert json.loads((make_run() / "summary.json").read_text(encoding="utf-8"))["labelled"] == before["labelled"]
    assert "**Labels of further texts contradict its limit.**" in card.read_text(encoding="utf-8")
    # Nor of the same model by another limit, which these labels did not judge by.
    make_run("objective.max_accuracy_drop=0.005")
    assert json.loads((run / "summary.json").read_text(encoding="utf-8"))["labelled"] is None
    assert status_of([str(out)]) == 3
    assert "has had another limit since the texts were drawn" in capsys.readouterr().out
    make_run("stages.prune.neurons=0.5")
    assert json.loads((run / "summary.json").read_text(encoding="utf-8"))["labelled"] is None
    assert status_of([str(out)]) == 3
    assert "has exported another model since the texts were drawn" in capsys.readouterr().out
    shutil.rmtree(run)
    assert status_of([str(out)]) == 3
    assert f"{run}, the run's folder, is not there any more" in capsys.readouterr().out


def test_some_are_drawn_by_whole_groups(
    run: Path, tmp_path: Path, make_examples: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    texts, out = make_examples(tmp_path / "texts.jsonl", 400, seed=5), tmp_path / "labels"
    assert status_of([str(run), "--texts", str(texts), "--out", str(out), "--labels", "6", "--group", "article"]) == 0
    drawn = json.loads((out / FACTS).read_text(encoding="utf-8"))["drawn"]
    assert len(drawn["sizes"]) == 6 and drawn["pool"]["groups"] <= 100
    of_each: dict[int, set[str]] = {}
    for row, group in zip(rows_of(out), drawn["groups"], strict=True):
        of_each.setdefault(group, set()).add(row["article"])
    assert len(of_each) == 6 and all(len(articles) == 1 for articles in of_each.values())


def test_texts_of_groups_that_the_run_has_seen_are_left_out(
    make_run: Callable[..., Path],
    tmp_path: Path,
    make_examples: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    # The run's 160 examples are of articles 0 to 39; a further text without a label is of article 40.
    further = tmp_path / "further.jsonl"
    further.write_text(json.dumps({"text": "kas kas kat kan", "article": 40}) + "\n", encoding="utf-8")
    run, out = make_run("data.group=article", f"data.unlabelled={further}"), tmp_path / "labels"
    lines = make_examples(tmp_path / "given.jsonl", 600, seed=5).read_text(encoding="utf-8").splitlines()
    given = [json.loads(line) for line in lines]
    # Four to an article: 0 to 149. Written as text, as another program may.
    texts = tmp_path / "texts.jsonl"
    rows = [row | {"article": str(row["article"])} for row in given]
    texts.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert status_of([str(run), "--texts", str(texts), "--out", str(out), "--labels", "6"]) == 0
    told = capsys.readouterr().out
    # 41 articles of four texts; of the other 436 some may be equal to one of the run's own.
    assert "164 texts are of groups (article) that the run has seen" in told
    drawn = json.loads((out / FACTS).read_text(encoding="utf-8"))["drawn"]
    new = set(fresh(texts, tmp_path / "examples.jsonl"))
    left = [row for row in rows if int(row["article"]) > 40 and row["text"] in new]
    assert drawn["pool"]["texts"] == len(left) and drawn["seen"] == 600 - len(left)
    assert drawn["pool"]["groups"] == len({row["article"] for row in left}) <= 109
    assert all(int(row["article"]) > 40 for row in rows_of(out))
    # Whole articles are drawn, without --group.
    assert len(drawn["sizes"]) == 6 == len({row["article"] for row in rows_of(out)})

    ask = [str(run), "--out", str(tmp_path / "other"), "--texts"]
    bare, renamed, old = (tmp_path / f"{name}.jsonl" for name in ("bare", "renamed", "old"))
    bare.write_text("".join(json.dumps({"text": row["text"]}) + "\n" for row in rows), encoding="utf-8")
    assert status_of([*ask, str(bare)]) == 2
    said = capsys.readouterr().err
    assert "was made with data.group=article, and --texts has no such column, but text" in said
    assert said.endswith("name the one that holds the same with --group COLUMN.\n")
    old.write_text("".join(json.dumps(row) + "\n" for row in rows[:160]), encoding="utf-8")
    assert status_of([*ask, str(old)]) == 2
    assert "--texts holds only texts of groups (article) that the run has seen" in capsys.readouterr().err
    holed = [row | {"article": None if number == 2 else row["article"]} for number, row in enumerate(rows)]
    old.write_text("".join(json.dumps(row) + "\n" for row in holed), encoding="utf-8")
    assert status_of([*ask, str(old)]) == 2
    assert "1 of --texts have no value in article, which says which group they are of; the first is number 3" in (
        capsys.readouterr().err
    )
    named = [{"text": row["text"], "source": row["article"]} for row in rows]
    renamed.write_text("".join(json.dumps(row) + "\n" for row in named), encoding="utf-8")
    assert status_of([*ask, str(renamed), "--group", "source"]) == 0
    assert "164 texts are of groups (source) that the run has seen" in capsys.readouterr().out


def test_what_cannot_be_drawn_or_judged_is_refused(
    run: Path, tmp_path: Path, make_examples: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    texts, out = make_examples(tmp_path / "texts.jsonl", 150, seed=5), tmp_path / "labels"
    few = make_examples(tmp_path / "few.jsonl", 20, seed=6)
    ask = [str(run), "--out", str(out), "--texts"]

    def refused(arguments: list[str]) -> str:
        assert status_of(arguments) == 2 and not out.exists()
        told = capsys.readouterr().err
        assert told.startswith("compress-label: ") and told.count("\n") == 1
        return told

    assert "it takes 100" in refused([*ask, str(few)])
    assert "--group is articel, which is no column of" in refused([*ask, str(texts), "--group", "articel"])
    assert "--labels is 1; it must be at least 2" in refused([*ask, str(texts), "--labels", "1"])
    assert "--out is missing" in refused([str(run), "--texts", str(texts)])
    assert "is no folder that compress-label wrote" in refused([str(run)])
    assert "it has no summary.json" in refused([str(tmp_path), "--out", str(out), "--texts", str(texts)])
    assert "there is no such file" in refused([*ask, str(tmp_path / "no.jsonl")])
    shutil.rmtree(tmp_path / "store" / "artifacts")
    assert "has not the teacher of it now" in refused([*ask, str(texts)])


def test_texts_that_judged_beside_the_validation_split_are_no_new_ones(
    make_run: Callable[..., Path],
    tmp_path: Path,
    make_examples: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    judged = make_examples(tmp_path / "judged.jsonl", 200, seed=5)
    run, out = make_run(f"data.unlabelled_validation={judged}"), tmp_path / "labels"
    assert status_of([str(run), "--texts", str(judged), "--out", str(out)]) == 2
    assert "holds only texts that the run has seen" in capsys.readouterr().err
    # Others stay, though these are among them.
    texts = make_examples(tmp_path / "texts.jsonl", 200, seed=6)
    with texts.open("a", encoding="utf-8") as file:
        file.write(judged.read_text(encoding="utf-8"))
    assert status_of([str(run), "--texts", str(texts), "--out", str(out)]) == 0
    left_out = int(capsys.readouterr().out.split("has not seen; ")[1].split()[0])
    assert 200 <= left_out <= 210


def test_a_sheet_that_was_changed_is_refused(
    run: Path, tmp_path: Path, make_examples: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    texts, out = make_examples(tmp_path / "texts.jsonl", 300, seed=5), tmp_path / "labels"
    assert status_of([str(run), "--texts", str(texts), "--out", str(out)]) == 0
    fill(out, lambda row: "warm")
    lines = (out / TABLE).read_text(encoding="utf-8").splitlines()
    (out / TABLE).write_text("\n".join([*lines, lines[-1]]), encoding="utf-8")
    assert status_of([str(out)]) == 2
    assert f"line {len(lines) + 1}: number is" in capsys.readouterr().err
    (out / TABLE).write_text("\n".join(lines[:-1]), encoding="utf-8")
    assert status_of([str(out)]) == 2
    assert f"1 of {len(lines) - 1} texts have no label" in capsys.readouterr().err
    (out / TABLE).write_text("\n".join(lines), encoding="utf-8")
    facts = json.loads((out / FACTS).read_text(encoding="utf-8"))
    facts["drawn"]["margin"] = 0.5
    (out / FACTS).write_text(json.dumps(facts), encoding="utf-8")
    assert status_of([str(out)]) == 2
    assert "drawn.json has changed. Draw again, into a new folder." in capsys.readouterr().err


def fresh(texts: Path, examples: Path) -> list[str]:
    """The texts that are in no split of the run."""
    known = {json.loads(line)["text"] for line in examples.read_text(encoding="utf-8").splitlines()}
    found = [json.loads(line)["text"] for line in texts.read_text(encoding="utf-8").splitlines()]
    return [text for text in found if text not in known]


def halve(checkpoint: Path, examples: Path) -> None:
    """Shift what speaks for a label, so that either is the answer for half of the examples."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    texts = [json.loads(line)["text"] for line in examples.read_text(encoding="utf-8").splitlines()]
    with torch.inference_mode():
        logits = model(**tokenizer(texts, padding=True, truncation=True, max_length=16, return_tensors="pt")).logits
        model.classifier.bias[1] -= (logits[:, 1] - logits[:, 0]).median()
    model.save_pretrained(checkpoint)


def answers(run: Path, texts: Path, examples: Path) -> dict[str, tuple[str, str]]:
    """What teacher and student answer to each, by PyTorch alone."""
    settings = json.loads((run / "summary.json").read_text(encoding="utf-8"))["settings"]
    tokenizer = AutoTokenizer.from_pretrained(run / "export")
    models = [compress.load(Path(settings["model"]["path"])), compress.load(run / "export")]
    found = {}
    for text in fresh(texts, examples):
        batch = tokenizer(text, truncation=True, max_length=16, return_tensors="pt")
        with torch.inference_mode():
            logits = [model(**batch).logits[0].numpy() for model in models]
        before, after = (models[0].config.id2label[int(np.argmax(values))] for values in logits)
        found[text] = (before, after)
    return found
