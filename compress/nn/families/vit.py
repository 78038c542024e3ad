"""ViT and DeiT: pre-norm layers over the patches of an image, with a class token in front."""

from dataclasses import replace

from compress.nn.block import AttentionBlock, Embeddings, FeedForwardBlock
from compress.nn.family import Family

VIT = Family(
    model_type="vit",
    layers="layers",
    attention=AttentionBlock(
        module="attention",
        inputs={"query": "attention.q_proj", "key": "attention.k_proj", "value": "attention.v_proj"},
        output="attention.o_proj",
        norm="layernorm_before",
        position="pre",
        head_attributes=("num_attention_heads",),
    ),
    ffn=FeedForwardBlock(
        inputs={"ffn_in": "mlp.fc1"},
        output="mlp.fc2",
        norm="layernorm_after",
        position="pre",
        activation="mlp.activation_fn",
    ),
    embeddings=Embeddings(module="embeddings"),
)

FAMILIES = [VIT, replace(VIT, model_type="deit")]
