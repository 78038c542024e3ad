"""An exported folder as a plain one, in FP32, which `from_pretrained` loads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from compress.core.errors import InputError
from compress.core.export_form import Exported, FormDefaults
from compress.core.signature import Signature

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.runtimes.torch.runtime import TorchSession

FUSED = "leave fuse out of order for this form"
GOES_ON = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer, model = AutoTokenizer.from_pretrained("."), AutoModelForCausalLM.from_pretrained(".")
inputs = tokenizer("Put the beginning of a text here.", return_tensors="pt", return_token_type_ids=False)
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=32, do_sample=False)[0]))
"""
FACTORS = "leave factorize out of order for this form"


@dataclass(frozen=True, kw_only=True)
class TransformersForm(FormDefaults):
    """threads: how many one inference uses."""

    threads: int

    name: ClassVar[str] = "transformers"
    label: ClassVar[str] = "Transformers"
    package: ClassVar[tuple[str, str]] = ("transformers", "transformers")
    decodes: ClassVar[bool] = True
    refuses: ClassVar[Mapping[str, str]] = {
        "fused_layer": f"no plain loader knows fused layers; {FUSED}",
        "fused_embeddings": f"no plain loader knows fused embeddings; {FUSED}",
        "low_rank": f"no plain loader knows layers in two factors; {FACTORS}",
        "low_rank_embedding": f"no plain loader knows tables in two factors; {FACTORS}",
        "nothing": "no plain loader builds a layer without one of its blocks; cut all layers alike, "
        "stages.prune.uniform=true",
        "no_attention": "no plain loader builds a layer without attention; cut all layers alike, "
        "stages.prune.uniform=true",
    }

    def write(self, exported: Exported, folder: Path) -> Sequence[str]:
        """Write `config.json` and `model.safetensors` as the library itself does. Integers are scaled back: what they
        were multiplied by was rounded too where the model was judged, and is not here."""
        from compress.nn.sentence_encoder import SentenceEncoder
        from compress.runtimes.transformers.plain import make_plain

        changed = make_plain(exported.model)
        model: PreTrainedModel = exported.model
        if isinstance(model, SentenceEncoder):
            # What makes a vector of its output is said by the files of sentence-transformers beside it.
            model = model.encoder
        model.save_pretrained(folder)
        return [f"{changed} layers of integers scaled back to FP32" if changed else "FP32 weights, as they were judged"]

    def open(self, folder: Path, signature: Signature) -> TorchSession:
        """Load it by the library's own loader. Raises InputError where a weight is missing or left over."""
        import torch

        from compress.runtimes.torch.runtime import TorchSession

        torch.set_num_threads(self.threads)
        return TorchSession(_loaded(folder), signature)

    def usage(self, signature: Signature | None) -> str:
        """Python that loads and calls it."""
        assert signature is not None
        inputs = ", ".join(f"{name}={name}" for name in signature.names)
        if signature.output.name == "sentence_embedding":
            return (
                "from sentence_transformers import SentenceTransformer\n\n"
                'vectors = SentenceTransformer(".").encode(["Put one text here.", "Put another one here."])\n'
            )
        if signature.decoding is not None:
            return GOES_ON
        return (
            "import json\n\nimport transformers\n\n"
            'kind = json.load(open("config.json"))["architectures"][0]\n'
            'model = getattr(transformers, kind).from_pretrained(".")\n'
            f"{signature.output.name} = model({inputs}).{signature.output.name}\n"
        )


def _loaded(folder: Path) -> PreTrainedModel:
    import torch

    from compress.nn.checkpoint import architecture_of, read_config
    from compress.tasks.sentence_folder import MODULES, load_encoder

    if (folder / MODULES).is_file():
        return load_encoder(folder, None)
    config = read_config(folder)
    kind: Any = architecture_of(config, str((config.architectures or [""])[0]))
    model, loading = kind.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, trust_remote_code=False, output_loading_info=True
    )
    wrong = sorted({*loading["missing_keys"], *loading["unexpected_keys"]})
    if wrong:
        raise InputError(f"{folder} does not fit its own config.json: {wrong[0]}. Export it again.")
    plain: PreTrainedModel = model.eval()
    return plain


FORM = TransformersForm
