"""What is served is what was measured: the task's own reading, and the model in torch."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset

import compress
from compress.core.errors import InputError
from compress.deploy.answers import Labelled, softmax
from compress.deploy.predictor import Predictor

from .conftest import BREAKS, Made, make_classifier

TEXTS = [
    "kas",
    "lot min nus per rat kan los",
    "Kas  ",
    "mit pen",
    " ".join(["ram", "kas"] * 40),
    "nothing known",
]


def torch_scores(made: Made, texts: list[str]) -> np.ndarray:
    rows = made.task.encode_unlabelled(Dataset.from_dict({"text": texts}), made.processor, made.model.config)
    return softmax(np.stack(made.outputs(rows)))


def test_labels_with_the_scores_of_torch_in_their_order(classifier: Made) -> None:
    answers = Predictor(classifier.folder)(TEXTS)
    expected = torch_scores(classifier, TEXTS)
    for answer, scores in zip(answers, expected, strict=True):
        assert isinstance(answer, Labelled)
        assert answer.label == ("cold", "warm")[int(scores.argmax())]
        assert list(answer.scores) == ["cold", "warm"]
        np.testing.assert_allclose(list(answer.scores.values()), scores, atol=1e-5)
        assert answer.score == max(answer.scores.values())


@pytest.mark.parametrize("padding", ["longest", "powers"])
@pytest.mark.parametrize("batch_size", [1, 2, 5, 32])
def test_an_answer_does_not_depend_on_its_batch(classifier: Made, batch_size: int, padding: str) -> None:
    usual = Predictor(classifier.folder, threads=1)
    alone = [answer for text in TEXTS for answer in usual([text])]
    described = usual.settings.to_json() | {"batching": {"batch_size": batch_size, "padding": padding}}
    settings = type(usual.settings).from_json(described)
    for one, other in zip(alone, Predictor(classifier.folder, settings=settings)(TEXTS), strict=True):
        assert isinstance(one, Labelled) and isinstance(other, Labelled)
        np.testing.assert_allclose(list(one.scores.values()), list(other.scores.values()), atol=1e-5)


def test_on_openvino(tmp_path: Path, make_model: Callable, make_tokenizer: Callable) -> None:
    pytest.importorskip("openvino")
    from compress.runtimes.openvino.runtime import OpenVinoRuntime

    runtime = OpenVinoRuntime(threads=1, precision="f32")
    made = make_classifier(tmp_path / "export", make_model(), make_tokenizer(), runtime=runtime)
    predictor = Predictor(made.folder, threads=1, batch_size=2)
    assert predictor.settings.to_json()["session"] == {"threads": 1, "precision": "f32"}
    expected = torch_scores(made, TEXTS)
    for _ in range(2):
        found = [list(answer.scores.values()) for answer in predictor(TEXTS) if isinstance(answer, Labelled)]
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_nothing_asked_nothing_answered(classifier: Made) -> None:
    assert Predictor(classifier.folder)([]) == []


def test_pairs(tmp_path: Path, make_model: Callable, make_tokenizer: Callable) -> None:
    made = make_classifier(tmp_path / "export", make_model("distilbert"), make_tokenizer(), text=["one", "two"])
    predictor = Predictor(made.folder)
    pairs = [("kas lon", "mit"), ("kas", "lon mit " * 20), ("kas " * 30, "lon mit " * 20)]
    columns = {"one": [pair[0] for pair in pairs], "two": [pair[1] for pair in pairs]}
    rows = made.task.encode_unlabelled(Dataset.from_dict(columns), made.processor, made.model.config)
    expected = softmax(np.stack(made.outputs(rows)))
    found = [list(answer.scores.values()) for answer in predictor(pairs) if isinstance(answer, Labelled)]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    with pytest.raises(InputError, match="example 1 is 'kas'; this export reads pairs"):
        predictor(["kas"])


def test_vectors_with_and_without_a_prompt(encoder: Made) -> None:
    predictor = Predictor(encoder.folder)
    rows = encoder.task.encode_unlabelled(
        Dataset.from_dict({"text": [*TEXTS, *("kas kas " + text for text in TEXTS)]}),
        encoder.processor,
        encoder.model.config,
    )
    expected = encoder.outputs(rows)
    np.testing.assert_allclose(np.stack(predictor(TEXTS)), expected[: len(TEXTS)], atol=1e-5)
    np.testing.assert_allclose(np.stack(predictor(TEXTS, prompt="query")), expected[len(TEXTS) :], atol=1e-5)
    with pytest.raises(InputError, match=r"prompt is 'quary'; this export knows query. Did you mean 'query'\?"):
        predictor(TEXTS, prompt="quary")
    (answer,) = predictor(["kas"])
    with pytest.raises(ValueError, match="read-only"):
        answer[0] = 1  # type: ignore[index]


def test_every_word_gets_the_tag_of_the_window_that_judges_it(tagger: Made) -> None:
    documents = [["kas", "lon"], ["mit", "ram", "kas", "lot", "nus"] * 8, ["per"]]
    expected = tagger.task.answered(
        Dataset.from_dict({"tokens": documents}), tagger.model, tagger.processor, tagger.model.config, "test"
    )["teacher_tags"]
    answers = Predictor(tagger.folder)(documents)
    assert [[word.word for word in answer] for answer in answers] == documents
    assert [[word.tag for word in answer] for answer in answers] == list(expected)
    assert len({tag for tags in expected for tag in tags}) > 1


def test_a_text_is_taken_apart_and_its_words_say_where_they_stand(tagger: Made) -> None:
    text = "Kas lon, mit."
    (answer,) = Predictor(tagger.folder)([text])
    assert [(word.word, word.begin, word.end) for word in answer] == [
        ("Kas", 0, 3), ("lon", 4, 7), (",", 7, 8), ("mit", 9, 12), (".", 12, 13),
    ]  # fmt: skip
    assert Predictor(tagger.folder)(["", []]) == [(), ()]


def test_images_by_path_and_by_bytes(image_classifier: Made) -> None:
    paths = [image_classifier.folder.parent / f"{number}.png" for number in range(3)]
    images = Dataset.from_list([{"image": path.read_bytes()} for path in paths])
    rows = image_classifier.task.encode_unlabelled(images, image_classifier.processor, image_classifier.model.config)
    expected = softmax(np.stack(image_classifier.outputs(rows)))
    predictor = Predictor(image_classifier.folder)
    for given in (paths, [path.read_bytes() for path in paths]):
        found = [list(answer.scores.values()) for answer in predictor(given) if isinstance(answer, Labelled)]
        np.testing.assert_allclose(found, expected, atol=1e-4)
    with pytest.raises(InputError, match="example 2 cannot be opened as an image"):
        predictor([paths[0], b"no image"])


def test_batches_that_change_answers_are_not_made_unless_asked_for(
    tmp_path: Path, make_model: Callable, make_tokenizer: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    made = make_classifier(tmp_path / "export", make_model(), make_tokenizer(), effect=BREAKS)
    caplog.clear()
    assert Predictor(made.folder).settings.batching.batch_size == 1
    assert not caplog.records
    asked = Predictor(made.folder, batch_size=8)
    assert asked.settings.batching.batch_size == 8
    (note,) = asked.notes
    assert note == (
        "batches of 8 are asked for, and they change answers: in batches of 32, 3 of 256 examples get another answer "
        "than alone, and outputs differ by up to 0.2."
    )
    assert [(record.levelno, record.message) for record in caplog.records] == [(logging.WARNING, note)]


def test_batches_are_made_where_answers_hold(classifier: Made) -> None:
    predictor = Predictor(classifier.folder)
    assert (predictor.settings.batching.batch_size, predictor.notes) == (32, ())


def test_a_folder_of_an_earlier_release_opens_and_says_what_is_missing(
    tmp_path: Path, make_model: Callable, make_tokenizer: Callable
) -> None:
    made = make_classifier(tmp_path / "export", make_model(), make_tokenizer(), serving=False)
    predictor = Predictor(made.folder)
    assert predictor.settings.batching.batch_size == 1
    assert "does not say whether answers depend on what else is in a batch" in predictor.notes[0]
    expected = torch_scores(made, TEXTS)
    found = [list(answer.scores.values()) for answer in predictor(TEXTS) if isinstance(answer, Labelled)]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_more_threads_than_processors_are_not_used(classifier: Made) -> None:
    predictor = Predictor(classifier.folder, threads=4000)
    assert predictor.settings.session.threads < 4000
    assert predictor.notes[0].startswith("4000 threads are asked for, and this process may use ")


@pytest.fixture
def counted(classifier: Made, monkeypatch: pytest.MonkeyPatch) -> tuple[Predictor, list[int]]:
    """With a cache, and how many rows each call of the runtime had."""
    predictor = Predictor(classifier.folder, cache_bytes=1_000_000)
    run, rows = predictor._session.run, []

    def counting(inputs: dict[str, np.ndarray]) -> np.ndarray:
        rows.append(len(inputs["input_ids"]))
        return run(inputs)

    monkeypatch.setattr(predictor._session, "run", counting)
    return predictor, rows


def test_what_was_answered_is_not_computed_again(counted: tuple[Predictor, list[int]]) -> None:
    predictor, rows = counted
    first = predictor(["kas lon", "mit"])
    assert predictor(["mit", "kas lon"]) == first[::-1]
    assert rows == [2]
    # Read alike, because the tokenizer makes letters small and leaves spaces out.
    assert predictor(["KAS   lon"]) == first[:1]
    assert rows == [2]
    assert predictor.cache is not None
    assert (predictor.cache.hits, predictor.cache.misses) == (3, 2)
    # Now also as it was written.
    predictor(["KAS   lon", "per"])
    assert rows == [2, 1]
    assert (predictor.cache.hits, predictor.cache.misses) == (4, 3)


def test_what_was_asked_in_the_same_words_is_not_even_read(
    counted: tuple[Predictor, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor, rows = counted
    first = predictor(["kas lon"])
    assert predictor(["KAS lon"]) == first
    monkeypatch.setattr(predictor._form, "read", lambda given: pytest.fail(f"{given} was read"))
    assert predictor(["kas lon", "KAS lon"]) == first * 2
    assert rows == [1]


def test_without_a_cache_equal_texts_of_one_call_are_computed_once(classifier: Made, monkeypatch: Any) -> None:
    predictor = Predictor(classifier.folder)
    run, rows = predictor._session.run, []
    monkeypatch.setattr(predictor._session, "run", lambda inputs: rows.append(len(inputs["input_ids"])) or run(inputs))
    one, other, third = predictor(["kas lon", "mit", "Kas lon"])
    assert one == third != other
    assert rows == [2]
    assert predictor.cache is None


def test_a_taggers_cache_gives_each_text_its_own_words(tagger: Made) -> None:
    predictor = Predictor(tagger.folder, cache_bytes=1_000_000)
    (one,), (other,) = predictor(["kas lon"]), predictor(["Kas   lon"])
    assert [(word.word, word.begin) for word in one] == [("kas", 0), ("lon", 4)]
    assert [(word.word, word.begin) for word in other] == [("Kas", 0), ("lon", 6)]


def test_many_threads_get_their_own_answers(classifier: Made) -> None:
    predictor = Predictor(classifier.folder, threads=1, cache_bytes=3000)
    texts = [f"{a} {b}" for a in ("kas", "lon", "mit", "nus") for b in ("per", "rat", "kan", "los")]
    expected = dict(zip(texts, Predictor(classifier.folder, threads=1, batch_size=1)(texts), strict=True))
    wrong: list[str] = []

    def ask(seed: int) -> None:
        draw = np.random.default_rng(seed)
        for _ in range(40):
            asked = [texts[i] for i in draw.integers(len(texts), size=3)]
            for text, answer in zip(asked, predictor(asked), strict=True):
                known = expected[text]
                assert isinstance(answer, Labelled) and isinstance(known, Labelled)
                if abs(answer.scores["cold"] - known.scores["cold"]) > 1e-5:
                    wrong.append(text)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert predictor.cache is not None and 0 < predictor.cache.bytes <= 3000


def test_one_text_by_itself_is_no_list(classifier: Made) -> None:
    with pytest.raises(InputError, match=r"give a list of them: predictor\(\[EXAMPLE\]\)"):
        Predictor(classifier.folder)("kas lon")


@pytest.mark.parametrize("wrong", [None, 3, ["kas"], b"kas"])
def test_what_is_no_text_is_refused_by_its_place(classifier: Made, wrong: Any) -> None:
    with pytest.raises(InputError, match=r"example 2 is .*; it must be a text"):
        Predictor(classifier.folder)(["kas", wrong])


def test_a_folder_that_is_no_export(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no is no folder. Give the folder `export` of a finished run"):
        compress.Predictor(tmp_path / "no")
    with pytest.raises(InputError, match=r"is no export: it has no manifest.json"):
        compress.Predictor(tmp_path)


def test_a_runs_folder_is_told_where_its_export_is(export_copy: Path) -> None:
    with pytest.raises(InputError, match=rf"It is a run's folder: give {export_copy}\."):
        compress.Predictor(export_copy.parent)


def changed_copy(made: Made, folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    shutil.copytree(made.folder, folder)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["facts"].pop("task"), "is no export: its manifest.json is malformed"),
        (lambda m: m["facts"]["serving"].pop("signature"), "is no export: its manifest.json is malformed"),
        (lambda m: m["facts"]["serving"].update(pipeline_tag="text-ranking"), "answers as text-ranking, which is not"),
        (
            lambda m: m["facts"]["runtime"].update(_target_="x.TorchRuntime"),
            "was made for x.TorchRuntime, which is not",
        ),
        (lambda m: m["files"]["model.onnx"].update(bytes=1), r"is damaged: model.onnx has \d+ bytes, not 1"),
    ],
)
def test_a_manifest_that_cannot_be_served(classifier: Made, tmp_path: Path, change: Callable, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Predictor(changed_copy(classifier, tmp_path / "copy", change))


def test_a_task_of_an_earlier_release_that_nobody_knows(classifier: Made, tmp_path: Path) -> None:
    def change(manifest: dict[str, Any]) -> None:
        del manifest["facts"]["serving"]
        manifest["facts"]["task"]["_target_"] = "mine.Ranking"

    with pytest.raises(InputError, match=r"does not say how it is served: its task is mine.Ranking"):
        Predictor(changed_copy(classifier, tmp_path / "copy", change))


def test_a_missing_runtime_says_what_to_install(classifier: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compress.deploy.settings.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install onnxruntime"):
        Predictor(classifier.folder)


def test_a_negative_cache(classifier: Made) -> None:
    with pytest.raises(InputError, match="cache_bytes is -1; it must be at least 0"):
        Predictor(classifier.folder, cache_bytes=-1)


HEAVY = ("torch", "transformers", "hydra", "datasets", "onnx", "scipy", "pandas", "pyarrow", "matplotlib", "xxhash")
SERVE = """
import sys
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {heavy!r}:
            raise ImportError(name)
sys.meta_path.insert(0, Refused())
import compress
answers = compress.Predictor({folder!r}, cache_bytes=10_000)(["kas lon"])
print(answers[0].label, [name for name in {heavy!r} if name in sys.modules])
"""


def test_what_serves_imports_no_heavy_package(classifier: Made) -> None:
    """In a process in which they are not there at all."""
    program = SERVE.format(heavy=HEAVY, folder=str(classifier.folder))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(maxsplit=1)[1].strip() == "[]"


def test_importing_it_opens_nothing(tmp_path: Path) -> None:
    """The cause of a short import: neither a runtime nor a tokenizer is loaded before a folder is opened."""
    program = (
        "import sys, compress; compress.Predictor; "
        f"print([name for name in (*{HEAVY!r}, 'onnxruntime', 'openvino', 'tokenizers', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
