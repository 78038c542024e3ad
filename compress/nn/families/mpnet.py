"""MPNet: RoBERTa's layers, and in all of them the same value for each head and distance between two tokens."""

from dataclasses import replace

from compress.nn.block import AttentionBlock
from compress.nn.families.bert import ROBERTA

SHARED = "all layers share one table with a value for each head and each distance between two tokens"

FAMILIES = [
    replace(
        ROBERTA,
        model_type="mpnet",
        attention=AttentionBlock(
            module="attention.attn",
            inputs={"query": "attention.attn.q", "key": "attention.attn.k", "value": "attention.attn.v"},
            output="attention.attn.o",
            norm="attention.LayerNorm",
            head_attributes=("num_attention_heads",),
            width_attributes=("all_head_size",),
            plain=False,
            fixed_heads=SHARED,
        ),
        embeddings=replace(ROBERTA.embeddings, types=None),
        fixed_width=SHARED,
        # Its positions are counted from this number on, whatever the configuration says.
        typical={"pad_token_id": 1},
    )
]
