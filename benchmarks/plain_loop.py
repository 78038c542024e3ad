"""What a user writes who has an export and no Predictor: a session, a tokenizer, batches in the order of arrival."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compress.core.runtime import OneCall
from compress.core.signature import Signature
from compress.deploy.tuning.trial import EXAMPLES


@dataclass(frozen=True)
class PlainLoop:
    """threads: of the session. batch_size: how many texts are computed together, padded to the longest of them."""

    threads: int
    batch_size: int

    def open(self, folder: Path, signature: Signature) -> PlainSession:
        """The export of `folder`, by ONNX Runtime's own defaults but for the threads."""
        return PlainSession(folder, self.threads, self.batch_size)


class PlainSession(OneCall):
    """Answers are labels, by the largest logit."""

    def __init__(self, folder: Path, threads: int, batch_size: int) -> None:
        import onnxruntime
        import tokenizers

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(folder / "model.onnx", options)
        self._tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_padding()
        self._size = batch_size

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """How many answers a call got."""
        texts = json.loads(inputs[EXAMPLES].tobytes())
        answers: list[int] = []
        for start in range(0, len(texts), self._size):
            encoded = self._tokenizer.encode_batch(texts[start : start + self._size])
            ids = np.array([one.ids for one in encoded], dtype=np.int64)
            mask = np.array([one.attention_mask for one in encoded], dtype=np.int64)
            logits = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
            answers += logits.argmax(axis=-1).tolist()
        return np.array([len(answers)])
