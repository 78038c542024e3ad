"""OpenVINO, numpy and tokenizers, without this package: its own representation, in FP32 arithmetic."""

import json
import sys
from pathlib import Path

import numpy
import openvino
import tokenizers

folder, texts, answers = map(Path, sys.argv[1:])
tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
model = openvino.Core().compile_model(folder / "openvino_model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
vectors = []
for text in json.loads(texts.read_text()):
    encoded = tokenizer.encode(text)
    given = {"input_ids": numpy.array([encoded.ids]), "attention_mask": numpy.array([encoded.attention_mask])}
    vectors.append(model(given)["sentence_embedding"][0].tolist())
answers.write_text(json.dumps({"version": openvino.__version__.partition("-")[0], "answers": vectors}))
