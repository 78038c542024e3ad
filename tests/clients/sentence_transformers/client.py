"""sentence-transformers, as its users call it: a folder, texts, and its own choice of batches."""

import json
import sys
from pathlib import Path

import sentence_transformers

folder, texts, answers = map(Path, sys.argv[1:])
model = sentence_transformers.SentenceTransformer(str(folder), device="cpu", local_files_only=True)
vectors = model.encode(json.loads(texts.read_text())).tolist()
answers.write_text(json.dumps({"version": sentence_transformers.__version__, "answers": vectors}))
