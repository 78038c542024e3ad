"""DistilBERT."""

from compress.nn.block import AttentionBlock, Embeddings, FeedForwardBlock
from compress.nn.family import Family

FAMILIES = [
    Family(
        model_type="distilbert",
        layers="transformer.layer",
        attention=AttentionBlock(
            module="attention",
            inputs={"query": "attention.q_lin", "key": "attention.k_lin", "value": "attention.v_lin"},
            output="attention.out_lin",
            norm="sa_layer_norm",
            head_attributes=("n_heads",),
        ),
        ffn=FeedForwardBlock(
            inputs={"ffn_in": "ffn.lin1"}, output="ffn.lin2", norm="output_layer_norm", activation="ffn.activation"
        ),
        embeddings=Embeddings(
            module="embeddings",
            words="word_embeddings",
            positions="position_embeddings",
            norm="LayerNorm",
            from_zero=True,
        ),
        layers_field="n_layers",
        heads_field="n_heads",
        hidden_field="dim",
        ffn_field="hidden_dim",
        activation_field="activation",
    )
]
