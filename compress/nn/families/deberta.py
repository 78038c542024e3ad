"""DeBERTa: BERT's layers, whose queries and keys also meet those of the distance between tokens."""

from dataclasses import replace

from compress.nn.block import Embeddings
from compress.nn.families.bert import BERT

# Of version 1.
APART = "its distances have matrices, and its queries and values biases, apart from the matrix that heads lie in"
INPUTS = {name: f"attention.self.{name}_proj" for name in ("query", "key", "value")}

FAMILIES = [
    replace(
        BERT,
        model_type="deberta-v2",
        # Distances go through the matrices of queries and keys too, so that heads leave there with no further cut.
        attention=replace(BERT.attention, inputs=INPUTS, plain=False),
        embeddings=Embeddings(module="embeddings", words="word_embeddings", norm="LayerNorm", from_zero=True),
        mirrors=("pooler_hidden_size",),
        attention_mask="own",
        required={
            "relative_attention": (True, "its attention knows no distances"),
            "share_att_key": (True, "distances have matrices of their own"),
            "conv_kernel_size": (0, "a convolution follows its first layer"),
        },
        typical={
            "relative_attention": True,
            "share_att_key": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_buckets": 4,
            "norm_rel_ebd": "layer_norm",
            "position_biased_input": False,
        },
    ),
    replace(
        BERT,
        model_type="deberta",
        attention=replace(
            BERT.attention,
            inputs={"query_key_value_by_head": "attention.self.in_proj"},
            plain=False,
            fixed_heads=APART,
            more=("attention.self",),
        ),
        embeddings=replace(BERT.embeddings, positions=None),
        fixed_width=APART,
        attention_mask="own",
        # It hides padding by the lowest number of FP32, which bfloat16 does not have.
        bfloat16=False,
        required={"talking_head": (False, "its heads are mixed with each other")},
        typical={
            "relative_attention": True,
            "pos_att_type": ["c2p", "p2c"],
            "max_relative_positions": 4,
            "position_biased_input": False,
        },
    ),
]
