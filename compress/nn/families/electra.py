"""ELECTRA: BERT's layers, and embeddings that may be narrower than the hidden states."""

from dataclasses import replace

from compress.nn.families.bert import BERT

FAMILIES = [replace(BERT, model_type="electra", mirrors=("embedding_size",), typical={"embedding_size": 16})]
