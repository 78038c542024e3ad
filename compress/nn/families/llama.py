"""Llama: a decoder, which says what comes next, or whose classifier reads the last token.

Pre-norm, gated, and heads may share keys and values.
"""

from compress.nn.block import AttentionBlock, Decoder, Embeddings, FeedForwardBlock
from compress.nn.family import Family

LLAMA = Family(
    model_type="llama",
    layers="layers",
    attention=AttentionBlock(
        module="self_attn",
        inputs={"query": "self_attn.q_proj", "key": "self_attn.k_proj", "value": "self_attn.v_proj"},
        output="self_attn.o_proj",
        norm="input_layernorm",
        position="pre",
        rms=True,
        sharing_attributes=("num_key_value_groups",),
        plain=False,
    ),
    ffn=FeedForwardBlock(
        module="mlp",
        inputs={"ffn_gate": "mlp.gate_proj", "ffn_in": "mlp.up_proj"},
        output="mlp.down_proj",
        norm="post_attention_layernorm",
        position="pre",
        rms=True,
        activation="mlp.act_fn",
    ),
    embeddings=Embeddings(module="embed_tokens", words=""),
    sharing_field="num_key_value_heads",
    head_size_field="head_dim",
    fixed_width="its heads share keys and values, and would no longer do so evenly",
    attention_mask="own",
    finds_padding=True,
    decoder=Decoder(),
)

FAMILIES = [LLAMA]
