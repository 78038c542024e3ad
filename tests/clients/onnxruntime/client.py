"""ONNX Runtime, numpy and tokenizers, without this package: one text at a time."""

import json
import sys
from pathlib import Path

import onnxruntime
import tokenizers

folder, texts, answers = map(Path, sys.argv[1:])
tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
vectors = []
for text in json.loads(texts.read_text()):
    encoded = tokenizer.encode(text)
    inputs = {"input_ids": [encoded.ids], "attention_mask": [encoded.attention_mask]}
    vectors.append(session.run(["sentence_embedding"], inputs)[0][0].tolist())
answers.write_text(json.dumps({"version": onnxruntime.__version__, "answers": vectors}))
