"""minimind's own checkpoints: its model is a Qwen 3, or in its second release a Llama, under a name of its own.

Sources: minimind's model_minimind.py, releases 2 and 3. Weights have the names that Transformers gives them; what
differs is the configuration. No code of the checkpoint's is run.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from compress.core.content import require_inside
from compress.core.errors import InputError
from compress.core.json_file import read_json
from compress.nn.weights import read_headers

MODEL_TYPE = "minimind"
# What both have, by the name that both know it by.
SAME = (
    *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"),
    *("vocab_size", "max_position_embeddings", "rms_norm_eps", "rope_theta", "hidden_act", "bos_token_id"),
    *("eos_token_id", "pad_token_id", "head_dim", "tie_word_embeddings"),
)
NEEDED = SAME[:9]
COPIED = {".safetensors", ".json", ".txt", ".model", ".jinja"}
PICKLES = (".pth", ".pt", ".bin", ".ckpt")
# What makes of a pickle of weights by name, as minimind trains them, a file that is read here.
LOADED = "state = torch.load({!r}, map_location='cpu', weights_only=True)"
SAVED = "save_file({name: value.clone() for name, value in state.items()}, 'DIR/model.safetensors')"


def is_minimind(folder: Path) -> bool:
    """Whether the configuration of `folder` says so. Nothing else is looked at."""
    path = folder / "config.json"
    if not path.is_file():
        return False
    settings = read_json(path, object, way_out="Save the model again.")
    return isinstance(settings, dict) and settings.get("model_type") == MODEL_TYPE


def require_no_pickle(path: Path) -> None:
    """Raise InputError where `path` is a file of pickled weights, or the folder of a minimind model with such alone.
    The error tells the two lines that convert one."""
    files = [path]
    if path.is_dir() and is_minimind(path) and not any(path.glob("*.safetensors")):
        files = sorted(path.iterdir())
    found = next((file for file in files if file.suffix in PICKLES and file.is_file()), None)
    if found is not None:
        raise InputError(
            f"model.path is {path}, and its weights are a pickle; pickles can run code and are not read. After `import "
            f"torch` and `from safetensors.torch import save_file` two lines convert minimind's: "
            f"`{LOADED.format(str(found))}` and `{SAVED}`. Put its config.json and the files of its tokenizer into "
            "DIR, too, and use model.path=DIR."
        )


def plain_settings(settings: Mapping[str, Any], weights: Collection[str], folder: Path) -> dict[str, Any]:
    """The configuration of the same model as Transformers knows it. weights: their names. folder: told in errors.

    Raises InputError for a mixture of experts, for positions that are stretched, and where a size is missing.
    """
    if settings.get("use_moe"):
        raise InputError(
            f"model.path is {folder}, a minimind model with use_moe: a mixture of experts, of which each token uses a "
            "few. Such models cannot be compressed here. Use one without."
        )
    if settings.get("inference_rope_scaling"):
        raise InputError(
            f"{folder}: config.json sets inference_rope_scaling, which stretches positions for long contexts, in a "
            "way of minimind's own. Set it to false: contexts as long as those of its training are read as before."
        )
    missing = [name for name in NEEDED if settings.get(name) is None]
    if missing:
        raise InputError(f"{folder}: config.json does not say {', '.join(missing)}. Save it with minimind's own code.")
    sizes = {name: settings[name] for name in NEEDED[:7]}
    wrong = [name for name, value in sizes.items() if not isinstance(value, int) or value < 1]
    if wrong:
        raise InputError(
            f"{folder}: config.json sets {wrong[0]} to {sizes[wrong[0]]!r:.60}; it is a whole number above 0. Copy it "
            "again."
        )
    normed = any(name.endswith(".self_attn.q_norm.weight") for name in weights)
    model_type, architecture = ("qwen3", "Qwen3ForCausalLM") if normed else ("llama", "LlamaForCausalLM")
    # minimind ties the head to the embeddings, and its second release has no setting for that.
    plain = {"tie_word_embeddings": True, "hidden_act": "silu"}
    plain |= {name: settings[name] for name in SAME if settings.get(name) is not None}
    plain.setdefault("head_dim", settings["hidden_size"] // settings["num_attention_heads"])
    return {"model_type": model_type, "architectures": [architecture], "attention_bias": False, **plain}


def write_plain(folder: Path, target: Path) -> None:
    """Write into the folder `target` the same model under the name that Transformers knows it by: files as they are,
    and another config.json. Raises InputError where it cannot be one."""
    settings = read_json(folder / "config.json", way_out="Save the model again.")
    plain = plain_settings(settings, read_headers(folder).keys(), folder)
    for path in sorted(folder.iterdir()):
        if path.suffix in COPIED and path.name not in ("config.json", "generation_config.json"):
            require_inside(folder, path)
            shutil.copyfile(path, target / path.name)
    (target / "config.json").write_text(json.dumps(plain, indent=1, sort_keys=True), encoding="utf-8")
