"""ModernBERT: pre-norm and gated, with turned queries and keys; most layers see a window on both sides of a token."""

from compress.nn.block import AttentionBlock, Embeddings, FeedForwardBlock
from compress.nn.family import Family

FAMILIES = [
    Family(
        model_type="modernbert",
        layers="layers",
        attention=AttentionBlock(
            module="attn",
            inputs={"query_key_value": "attn.Wqkv"},
            output="attn.Wo",
            norm="attn_norm",
            position="pre",
            plain=False,
        ),
        ffn=FeedForwardBlock(
            module="mlp",
            inputs={"ffn_gate_and_in": "mlp.Wi"},
            output="mlp.Wo",
            norm="mlp_norm",
            position="pre",
            activation="mlp.act",
        ),
        embeddings=Embeddings(module="embeddings", words="tok_embeddings", norm="norm"),
        activation_field="hidden_activation",
        layer_lists=("layer_types",),
        layer_periods={"global_attn_every_n_layers": "full_attention"},
        first_layer="it alone has no normalisation before its attention",
        attention_mask="own",
        # Of a small model's layers the first and the fourth see all tokens, the others two on each side.
        typical={"local_attention": 4, "global_attn_every_n_layers": 3},
    )
]
