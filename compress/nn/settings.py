"""What a `config.json` asks for that a library would drop, or run code for: refused by name, before it is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from compress.core.errors import InputError
from compress.nn.sentence_encoder import FIELD

CODE = "which would have code run that is neither this program's nor yours"
OTHER = "which the library no longer reads, so that another function would be computed"
CODE_NAMES = ("auto_map", "custom_pipelines", "trust_remote_code")
SAFE = "Save it with a class of the library's own, in a folder of its own."
MERGE = "Merge it into the model first: model.merge_and_unload().save_pretrained(DIR)."
# What attention is computed with here. Any other name is looked for in packages, or on the hub.
ATTENTION = (None, "eager", "sdpa")
# More labels, heads or channels has no model.
MOST = 1_000_000
# No size of anything.
LARGEST = 2**40
LAYERS = ("num_hidden_layers", "n_layers")
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
# What earlier releases, and other libraries, wrote into every configuration, and what no function depends on.
HARMLESS = frozenset(
    {
        *("_attn_implementation_autoset", "_name_or_path", "attn_implementation", "_attn_implementation", "dtype"),
        *("torch_dtype", "torchscript", "transformers_version", "model_type", "num_labels", "_num_labels", "language"),
        *("name", "finetuning_task", "task_specific_params", "tokenizer_class", "prefix", "gradient_checkpointing"),
        *("output_past", "pruned_heads", "tie_weights_", "use_bfloat16", "use_cache", "position_embedding_type"),
        *("sep_token_id", "pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "decoder_start_token_id"),
        *("is_decoder", "add_cross_attention", "cross_attention_hidden_size", "tie_encoder_decoder", "vocab_size"),
        # Of generating text, which nothing here does.
        *("max_length", "min_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups", "temperature"),
        *("diversity_penalty", "top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty"),
        *("no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences"),
        *("output_scores", "return_dict_in_generate", "forced_bos_token_id", "forced_eos_token_id", "suppress_tokens"),
        *("remove_invalid_values", "exponential_decay_length_penalty", "begin_suppress_tokens", "tf_legacy_loss"),
        # Of BERT's first pooler, which was never built, and of rotary positions under their earlier names.
        *("directionality", "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers"),
        *("pooler_size_per_head", "pooler_type", "rope_theta", "rope_scaling", "tie_word_embeddings"),
    }
)


def require_usable(settings: Mapping[str, Any], folder: Path) -> None:
    """Raise InputError for what a configuration asks for that would run code, or that would be dropped though the
    answers depend on it. folder: whose `config.json` it is."""
    for name, value, reason, way_out in _refused(settings):
        shown = repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:60]}..."
        raise InputError(f"{folder}: config.json sets {name} to {shown}, {reason}. {way_out}")


def require_no_code(settings: Mapping[str, Any], path: Path) -> None:
    """Raise InputError where a file of settings, `path`, names code of its own to run."""
    for name in CODE_NAMES:
        if settings.get(name):
            raise InputError(f"{path} sets {name} to {str(settings[name])[:60]!r}, {CODE}. {SAFE}")


def require_no_adapter(folder: Path) -> None:
    """Raise InputError where a folder holds an adapter: Transformers would add it where one package is installed, and
    leave it out where it is not."""
    found = sorted(path.name for path in folder.iterdir() if path.name.startswith("adapter_"))
    if found:
        raise InputError(f"{folder} holds an adapter ({', '.join(found)}), which is no model by itself. {MERGE}")


def require_countable(settings: Mapping[str, Any], folder: Path, *, tensors: int) -> None:
    """Raise InputError where a configuration counts more layers than there are tensors of weights, or more of anything
    than any model has: a library would make them all before it finds that they are not there."""
    for name, value in settings.items():
        if not isinstance(value, int):
            continue
        most = tensors if name in LAYERS else MOST if name.startswith(("num_", "n_")) else LARGEST
        if value > most:
            raise InputError(
                f"{folder}: no model can be built from config.json, which sets {name} to {value}; with {tensors} "
                f"tensors of weights it may be {most} at most. Copy or save the model again."
            )


def require_dense(settings: Mapping[str, Any], folder: Path, setting: str = "model.path") -> None:
    """Raise InputError for a mixture of experts: what is measured of a layer would depend on the text. setting: which
    names the folder."""
    counts = {name: settings[name] for name in EXPERTS if isinstance(settings.get(name), int) and settings[name] > 1}
    if counts:
        name, count = next(iter(counts.items()))
        raise InputError(
            f"{setting} is {folder}, a {settings['model_type']} model with {name}={count}: a mixture of experts, of "
            "which each token uses a few. Such models cannot be compressed here. Use a dense one."
        )


def unread_settings(settings: Mapping[str, Any]) -> list[str]:
    """The names in a configuration that the library knows nothing of, and that are not known to be harmless."""
    known = AutoConfig.for_model(str(settings["model_type"]))
    names = {*known.to_dict(), *known.attribute_map, *HARMLESS, FIELD}
    return sorted(name for name in settings if name not in names)


def _refused(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any, str, str]]:
    for name in CODE_NAMES:
        if settings.get(name):
            yield name, settings[name], CODE, SAFE
    for name, value in settings.items():
        if name.strip("_").removesuffix("_internal") in ("attn_implementation", "experts_implementation"):
            for chosen in value.values() if isinstance(value, Mapping) else (value,):
                if chosen not in ATTENTION:
                    yield name, chosen, f"{CODE}: it is none of eager and sdpa", "Remove it from config.json."
    if settings.get("quantization_config"):
        way_out = "Give the model as it was before it was quantized, in floating point."
        yield "quantization_config", settings["quantization_config"], "a form of weights that is not read here", way_out
    if settings.get("position_embedding_type") not in (None, "absolute"):
        way_out = "Give a model whose positions are absolute."
        yield "position_embedding_type", settings["position_embedding_type"], OTHER, way_out
    if settings.get("pruned_heads"):
        yield "pruned_heads", settings["pruned_heads"], OTHER, "Give the model as it was before heads were removed."
    for name in ("is_decoder", "add_cross_attention", "is_encoder_decoder"):
        if settings.get(name):
            reason = "so that a position would see only some of the others, and an export all of them"
            yield name, settings[name], reason, "Give a model that was trained as an encoder."
    if settings.get("per_layer_config"):
        yield "per_layer_config", settings["per_layer_config"], "and layers that differ so are not known here", SAFE
    if settings.get("return_dict", True) is not True:
        yield "return_dict", settings["return_dict"], "and outputs are read by their names here", "Set it to true."
