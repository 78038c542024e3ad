"""Lines of Python that go on with a text in an exported folder, always with the likeliest token."""

from __future__ import annotations

WITH_STATE = """\
import numpy, PACKAGE, tokenizers
tokenizer = tokenizers.Tokenizer.from_file("tokenizer.json")
options = PACKAGE.SessionOptions()
options.log_severity_level = 3
session = PACKAGE.InferenceSession("model.onnx", options)
ids = new = tokenizer.encode("Put the beginning of a text here.").ids
past = [entry for entry in session.get_inputs() if entry.name.startswith("past_key_values")]
state = {entry.name: numpy.zeros((1, entry.shape[1], 0, entry.shape[3]), "float32") for entry in past}
for _ in range(32):
    inputs = {"input_ids": [new], "attention_mask": [[1] * len(ids)]}
    logits, *present = session.run(None, {**inputs, **state})
    state, new = dict(zip(state, present)), [int(logits[0, -1].argmax())]
    ids = ids + new
print(tokenizer.decode(ids))
"""
IN_TORCH = """\
import compress, tokenizers, torch
tokenizer = tokenizers.Tokenizer.from_file("tokenizer.json")
model = compress.load(".")
ids = torch.tensor([tokenizer.encode("Put the beginning of a text here.").ids])
told = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=32, do_sample=False)
print(tokenizer.decode(told[0].tolist()))
"""
