"""The whole of a tuning. Clocks are made up but in one test, which starts real processes and looks at no time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from compress.cli.commands.tune import main
from compress.core.evaluation import BatchEffect
from compress.core.recipe import Measurement
from compress.deploy.predictor import Predictor
from compress.deploy.settings import Batching, OnnxServing, Settings
from compress.deploy.tuning import tune as tuning
from compress.deploy.tuning.aim import Measured
from compress.deploy.tuning.trial import SIGNATURE, Serve, Trial, write_calls
from compress.measure.latency import measure_each_in_turns

BREAKS = BatchEffect(rows=256, batch=32, largest_difference=0.2, changed=3)
Clock = Callable[[Settings], float]


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "sample.txt"
    texts = [f"{a} {b}" for a in ("kas", "lon", "mit", "nus") for b in ("per", "rat lon", "kan kas mit", "los")]
    path.write_text("\n".join([*texts, *texts[:4]]), encoding="utf-8")
    return path


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[Clock, Clock | None], None]:
    """`clock(ms, confirming)`: what a call takes by its settings; confirming: in the A/B run, where it differs."""

    def use(ms: Clock, confirming: Clock | None = None) -> None:
        def timed(self: Any, settings: Sequence[Settings], measurement: Measurement = tuning.SEARCH) -> list[Measured]:
            call = ms if confirming is None or measurement is tuning.SEARCH else confirming
            examples = len(self._examples)
            return [
                Measured(
                    settings=one,
                    rounds=tuple(
                        (call(one) * (1 + 0.001 * launch),) * (examples // one.batching.batch_size)
                        for launch in range(measurement.launches)
                        for _ in range(measurement.rounds)
                    ),
                    launches=measurement.launches,
                    examples=examples,
                )
                for one in settings
            ]

        monkeypatch.setattr(tuning._Timer, "__call__", timed)
        monkeypatch.setattr(tuning, "allowed_cpus", lambda: [0, 1])
        monkeypatch.setattr("compress.deploy.predictor.allowed_cpus", lambda: [0, 1])

    return use


def status(*arguments: object) -> int:
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def one_thread_is_better(settings: Settings) -> float:
    return (1.0 if settings.session.threads == 1 else 2.0) * (1 + 0.25 * settings.batching.batch_size)


def test_what_is_better_is_saved_and_used(
    export_copy: Path, sample: Path, tmp_path: Path, clock: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    clock(one_thread_is_better)
    assert status(export_copy, "--texts", sample, "--out", tmp_path / "page.html") == 0
    saved = json.loads((export_copy / "runtime.json").read_text(encoding="utf-8"))
    assert saved["session"]["threads"] == 1
    assert saved["batching"] == {"batch_size": 32, "padding": "longest"}
    assert saved["record"]["against_default"]["ratio"] == pytest.approx(2.0)
    assert saved["record"]["reason"] == "an A/B run in new processes shows it to be better than the default"
    predictor = Predictor(export_copy)
    assert (predictor.settings.session.threads, predictor.settings.batching.batch_size) == (1, 32)
    told = capsys.readouterr().out
    assert "Threads 1 instead of 2: 2.00 [2.00, 2.00] times as many examples per second as the default." in told
    assert "A cache of 0.1 MB would answer 20% of this sample" in told
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Threads 1 instead of 2" in page and "<svg" in page
    assert not re.search(r"<script|src=|href=.http", page)


def test_most_throughput_within_a_latency(export_copy: Path, sample: Path, tmp_path: Path, clock: Callable) -> None:
    # Sixteen texts are timed. A call of 8 takes 3 ms, of 16 it takes 5.
    clock(one_thread_is_better)
    assert status(export_copy, "--texts", sample, "--slo-ms", 4, "--out", tmp_path / "page.html") == 0
    saved = json.loads((export_copy / "runtime.json").read_text(encoding="utf-8"))
    assert (saved["session"]["threads"], saved["batching"]["batch_size"]) == (1, 8)


def test_no_difference_leaves_the_default(
    export_copy: Path, sample: Path, tmp_path: Path, clock: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    clock(lambda settings: 1.0)
    usual = Predictor(export_copy).settings
    assert status(export_copy, "--texts", sample, "--out", tmp_path / "page.html") == 0
    assert Predictor(export_copy).settings == usual
    assert "The default is served: no setting was shown to be better." in capsys.readouterr().out


def test_what_the_second_run_does_not_confirm_is_not_taken(
    export_copy: Path, sample: Path, tmp_path: Path, clock: Callable
) -> None:
    clock(one_thread_is_better, lambda settings: 1.0)
    assert status(export_copy, "--texts", sample, "--out", tmp_path / "page.html") == 0
    saved = json.loads((export_copy / "runtime.json").read_text(encoding="utf-8"))
    assert saved["session"]["threads"] == 2
    assert "did not show what was found to be better; the default stays" in saved["record"]["reason"]


def test_an_aim_that_nothing_reaches_shows_the_nearest(
    export_copy: Path, sample: Path, tmp_path: Path, clock: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    clock(one_thread_is_better)
    assert status(export_copy, "--texts", sample, "--slo-ms", 0.5, "--out", tmp_path / "page.html") == 2
    assert not (export_copy / "runtime.json").exists()
    told = capsys.readouterr().err
    assert "compress-tune: --slo-ms is 0.5, and no setting answers 95% of calls within it. The nearest: 1.25 ms" in told
    assert "with threads 1 and 1 example a call" in told


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "measure_effect", lambda *arguments: BREAKS)


@pytest.mark.usefixtures("breaking")
def test_batches_that_change_answers_are_tried_only_where_asked_for(
    export_copy: Path, sample: Path, tmp_path: Path, clock: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    clock(one_thread_is_better)
    arguments = (export_copy, "--texts", sample, "--slo-ms", 4, "--out", tmp_path / "page.html")
    assert status(*arguments) == 0
    assert Predictor(export_copy).settings.batching.batch_size == 1
    assert "one example is computed at a time" in " ".join(capsys.readouterr().out.split())
    assert status(*arguments, "--batches") == 0
    predictor = Predictor(export_copy)
    assert predictor.settings.batching.batch_size == 8
    assert "they change answers: in batches of 32, 3 of 256 examples" in predictor.notes[0]
    assert "3 of 256 examples get another answer than alone" in " ".join(capsys.readouterr().out.split())


def test_a_call_goes_through_a_process_of_its_own(export_copy: Path, tmp_path: Path) -> None:
    path = tmp_path / "calls.npz"
    assert write_calls(["kas", "lon mit", "per"], 2, path) == 2
    settings = Settings(session=OnnxServing.usual(1, pinned=False), batching=Batching(batch_size=2, padding="longest"))
    trial = Trial(Serve(settings.to_json()), export_copy, SIGNATURE)
    measurement = Measurement(examples=1, launches=2, rounds=2, warmup=0)
    (rounds,) = measure_each_in_turns([trial], [path], [[0, 1]], measurement)
    assert len(rounds) == 4 and all(len(calls) == 2 and min(calls) > 0 for calls in rounds)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tmp}/no", "--texts", "{sample}"], "compress-tune: {tmp}/no is no folder. Give the folder `export`"),
        (["{tmp}", "--texts", "{sample}"], "compress-tune: {tmp} is no export: it has no manifest.json"),
        (["{export}"], "one of the arguments --texts --images is required"),
        (["{export}", "--texts", "{tmp}/none.txt"], "--texts is {tmp}/none.txt, which cannot be read"),
        (["{export}", "--images", "{tmp}"], "reads texts. Give a sample of them: --texts FILE."),
        (["{export}", "--texts", "{sample}", "--slo-ms", "-1"], "--slo-ms is -1.0; it must be greater than 0"),
        (["{export}", "--texts", "{sample}", "--quantile", "2"], "--quantile is 2.0; it must lie in (0, 1)"),
        (["{export}", "--texts", "{sample}", "--out", "{tmp}"], "--out is {tmp}, which is no file"),
    ],
)
def test_bad_input(
    export_copy: Path,
    sample: Path,
    tmp_path: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"tmp": tmp_path, "sample": sample, "export": export_copy}
    assert status(*(argument.format(**places) for argument in arguments)) == 2
    assert message.format(**places) in capsys.readouterr().err


def test_a_changed_model_is_not_tuned(export_copy: Path, sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = export_copy / "model.onnx"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    assert status(export_copy, "--texts", sample) == 2
    assert "is no whole export: model.onnx has changed" in capsys.readouterr().err
