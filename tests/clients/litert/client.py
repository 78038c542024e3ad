"""LiteRT, numpy and tokenizers, without this package: a signature of one row for each length."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy
import tokenizers
from ai_edge_litert.interpreter import Interpreter

folder, texts, answers = map(Path, sys.argv[1:])
tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
model = Interpreter(str(folder / "model.tflite"), num_threads=1)
lengths = sorted(int(name.removeprefix("length_")) for name in model.get_signature_list())
vectors = []
for text in json.loads(texts.read_text()):
    encoded = tokenizer.encode(text)
    length = next(known for known in lengths if known >= len(encoded.ids))
    given = numpy.zeros((2, 1, length), dtype=numpy.int32)
    given[0, 0, : len(encoded.ids)], given[1, 0, : len(encoded.ids)] = encoded.ids, encoded.attention_mask
    (vector,) = model.get_signature_runner(f"length_{length}")(args_0=given[0], args_1=given[1]).values()
    vectors.append(vector[0].tolist())
answers.write_text(json.dumps({"version": version("ai-edge-litert"), "answers": vectors}))
