"""BERT, and the families that took over its layout."""

from dataclasses import replace

from compress.nn.family import Family

BERT = Family(
    model_type="bert",
    layers="encoder.layer",
    attention="attention.self",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    attention_output="attention.output.dense",
    attention_norm="attention.output.LayerNorm",
    ffn_in="intermediate.dense",
    ffn_out="output.dense",
    ffn_norm="output.LayerNorm",
    head_attributes=("num_attention_heads",),
    width_attributes=("all_head_size",),
    layers_field="num_hidden_layers",
    heads_field="num_attention_heads",
    hidden_field="hidden_size",
    ffn_field="intermediate_size",
    embeddings="embeddings",
    word_embeddings="word_embeddings",
    position_embeddings="position_embeddings",
    type_embeddings="token_type_embeddings",
    embeddings_norm="LayerNorm",
    positions_from_zero=True,
    activation="intermediate.intermediate_act_fn",
    activation_field="hidden_act",
)

# Their positions start after the padding token's number, and padding has a position of its own.
ROBERTA = replace(BERT, model_type="roberta", positions_from_zero=False)

FAMILIES = [BERT, ROBERTA, replace(ROBERTA, model_type="xlm-roberta")]
