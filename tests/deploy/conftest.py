"""Exports of tiny models, as a run leaves them, without a run."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from datasets import Dataset
from transformers import (
    AutoConfig,
    AutoModelForTokenClassification,
    BertModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
)

from compress.core.evaluation import BatchEffect
from compress.core.manifest import write_manifest
from compress.core.serving import Serving
from compress.core.task import Task
from compress.runtimes.onnx.form import OnnxForm
from compress.runtimes.onnxruntime.runtime import OnnxRuntime
from compress.tasks.image_classification import ImageClassification
from compress.tasks.image_processor import load_image_processor
from compress.tasks.sentence_embedding import SentenceEmbedding
from compress.tasks.sentence_folder import load_encoder
from compress.tasks.text_classification import TextClassification
from compress.tasks.token_classification import TokenClassification

HOLDS = BatchEffect(rows=256, batch=32, largest_difference=1e-6, changed=0)
BREAKS = BatchEffect(rows=256, batch=32, largest_difference=0.2, changed=3)
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
TAGS = ("O", "B-END", "I-END")


@dataclasses.dataclass
class Made:
    """An export with the task, the model and the processor that it was made of."""

    folder: Path
    task: Task
    model: PreTrainedModel
    processor: Any

    def outputs(self, rows: Dataset) -> list[np.ndarray]:
        """Torch's, of each encoded row by itself."""
        signature = self.task.signature(self.model.config)
        found = []
        for row in rows:
            batch = self.task.collate([row], self.processor)
            with torch.inference_mode():
                answer = self.model(**{name: batch[name] for name in signature.names})
            found.append(getattr(answer, signature.output.name)[0].numpy())
        return found


def write_export(
    folder: Path,
    made: Made,
    rows: Dataset,
    *,
    serving: bool = True,
    effect: BatchEffect = HOLDS,
    runtime: OnnxForm | None = None,
) -> Made:
    """Everything that a run publishes and a predictor reads. serving: False for a release before that."""
    runtime = runtime or OnnxRuntime(threads=1)
    folder.mkdir(exist_ok=True)
    made.model.config.save_pretrained(folder)
    made.task.save_processor(made.processor, folder)
    signature = made.task.signature(made.model.config)
    batch = made.task.collate([rows[0], rows[1]], made.processor)
    runtime.export(made.model, signature, {name: batch[name] for name in signature.names}, folder)
    kind = type(made.task)
    facts = {
        "parent": None,
        "task": {"_target_": f"{kind.__module__}.{kind.__name__}", **dataclasses.asdict(made.task)},  # type: ignore[call-overload]
        "runtime": {"_target_": f"{type(runtime).__module__}.{type(runtime).__name__}", **vars(runtime)},
    }
    if serving:
        told = Serving(pipeline_tag=kind.pipeline_tag, signature=signature, batch_effect=effect)
        facts["serving"] = told.to_json()
    write_manifest(folder, facts, key="a key")
    return made


@pytest.fixture(scope="session")
def classifier(
    tmp_path_factory: pytest.TempPathFactory,
    make_any_model: Callable[..., PreTrainedModel],
    make_tokenizer: Callable[[], PreTrainedTokenizerFast],
) -> Made:
    """Texts of at most 16 tokens; batches hold."""
    return make_classifier(tmp_path_factory.mktemp("classifier") / "export", make_any_model(), make_tokenizer())


def make_classifier(
    folder: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    *,
    text: str | Sequence[str] = "text",
    serving: bool = True,
    effect: BatchEffect = HOLDS,
    runtime: OnnxForm | None = None,
) -> Made:
    task = TextClassification(text=text, label="label", max_length=16)
    columns = {name: ["kas lon", "mit"] for name in task.text_columns}
    rows = task.encode_unlabelled(Dataset.from_dict(columns), tokenizer, model.config)
    made = Made(folder, task, model, tokenizer)
    return write_export(folder, made, rows, serving=serving, effect=effect, runtime=runtime)


@pytest.fixture(scope="session")
def tagger(tmp_path_factory: pytest.TempPathFactory, make_tokenizer: Callable[[], PreTrainedTokenizerFast]) -> Made:
    """Windows of 12 tokens, of which two share 3 words."""
    task = TokenClassification(
        words="tokens", tags="tags", text="text", spans="spans", scheme="auto", max_length=12, stride=3
    )
    torch.manual_seed(0)
    labels = {"id2label": dict(enumerate(TAGS)), "label2id": {tag: i for i, tag in enumerate(TAGS)}}
    config = AutoConfig.for_model("bert", vocab_size=34, max_position_embeddings=40, pad_token_id=0, **SIZES, **labels)
    model = AutoModelForTokenClassification.from_config(config).eval()
    with torch.no_grad():
        model.classifier.weight *= 20
    source = tmp_path_factory.mktemp("tagger")
    make_tokenizer().save_pretrained(source)
    tokenizer = task.load_processor(source)
    rows = task.encode_unlabelled(Dataset.from_dict({"tokens": [["kas", "lon"], ["mit"]]}), tokenizer, config)
    return write_export(source / "export", Made(source / "export", task, model, tokenizer), rows)


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory, make_tokenizer: Callable[[], PreTrainedTokenizerFast]) -> Made:
    """Vectors of 32 numbers by the mean, with a prompt for queries."""
    source = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    config = AutoConfig.for_model("bert", vocab_size=34, max_position_embeddings=40, **SIZES)
    BertModel(config).save_pretrained(source / "plain")
    model = load_encoder(source / "plain", "mean")
    model.config.sentence_encoder = {**model.config.sentence_encoder, "prompts": {"query": "kas kas "}}
    task = SentenceEmbedding(
        text="text",
        max_length=16,
        pooling=None,
        vector_weight=1,
        ranking_weight=1,
        sharpness=20,
        dimensions=[],
        pairs=False,
        stored=[],
    )
    tokenizer = make_tokenizer()
    tokenizer.model_max_length = 16
    rows = task.encode_unlabelled(Dataset.from_dict({"text": ["kas lon", "mit"]}), tokenizer, model.config)
    return write_export(source / "export", Made(source / "export", task, model, tokenizer), rows)


@pytest.fixture(scope="session")
def image_classifier(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Images of 16 x 16, in colour."""
    source = tmp_path_factory.mktemp("images")
    torch.manual_seed(0)
    config = ViTConfig(image_size=16, patch_size=4, id2label={0: "one", 1: "other"}, **SIZES)
    model = ViTForImageClassification(config).eval()
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(source)
    draw = np.random.default_rng(0)
    for number in range(3):
        PIL.Image.fromarray(draw.integers(255, size=(20, 24, 3)).astype(np.uint8)).save(source / f"{number}.png")
    task = ImageClassification(image="image", label="label")
    images = [{"image": (source / f"{number}.png").read_bytes()} for number in range(3)]
    rows = task.encode_unlabelled(Dataset.from_list(images), load_image_processor(source, config), config)
    made = Made(source / "export", task, model, load_image_processor(source, config))
    return write_export(source / "export", made, rows)


@pytest.fixture
def export_copy(classifier: Made, tmp_path: Path) -> Path:
    """The classifier's export, for a test that writes into it."""
    shutil.copytree(classifier.folder, tmp_path / "export")
    return tmp_path / "export"
