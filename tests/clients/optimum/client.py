"""Optimum with Transformers 4.57: a model for features from ONNX Runtime, pooled as its users pool. One at a time."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import torch
from optimum.onnxruntime import ORTModelForFeatureExtraction
from transformers import AutoTokenizer

folder, texts, answers = map(Path, sys.argv[1:])
tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
model = ORTModelForFeatureExtraction.from_pretrained(folder, local_files_only=True)
vectors = []
for text in json.loads(texts.read_text()):
    given = tokenizer(text, truncation=True, return_tensors="pt")
    states = model(**given).last_hidden_state
    real = given["attention_mask"][:, :, None].float()
    pooled = (states * real).sum(dim=1) / real.sum(dim=1)
    vectors += torch.nn.functional.normalize(pooled, dim=1).tolist()
answers.write_text(json.dumps({"version": version("optimum-onnx"), "answers": vectors}))
