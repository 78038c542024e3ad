"""Tiny random models of every family, with a real tokenizer and a real data file. Nothing here is downloaded."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import pytest
import torch
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from compress.core.context import Context
from compress.core.fact_table import FactTable
from compress.core.latency_table import LatencyTable
from compress.core.signature import Port, Signature
from compress.core.task import TaskDefaults
from compress.core.waiting import OURS, SPINS
from compress.measure import accuracy, bystanders, latency, prove
from compress.measure.bystanders import DISTURBING_STEAL, DISTURBING_WAIT
from compress.measure.processes import Candidate
from compress.measure.worker import load_batches
from compress.methods.training.imitation import Imitation
from compress.methods.training.loop import Optimization
from compress.nn.family import known_families
from compress.tasks.text_classification import TextClassification

# TensorBoard's logging handler closes the stream that it was imported with when logging is configured anew, as Hydra
# does, unless that is the process's own. Under pytest it would be pytest's, and everything after that would break.
with contextlib.suppress(ImportError):
    import absl.logging

    absl.logging.get_absl_handler().python_handler.stream = sys.__stderr__

# Models this small gain nothing from a second thread, and lose much where another process holds the core.
torch.set_num_threads(1)

# Longer than all others together (`pytest --durations=0`, two cores): whole runs of every task, launchers, kills, real
# latency tables, other runtimes, a browser. `make test` leaves them to `make more`.
EXTENSIVE = (
    "cli/commands/test_dry_run.py",
    "cli/sweep/test_grid.py",
    "cli/sweep/test_launchers.py",
    "cli/sweep/test_search.py",
    "deploy/forms/test_write.py",
    "deploy/test_predictor.py",
    "measure/test_classes.py",
    "measure/test_latency_table.py",
    "measure/test_prove.py",
    "measure/test_unfused.py",
    "methods/training/test_processes.py",
    "pipeline/made/test_artifacts.py",
    "report/sweep/test_browser.py",
    "report/tracking/test_run.py",
    "runtimes/openvino/test_runtime.py",
    "test_blame.py",
    "test_causal_lm_run.py",
    "test_doubtful_runs.py",
    "test_images_run.py",
    "test_multi_label_run.py",
    "test_objective.py",
    "test_package.py",
    "test_pairs_run.py",
    "test_post_training.py",
    "test_regression_run.py",
    "test_reranker_run.py",
    "test_sentence_embedding_run.py",
    "test_shared_work.py",
    "test_spare_text_run.py",
    "test_survival.py",
    "test_token_classification_run.py",
    "test_uniform_run.py",
    "test_vocabulary_run.py",
)

# Before any command was run in this process.
SETTINGS = {name: os.environ.get(name) for name in ("PYTHONSAFEPATH", SPINS, OURS)}
WORDS = [f"{a}{b}" for a in ("ka", "lo", "mi", "nu", "pe", "ra") for b in ("s", "t", "n", "m", "r")]
LABELS = ("cold", "warm")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


# Made up: a tiny model of four whole layers takes 13 ms, so that any objective from 1.5 to 50 changes something.
TABLE = LatencyTable(
    teacher=20.0,
    fixed=0.1,
    attention={0: 0.1, 1: 1.0, 4: 2.0},
    ffn={0: 0.1, 16: 1.0, 64: 2.0},
    last_attention={0: 0.01, 1: 0.1, 4: 0.2},
    last_ffn={0: 0.01, 16: 0.1, 64: 0.2},
    low_rank={
        "attention_output": {2: {4: -0.6, 12: -0.2}, 4: {4: -1.2, 12: -0.4}},
        "ffn_in": {8: {4: -0.3, 12: -0.1}, 64: {4: -0.8, 12: -0.3}},
        "ffn_out": {8: {4: -0.3, 12: -0.1}, 64: {4: -0.8, 12: -0.3}},
    },
)


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Thirty words, four special tokens; padding is token 0."""
    vocabulary = {word: i for i, word in enumerate((*SPECIAL, *WORDS))}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **names)


def tiny_model(model_type: str = "bert", layers: int = 4, seed: int = 0) -> PreTrainedModel:
    """Hidden width 32, 4 heads of 8, 64 neurons, two labels; random weights, evaluation mode. Heads that share keys and
    values have two of them. Images are 16 x 16 with three channels, and make 16 patches."""
    family = known_families()[model_type]
    settings: dict[str, Any] = {
        "id2label": dict(enumerate(LABELS)),
        "label2id": {label: i for i, label in enumerate(LABELS)},
        family.layers_field: layers,
        family.heads_field: 4,
        family.hidden_field: 32,
        family.ffn_field: 2 if family.ffn_ratio else 64,
    }
    if family.words is None:
        settings |= {"image_size": 16, "patch_size": 4, "num_channels": 3, "architectures": []}
    else:
        settings |= {"vocab_size": len(SPECIAL) + len(WORDS), "pad_token_id": 0, "max_position_embeddings": 40}
    settings |= {name: 2 for name in (family.sharing_field,) if name is not None}
    settings |= {name: 8 for name in (family.head_size_field,) if name is not None}
    torch.manual_seed(seed)
    config = AutoConfig.for_model(model_type, **(settings | family.typical))
    auto = AutoModelForImageClassification if family.words is None else AutoModelForSequenceClassification
    return auto.from_config(config).eval()


