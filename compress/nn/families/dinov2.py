"""DINOv2: ViT's layers, with what each block gives multiplied channel by channel before it is added (LayerScale).

A classifier's head reads the class token and the mean of the patches, side by side.
"""

from dataclasses import replace

from compress.nn.block import FeedForwardBlock
from compress.nn.families.vit import VIT

FAMILIES = [
    replace(
        VIT,
        model_type="dinov2",
        layers="encoder.layer",
        attention=replace(VIT.attention, norm="norm1", scale="layer_scale1.lambda1"),
        ffn=FeedForwardBlock(
            module="mlp",
            inputs={"ffn_in": "mlp.fc1"},
            output="mlp.fc2",
            norm="norm2",
            position="pre",
            activation="mlp.activation_fn",
            scale="layer_scale2.lambda1",
        ),
        ffn_field="mlp_ratio",
        ffn_ratio=True,
        output_names="stage_names",
        fixed_width="its FFNs are a whole number of times as wide, and its head reads two states side by side",
        required={"use_swiglu_ffn": (False, "its FFNs are gated (SwiGLU)")},
        typical={"layerscale_value": 0.5},
    )
]
