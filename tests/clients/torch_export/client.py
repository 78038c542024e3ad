"""torch and tokenizers: neither Transformers nor this package is installed. Eight texts at a time, padded."""

import importlib.util
import json
import sys
from pathlib import Path

import tokenizers
import torch

assert importlib.util.find_spec("transformers") is None and importlib.util.find_spec("compress") is None
folder, texts, answers = map(Path, sys.argv[1:])
tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.enable_padding()
model = torch.export.load(folder / "model.pt2").module()
vectors = []
given = json.loads(texts.read_text())
for start in range(0, len(given), 8):
    encoded = tokenizer.encode_batch(given[start : start + 8])
    ids = torch.tensor([one.ids for one in encoded])
    mask = torch.tensor([one.attention_mask for one in encoded])
    with torch.inference_mode():
        vectors += model(ids, mask).tolist()
answers.write_text(json.dumps({"version": torch.__version__.partition("+")[0], "answers": vectors}))