def tiny_decoder(model_type: str = "llama", **settings: Any) -> PreTrainedModel:
    """A language model with random weights, in evaluation mode: 34 words, four layers, hidden width 32, 4 heads of 8
    that share 2 keys and values, 64 neurons, a head of its own; settings: what is otherwise."""
    torch.manual_seed(0)
    plain: dict[str, Any] = {
        "vocab_size": len(SPECIAL) + len(WORDS),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 64,
        "tie_word_embeddings": False,
    }
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **(plain | settings)))
    assert isinstance(model, PreTrainedModel)
    return model.eval()


def byte_level_tokenizer(texts: Sequence[str], size: int, end: str = "<|end|>") -> PreTrainedTokenizerFast:
    """Byte-level BPE: `end`, all bytes, and as many merges found in the texts as make `size` tokens, if there are so
    many."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=[end], initial_alphabet=alphabet)
    backend.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=end)


def tiny_batch(model_type: str, rows: int = 3, length: int = 9, lengths: Sequence[int] | None = None) -> dict[str, Any]:
    """Random inputs for a tiny model. lengths: the tokens of each row that are no padding, all where None."""
    generator = torch.Generator().manual_seed(0)
    if known_families()[model_type].words is None:
        return {"pixel_values": torch.randn(rows, 3, 16, 16, generator=generator)}
    mask = (torch.arange(length) < torch.tensor(lengths or [length] * rows)[:, None]).long()
    ids = torch.randint(len(SPECIAL), len(SPECIAL) + len(WORDS), (rows, length), generator=generator)
    return {"input_ids": ids * mask, "attention_mask": mask}


def write_examples(path: Path, count: int, seed: int = 0) -> Path:
    """Sentences of 3 to 12 words: `warm` where words with an `r` or `m` at the end are in the majority."""
    draw = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            words = draw.choices(WORDS, k=draw.randint(3, 12))
            warm = sum(word[-1] in "rm" for word in words) * 2 > len(words)
            row = {"text": " ".join(words), "label": LABELS[warm], "article": number // 4}
            file.write(json.dumps(row) + "\n")
    return path


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what takes long, before `-m` chooses."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and item.path.relative_to(here).as_posix() in EXTENSIVE:
            item.add_marker(pytest.mark.extensive)


@pytest.fixture
def extensive() -> Sequence[str]:
    """The files of tests that take long, below `tests`."""
    return EXTENSIVE


@pytest.fixture(autouse=True, scope="session")
def any_machine_is_quiet() -> Iterator[None]:
    """Tests run on machines that are not: what a busy one does to a run is told by counters made by hand."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bystanders, "DISTURBING_WAIT", math.inf)
        patch.setattr(bystanders, "DISTURBING_STEAL", math.inf)
        yield


@pytest.fixture
def this_machine_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what tells a busy machine."""
    monkeypatch.setattr(bystanders, "DISTURBING_WAIT", DISTURBING_WAIT)
    monkeypatch.setattr(bystanders, "DISTURBING_STEAL", DISTURBING_STEAL)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """A run in this process leaves its number of threads behind, and sums in another order differ in the last bit."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def no_setting_of_another_run() -> Iterator[None]:
    """A command run in this process tells the processes that it starts not to look into the current folder, and how to
    wait. A fixture that several tests share may have run one before this test began."""
    yield
    for name, before in SETTINGS.items():
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before


@pytest.fixture(autouse=True)
def no_log_of_another_run() -> Iterator[None]:
    """A command run in this process leaves a handler that writes to its run's folder, which goes with the test."""
    yield
    for handler in list(logging.getLogger().handlers):
        if isinstance(handler, logging.FileHandler):
            logging.getLogger().removeHandler(handler)
            handler.close()


@pytest.fixture(params=sorted(known_families()))
def model_type(request: pytest.FixtureRequest) -> str:
    """Every family there is."""
    return str(request.param)


@pytest.fixture(params=sorted(name for name, family in known_families().items() if family.words is not None))
def text_type(request: pytest.FixtureRequest) -> str:
    """Every family that reads tokens."""
    return str(request.param)


