"""Candle, by the package candding, which loads models of its catalogue by name: the folder stands in one's place.

Mean pooling and unit length are what its catalogue says of that model.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

folder, texts, answers = map(Path, sys.argv[1:])
COMMIT = "0" * 40
with tempfile.TemporaryDirectory() as cache:
    place = Path(cache) / "hub" / "models--sentence-transformers--all-MiniLM-L6-v2"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(COMMIT)
    (place / "snapshots" / COMMIT).mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        shutil.copyfile(folder / name, place / "snapshots" / COMMIT / name)
    os.environ |= {"HF_HOME": cache, "HF_HUB_OFFLINE": "1"}
    import candding

    model = candding.TextEmbedding("sentence-transformers/all-MiniLM-L6-v2", device="cpu", dtype="f32")
    vectors = model.embed(json.loads(texts.read_text())).tolist()
answers.write_text(json.dumps({"version": candding.__version__, "answers": vectors}))
