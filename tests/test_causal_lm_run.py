"""A tiny language model through the whole command: texts in, a folder that goes on with a text out."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
from tokenizers import processors
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

import compress
from compress.cli.commands.run import main
from compress.cli.config import compose_settings
from compress.measure import decoder_table
from compress.measure.bystanders import Company
from compress.measure.decoder_table import Request
from compress.measure.worker import greedy
from compress.nn.family import layers_of
from compress.runtimes.onnxruntime.runtime import OnnxRuntime
from compress.tasks.causal_lm import CausalLanguageModel

from .quick import LANGUAGE_MODEL

WORDS = [f"{a}{b}" for a in ("ka", "lo", "mi", "nu", "pe", "ra") for b in ("s", "t", "n", "m", "r")]
QUICK = (
    *(*LANGUAGE_MODEL, "order=[distill,quantize]", "stages.distill.layers=2"),
    "stage/quantize@stages.quantize=dynamic",
)


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory,
    make_tokenizer: Callable[[], PreTrainedTokenizerFast],
    make_decoder: Callable[..., PreTrainedModel],
) -> Path:
    place = tmp_path_factory.mktemp("language")
    model = make_decoder("qwen3", intermediate_size=48, tie_word_embeddings=True, eos_token_id=3)
    model.save_pretrained(place / "model")
    tokenizer = make_tokenizer()
    # A text does not end where the user stopped writing.
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B")
    tokenizer.eos_token = "[SEP]"
    tokenizer.save_pretrained(place / "model")
    draw = np.random.default_rng(0)
    texts = [" ".join(draw.choice(WORDS, size=draw.integers(5, 30))) for _ in range(40)]
    (place / "corpus.txt").write_text("\n\n".join(texts), encoding="utf-8")
    wrong = {"prompt": "kas", "options": ["lot", "min"], "answer": 2}
    (place / "wrong.jsonl").write_text(json.dumps(wrong), encoding="utf-8")
    (place / "long.jsonl").write_text(json.dumps({**wrong, "prompt": "kas " * 70, "answer": 0}), encoding="utf-8")
    return place


def _run(place: Path, folder: str, *more: str) -> Path:
    told = [f"hydra.run.dir={folder}", f"store={place / 'store'}", "model.path=model", "data.train=corpus.txt"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(sys, "argv", ["compress", "-cn", "causal_lm", *told, *QUICK, *more])
        with pytest.raises(SystemExit) as stopped:
            main()
    if stopped.value.code:
        raise stopped.value
    return place / folder


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    return _run(place, "run")


@pytest.fixture(scope="module")
def rows(run: Path) -> list[Any]:
    return [json.loads(line) for line in (run / "ledger.jsonl").read_text(encoding="utf-8").splitlines()]


def test_perplexity_is_what_is_judged(run: Path, rows: list[Any]) -> None:
    assert [row["stage"] for row in rows] == ["teacher", "distill", "quantize"]
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    assert (summary["metric"], summary["metric_unit"]) == ("log_likelihood", "ratio")
    # A model that knows nothing: about one of its 34 tokens.
    assert np.exp(-rows[0]["log_likelihood"]) == pytest.approx(34, rel=0.5)
    assert rows[0]["figures"]["kl_divergence"] == pytest.approx(0, abs=1e-5)
    assert rows[0]["figures"]["same_top_token"] == 1.0
    assert rows[1]["figures"]["kl_divergence"] > 1e-6
    assert {"token_ms", "first_token_ms", "token_speedup", "tokens_per_second"} <= rows[2]["figures"].keys()


def test_a_table_that_is_shared_is_counted_once(rows: list[Any]) -> None:
    # 34 x 32 embeddings; four layers of 3,424; a norm.
    layer = 32 * 32 + 2 * 16 * 32 + 32 * 32 + 2 * 8 + 3 * 32 * 48 + 2 * 32
    assert rows[0]["parameters"] == 34 * 32 + 4 * layer + 32


def test_lines_of_the_card_go_on_with_a_text(run: Path) -> None:
    export = run / "export"
    (lines,) = re.findall(r"```python\n(.*?)```", (export / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert lines.count("\n") == 14
    tokenizer = tokenizers.Tokenizer.from_file(str(export / "tokenizer.json"))
    # Words that this tokenizer knows, and tokens that are no words, too.
    lines = lines.replace("Put the beginning of a text here.", "kas lot min").replace(
        "decode(ids)", "decode(ids, False)"
    )
    done = subprocess.run([sys.executable, "-c", lines], cwd=export, capture_output=True, text=True, check=True)
    prompt = tokenizer.encode("kas lot min").ids
    signature = CausalLanguageModel(text="text", max_length=12, prompt_tokens=4, new_tokens=3).signature(None)
    session = OnnxRuntime(threads=1).open(export, signature)
    told = [int(tokens[0, 0]) for _, (tokens, _) in zip(range(32), greedy(session, np.array([prompt])), strict=False)]
    assert done.stdout.strip() == tokenizer.decode([*prompt, *told], skip_special_tokens=False)


def test_proof_covers_what_is_kept_from_call_to_call(run: Path) -> None:
    proof = json.loads((run / "summary.json").read_text(encoding="utf-8"))["student"]["proof"]
    assert 0.5 <= proof["same_tokens"] <= 1.0


def test_the_page_shows_how_both_go_on(run: Path) -> None:
    told = json.loads((run / "summary.json").read_text(encoding="utf-8"))["student"]["continuations"]
    assert len(told) == 3
    for text in told:
        assert len(text["prompt"].split()) == 4 and text["teacher"] and text["student"]
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "How they go on" in page and told[0]["prompt"] in page


def test_a_student_of_uniform_layers_is_loaded_by_the_library_itself(place: Path) -> None:
    export = _run(place, "distilled", "order=[distill]", "runtime=torch") / "export"
    ours, theirs = compress.load(export), AutoModelForCausalLM.from_pretrained(export)
    ids = torch.tensor([[5, 6, 7, 8]])
    told = [
        model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False)
        for model in (ours, theirs)
    ]
    assert told[0].tolist() == told[1].tolist()
    assert theirs.config.num_hidden_layers == 2


def test_a_speed_that_nothing_works_towards_is_told(place: Path, run: Path) -> None:
    told = json.loads(
        (
            _run(place, "asked", "objective.speedup=4", "order=[quantize]", "stage/quantize@stages.quantize=blocks")
            / "summary.json"
        ).read_text(encoding="utf-8")
    )
    assert any("objective.speedup is 4, and no stage of order=[quantize]" in note for note in told["notes"])


@pytest.mark.parametrize(("asked", "order"), [((), ["quantize"]), (("objective.speedup=4",), ["prune", "quantize"])])
def test_a_speed_decides_what_is_done(asked: tuple[str, ...], order: list[str]) -> None:
    assert list(compose_settings("causal_lm", asked).order) == order


def _priced(
    runtime: Any,
    parts: Iterator[tuple[Any, PreTrainedModel]],
    teacher: Path,
    signature: Any,
    retry_seconds: float,
) -> tuple[dict[Any, Request], Company]:
    """A machine on which a request takes 1 ms, of the prompt, and each layer in eight bits 1 ms for each of its two
    groups of keys and values and 1 for its neurons, all but a quarter of it after the prompt; in FP32 twice as long."""

    def request(layers: Sequence[tuple[int, int]], times: int) -> Request:
        work = times * sum(groups + neurons / 48 for groups, neurons in layers)
        return Request(1 + 0.25 * work, 0.75 * work)

    found = {("teacher", 0): request([(2, 48)] * 4, 2)}
    for key, part in parts:
        found[key] = request([(layer.heads, layer.neurons) for layer in layers_of(part)], 1)
    return found, {"foreign_share": None, "disturbed": None}


def test_layers_are_cut_until_a_request_is_as_fast_as_asked(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder_table, "_time", _priced)
    asked = ("objective.speedup=4", "order=[prune,quantize]", "stage/quantize@stages.quantize=blocks")
    export = _run(place, "faster", *asked) / "export"
    # The teacher takes 1 + 4 x 3 x 2 = 25; a quarter of it, and 5% less, are 5.9: 4.9 for what is left of 12 units.
    layers = [(layer.heads, layer.neurons) for layer in layers_of(compress.load(export))]
    taken = 1 + sum(groups + neurons / 48 for groups, neurons in layers)
    assert 4 < taken <= 25 / 4 * 0.95
    rows = [json.loads(line) for line in (place / "faster" / "ledger.jsonl").read_text(encoding="utf-8").splitlines()]
    notes = rows[1]["notes"]
    prompt = 1 + 0.25 * (taken - 1)
    assert any(f"predicted: {taken:.3f} ms after the stages to come, {25 / taken:.1f} times" in note for note in notes)
    told = f"of that {prompt:.3f} ms until the first token, {7 / prompt:.1f} times the teacher's speed, and"
    assert any(note.startswith(told) for note in notes), notes
    summary = json.loads((place / "faster" / "summary.json").read_text(encoding="utf-8"))
    assert summary["objective"]["speedup"] == 4


def test_what_no_cut_reaches_is_told_before_any_work(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(decoder_table, "_time", _priced)
    with pytest.raises(SystemExit) as stopped:
        # A layer of one group and 32 neurons takes 1 + 2 / 3, the rest 1: 25 / 2.67 are 9.4 times, less 5%.
        _run(place, "too_fast", "objective.speedup=9", "order=[prune,quantize]")
    assert stopped.value.code == 2
    assert "Ask for 8.9 times or less" in capsys.readouterr().err


def _artifacts(place: Path) -> set[str]:
    return {path.name for path in (place / "store" / "artifacts").iterdir() if (path / "manifest.json").exists()}


def test_another_request_is_timed_and_nothing_made_anew(place: Path, run: Path) -> None:
    made, evaluations = _artifacts(place), {path.name for path in (place / "store" / "evaluations").iterdir()}
    again = _run(place, "another_request", "workload.new_tokens=4", "workload.prompt_tokens=3")
    assert _artifacts(place) == made
    assert len({path.name for path in (place / "store" / "evaluations").iterdir()} - evaluations) >= 3
    told = json.loads((again / "summary.json").read_text(encoding="utf-8"))["student"]["continuations"]
    assert len(told[0]["prompt"].split()) == 3


def test_another_request_is_another_model_where_its_time_chooses(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder_table, "_time", _priced)
    asked = ("objective.speedup=4", "order=[prune]", "stages.prune.recovery_epochs=0")
    _run(place, "one_request", *asked)
    made = _artifacts(place)
    _run(place, "same_request", *asked)
    assert _artifacts(place) == made
    _run(place, "longer_request", *asked, "workload.new_tokens=4")
    assert len(_artifacts(place) - made) == 1


def test_questions_stand_beside_and_change_nothing(place: Path, run: Path, rows: list[Any]) -> None:
    made = _artifacts(place)
    questions = [
        {"prompt": " ".join(WORDS[i : i + 3]), "options": [WORDS[i + 3], f"{WORDS[i + 4]} {WORDS[i]}"], "answer": i % 2}
        for i in range(12)
    ]
    (place / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions), encoding="utf-8")
    asked = _run(place, "questions", "data.choices=questions.jsonl")
    assert _artifacts(place) == made
    found = [json.loads(line) for line in (asked / "ledger.jsonl").read_text(encoding="utf-8").splitlines()]
    for before, after in zip(rows, found, strict=True):
        assert after["log_likelihood"] == before["log_likelihood"]
        figures = after["figures"]
        assert figures["choices_right"] * 12 == pytest.approx(round(figures["choices_right"] * 12))
        assert figures["choices_right_lower"] < figures["choices_right"] < figures["choices_right_upper"]
        assert figures["kl_divergence"] == before["figures"]["kl_divergence"]
    assert found[0]["figures"]["choices_right_against_teacher"] == 0
    counted = [json.loads((folder / "summary.json").read_text(encoding="utf-8"))["examples"] for folder in (run, asked)]
    assert counted[0] == counted[1]
    page, card = ((asked / name).read_text(encoding="utf-8") for name in ("report.html", "export/README.md"))
    assert "share of choices right" in page and "choices right lower" not in page
    value = f"{found[2]['figures']['choices_right']:.3f} [{found[2]['figures']['choices_right_lower']:.3f}, "
    assert value in card and value in page


def test_second_run_does_nothing_twice(place: Path, run: Path) -> None:
    again = [json.loads(line) for line in (_run(place, "again") / "ledger.jsonl").read_text().splitlines()]
    assert all(row["reused"] for row in again)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("workload.new_tokens=0", "workload.new_tokens is 0"),
        ("workload.prompt_tokens=13", "workload.prompt_tokens is 13"),
        ("objective.max_perplexity_rise=2", "objective.max_perplexity_rise is 2"),
        ("objective.max_accuracy_drop=0.5", "they are one limit"),
        ("data.train=nothing.txt", "no such file"),
        ("data.max_length=100", "this model takes at most 64 tokens"),
        ("runtime=openvino order=[distill]", "does not yet go on with a text"),
        ("model=fine_tuned", "Give its folder: model=folder"),
        ("workload.beams=4", "workload.beams"),
        (
            "objective.workload=bulk",
            "what goes on with a text is timed one request at a time",
        ),
        ("data.choices=corpus.txt", "data.choices is 'corpus.txt'; it must be a .jsonl file"),
        ("data.choices=none.jsonl", "there is no such file"),
        ("data.choices=wrong.jsonl", "data.choices, row 1: 'answer' is 2"),
        ("data.choices=long.jsonl", "data.choices, row 1, option 0: with the prompt it has 71 tokens"),
    ],
)
def test_bad_input_exits_2(place: Path, setting: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        _run(place, "refused", *setting.split())
    assert stopped.value.code == 2
    assert told in capsys.readouterr().err