@pytest.fixture(params=["bert", "camembert", "distilbert", "electra", "roberta", "xlm-roberta"])
def bert_type(request: pytest.FixtureRequest) -> str:
    """BERT and the families with its layers: post-norm, with a bias everywhere, over tokens."""
    return str(request.param)


@pytest.fixture(params=sorted(name for name, family in known_families().items() if family.fusable))
def fusable_type(request: pytest.FixtureRequest) -> str:
    """Every family whose layers have a fused form."""
    return str(request.param)


@pytest.fixture(params=sorted(name for name, family in known_families().items() if family.attention.plain))
def plain_type(request: pytest.FixtureRequest) -> str:
    """Every family with a key and value for each head, a bias everywhere and no gate: numbers by hand hold for all."""
    return str(request.param)


@pytest.fixture(
    params=sorted(
        name for name, family in known_families().items() if family.attention.plain and not family.fixed_width
    )
)
def width_type(request: pytest.FixtureRequest) -> str:
    """Of these, every family whose hidden width can change."""
    return str(request.param)


@pytest.fixture(
    params=sorted(name for name, family in known_families().items() if family.attention.plain and name != "dinov2")
)
def first_token_type(request: pytest.FixtureRequest) -> str:
    """Of these, every family whose classifier reads the first position alone; DINOv2's reads the mean of the others
    too."""
    return str(request.param)


@pytest.fixture(params=sorted(name for name, family in known_families().items() if not family.attention.fixed_heads))
def heads_type(request: pytest.FixtureRequest) -> str:
    """Every family whose heads can leave one by one, or with those that share their key and value."""
    return str(request.param)


@pytest.fixture(params=sorted(name for name, family in known_families().items() if not family.first_layer))
def depth_type(request: pytest.FixtureRequest) -> str:
    """Every family of which any layer can leave."""
    return str(request.param)


@pytest.fixture
def make_model() -> Callable[..., PreTrainedModel]:
    """`make_model(model_type, layers=4, seed=0)`."""
    return tiny_model


@pytest.fixture(scope="session")
def make_any_model() -> Callable[..., PreTrainedModel]:
    """The same, for what lasts longer than a test."""
    return tiny_model


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    """The tiny tokenizer."""
    return tiny_tokenizer()


@pytest.fixture(scope="session")
def make_tokenizer() -> Callable[[], PreTrainedTokenizerFast]:
    """`make_tokenizer()`: a tiny tokenizer of one's own."""
    return tiny_tokenizer


@pytest.fixture(scope="session")
def make_decoder() -> Callable[..., PreTrainedModel]:
    """`make_decoder(model_type="llama", **settings)`: a tiny language model."""
    return tiny_decoder


@pytest.fixture(scope="session")
def make_byte_level() -> Callable[..., PreTrainedTokenizerFast]:
    """`make_byte_level(texts, size)`: a tokenizer that reads any bytes."""
    return byte_level_tokenizer


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A tiny BERT classifier as a user has it: written by Transformers' own save_pretrained."""
    folder = tmp_path / "teacher"
    tiny_model().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """160 labelled sentences, four to an `article`."""
    return write_examples(tmp_path / "examples.jsonl", 160)


@pytest.fixture
def make_examples() -> Callable[..., Path]:
    """`make_examples(path, count, seed=0)`."""
    return write_examples


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """`small_disk(options)`: a file system in memory, mounted with these options."""
    mounted = []

    def mount(options: str) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True)
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
        mounted.append(folder)
        return folder

    if shutil.which("mount") is None:
        pytest.skip("there is no mount command here")
    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


class TinyImages(TextClassification):
    """Two kinds of images, made up from the sentences, in the place of a task that reads files."""

    splice, vocabulary, tokens = TaskDefaults.splice, TaskDefaults.vocabulary, TaskDefaults.tokens
    same_tokens = TaskDefaults.same_tokens

    def signature(self, config: Any) -> Signature:
        pixels = Port("pixel_values", ("batch", "channels", "height", "width"), "float32")
        fixed = {"channels": 3, "height": 16, "width": 16}
        return Signature(
            inputs=(pixels,), output=Port("logits", ("batch", "labels"), "float32"), mask=None, fixed=fixed
        )

    def _encoded(self, texts: Any, labels: list[int], groups: list[int], processor: Any, config: Any) -> Dataset:
        pixels = torch.randn(len(labels), 3, 16, 16, generator=torch.Generator().manual_seed(0))
        pixels = pixels + torch.tensor(labels)[:, None, None, None]
        columns = {"pixel_values": pixels.tolist(), "labels": labels, "length": [17] * len(labels), "group": groups}
        return Dataset.from_dict(columns)

    def collate(self, rows: Sequence[Mapping[str, Any]], processor: Any) -> dict[str, torch.Tensor]:
        columns = {name: torch.tensor([row[name] for row in rows]) for name in ("pixel_values", "labels")}
        return {**columns, "pixel_values": columns["pixel_values"].float()}


