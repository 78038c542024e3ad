"""BERT, and the families that took over its layout."""

from dataclasses import replace

from compress.nn.block import AttentionBlock, Embeddings, FeedForwardBlock
from compress.nn.family import Family

BERT = Family(
    model_type="bert",
    layers="encoder.layer",
    attention=AttentionBlock(
        module="attention.self",
        inputs={"query": "attention.self.query", "key": "attention.self.key", "value": "attention.self.value"},
        output="attention.output.dense",
        norm="attention.output.LayerNorm",
        head_attributes=("num_attention_heads",),
        width_attributes=("all_head_size",),
    ),
    ffn=FeedForwardBlock(
        inputs={"ffn_in": "intermediate.dense"},
        output="output.dense",
        norm="output.LayerNorm",
        activation="intermediate.intermediate_act_fn",
    ),
    embeddings=Embeddings(
        module="embeddings",
        words="word_embeddings",
        positions="position_embeddings",
        types="token_type_embeddings",
        norm="LayerNorm",
        from_zero=True,
    ),
)

# Their positions start after the padding token's number, and padding has a position of its own.
ROBERTA = replace(BERT, model_type="roberta", embeddings=replace(BERT.embeddings, from_zero=False))

FAMILIES = [
    BERT,
    ROBERTA,
    replace(ROBERTA, model_type="xlm-roberta"),
    replace(ROBERTA, model_type="camembert"),
]
