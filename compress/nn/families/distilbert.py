"""DistilBERT."""

from compress.nn.family import Family

FAMILIES = [
    Family(
        model_type="distilbert",
        layers="transformer.layer",
        attention="attention",
        query="attention.q_lin",
        key="attention.k_lin",
        value="attention.v_lin",
        attention_output="attention.out_lin",
        attention_norm="sa_layer_norm",
        ffn_in="ffn.lin1",
        ffn_out="ffn.lin2",
        ffn_norm="output_layer_norm",
        head_attributes=("n_heads",),
        width_attributes=(),
        layers_field="n_layers",
        heads_field="n_heads",
        hidden_field="dim",
        ffn_field="hidden_dim",
        embeddings="embeddings",
        word_embeddings="word_embeddings",
        position_embeddings="position_embeddings",
        type_embeddings=None,
        embeddings_norm="LayerNorm",
        positions_from_zero=True,
        activation="ffn.activation",
        activation_field="activation",
    )
]