class WorkerHere:
    """What a worker answers, without a process: here stages are counted, and nobody looks at times."""

    pid = os.getpid()

    def __init__(self, candidate: Candidate, batches: Path) -> None:
        self._session = candidate.runtime.open(candidate.folder, candidate.signature)
        self._batches = load_batches(batches)

    def __enter__(self) -> WorkerHere:
        return self

    def __exit__(self, *reason: object) -> None:
        pass

    def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        """Scores or times."""
        if "time" in command:
            return {"milliseconds": [1.0 for _ in command["time"]], "first": [], "peak_bytes": 0, "waits": [0, 1]}
        np.savez(command["outputs"], *[self._session.run(batch) for batch in self._batches])
        return {"rows": len(self._batches)}

    def wait_until_asleep(self) -> None:
        """Nobody else runs."""


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring and proving start no processes, which take most of a tiny run's time."""
    start_no_processes(monkeypatch)


@pytest.fixture(scope="module")
def all_in_this_process() -> Iterator[None]:
    """The same for a run that the tests of a file share."""
    with pytest.MonkeyPatch.context() as patch:
        start_no_processes(patch)
        yield


def start_no_processes(patch: pytest.MonkeyPatch) -> None:
    """See `in_this_process`. Nothing is timed then, so nobody else's measurement is waited for."""
    patch.setattr(latency, "Worker", WorkerHere)
    patch.setattr(accuracy, "Worker", WorkerHere)
    patch.setattr(latency, "one_measurement_at_a_time", contextlib.nullcontext)
    patch.setattr("compress.pipeline.made.exports.prove", prove._prove_here)


@pytest.fixture
def batch(request: pytest.FixtureRequest) -> dict[str, torch.Tensor]:
    """Three rows of 9, 5 and 2 tokens; three images, where a test of every family has come to one that reads these."""
    given = [
        name
        for name in (
            "model_type",
            "text_type",
            "fusable_type",
            "plain_type",
            "width_type",
            "first_token_type",
            "heads_type",
        )
        if name in request.fixturenames
    ]
    return tiny_batch(request.getfixturevalue(given[0]) if given else "bert", lengths=[9, 5, 2])


@pytest.fixture
def notes() -> list[str]:
    """What the stages under test noted through `make_context`."""
    return []


@pytest.fixture
def tables() -> list[FactTable]:
    """What they told through it, part by part."""
    return []


@pytest.fixture
def make_context(tmp_path: Path, notes: list[str], tables: list[FactTable]) -> Callable[..., Context]:
    """`make_context(teacher, count=24, **changes)`: everything that a stage may read, on tiny examples."""

    def make(teacher: PreTrainedModel, count: int = 24, **changes: Any) -> Context:
        images = known_families()[teacher.config.model_type].words is None
        task = (TinyImages if images else TextClassification)(text="text", label="label", max_length=16)
        processor = tiny_tokenizer()
        rows = load_dataset_rows(write_examples(tmp_path / f"context-{count}.jsonl", count))
        train = task.encode(rows, processor, teacher.config, "train")
        settings: dict[str, Any] = {
            "teacher": teacher,
            "teacher_key": "teacher",
            "task": task,
            "processor": processor,
            "train": train,
            "train_fingerprint": f"{count} examples",
            "device": "cpu",
            "seed": 0,
            "threads": 1,
            "work_folder": tmp_path / "work",
            "cache_folder": tmp_path / "cache",
            "note": notes.append,
            "tell": tables.append,
            "latency": lambda sizes, low_rank=False: TABLE,
            "collate": lambda rows: task.collate(rows, processor),
            "spliced": lambda count: task.encode_unlabelled(
                task.splice(rows, count, 0, apart_from=[]), processor, teacher.config
            ),
            "use_processor": lambda processor: None,
        }
        return Context(**(settings | changes))

    return make


@pytest.fixture
def imitation() -> Imitation:
    """Distillation of logits and hidden states in exact FP32, eight examples a step."""
    optimization = Optimization(
        learning_rate=1e-3, reference_width=None, batch_size=8, warmup_share=0, weight_decay=0.01, mixed_precision="off"
    )
    return Imitation(
        temperature=2,
        logits_weight=1,
        hidden_weight=1,
        relation_weight=0,
        relation_heads=4,
        relation_layer=None,
        labels_weight=0,
        spliced=0,
        shortest_epoch=1,
        max_steps=None,
        dropout=None,
        optimization=optimization,
    )


def load_dataset_rows(path: Path) -> Dataset:
    """The rows of a JSON-lines file, without a cache on the disk."""
    return Dataset.from_list([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()])
