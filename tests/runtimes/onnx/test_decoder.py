"""A decoder's graph computes what torch does: whole, in parts, behind padding, for every family and every cut."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from compress.core.errors import InputError
from compress.core.signature import BATCH, SEQUENCE, Decoding, Port, Signature
from compress.nn.family import known_families, layers_of
from compress.nn.layers import (
    Int4BlockLinear,
    Int8BlockEmbedding,
    Int8BlockLinear,
    Int8DynamicLinear,
    Int8Embedding,
    Int8StaticLinear,
    LowRankLinear,
    TiedBlockHead,
)
from compress.nn.structure import replace_module
from compress.nn.surgery import drop_attention, drop_ffn, keep_heads, keep_layers, keep_neurons
from compress.runtimes.onnx.decoder import export_decoder
from compress.runtimes.onnxruntime.decoder import CopyingReader, InPlaceReader
from compress.runtimes.onnxruntime.runtime import OnnxRuntime

SIGNATURE = Signature(
    inputs=tuple(Port(name, (BATCH, SEQUENCE), "int64") for name in ("input_ids", "attention_mask")),
    output=Port("logits", (BATCH, SEQUENCE, "vocabulary"), "float32"),
    mask="attention_mask",
    decoding=Decoding(state="past_key_values", present="present", prompt_tokens=4, new_tokens=4),
)
DECODERS = sorted(name for name, family in known_families().items() if family.decoder is not None)
VOCABULARY = 97


def small(model_type: str, **settings: object) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        model_type,
        **{
            "vocab_size": VOCABULARY,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 64,
            **known_families()[model_type].typical,
            **settings,
        },
    )
    model = AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        # Norms that are all ones, and biases that are zeros, would hide a mistake with them.
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model


def test_settings_of_genai_are_those_of_the_graph(tmp_path: Path) -> None:
    model = small("llama", eos_token_id=[3, 5], bos_token_id=None, pad_token_id=None)
    keep_layers(model, [0, 2, 3])
    for layer in layers_of(model):
        keep_heads(model, layer, torch.tensor([1]))
    export_decoder(model, SIGNATURE, tmp_path)
    found = json.loads((tmp_path / "genai_config.json").read_text(encoding="utf-8"))["model"]
    # Two of four heads, which share one of two keys and values; 8 wide.
    decoder = found["decoder"]
    sizes = [decoder[name] for name in ("num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_size")]
    assert sizes == [3, 2, 1, 8]
    assert [found[f"{name}_token_id"] for name in ("bos", "eos", "pad")] == [3, [3, 5], 3]
    assert (found["context_length"], found["vocab_size"]) == (64, VOCABULARY)
    graph = onnx.load(tmp_path / "model.onnx").graph
    names = {entry.name for entry in (*graph.input, *graph.output)}
    for name in (*decoder["inputs"].values(), *decoder["outputs"].values()):
        assert (name % 2 if "%d" in name else name) in names
        assert "%d" not in name or name % 3 not in names


def test_what_genai_has_no_words_for_gets_no_settings(tmp_path: Path) -> None:
    endless = small("llama", eos_token_id=None)
    uneven = small("llama", eos_token_id=3)
    keep_heads(uneven, layers_of(uneven)[1], torch.tensor([0]))
    for number, model in enumerate((endless, uneven)):
        (tmp_path / str(number)).mkdir()
        export_decoder(model, SIGNATURE, tmp_path / str(number))
        assert not (tmp_path / str(number) / "genai_config.json").exists()


@pytest.mark.parametrize("model_type", ["llama", "qwen2", "qwen3"])
def test_genai_says_the_same(model_type: str, tmp_path: Path) -> None:
    genai = pytest.importorskip("onnxruntime_genai", reason="not installed: pip install onnxruntime-genai")
    model = small(model_type, eos_token_id=VOCABULARY - 1, use_sliding_window=False)
    export_decoder(model, SIGNATURE, tmp_path)
    prompt = torch.tensor([[5, 9, 20, 33, 7]])
    with torch.no_grad():
        expected = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=16, do_sample=False)
    opened = genai.Model(str(tmp_path))
    options = genai.GeneratorParams(opened)
    options.set_search_options(max_length=21)
    generator = genai.Generator(opened, options)
    generator.append_tokens(prompt.numpy().astype(np.int32))
    while not generator.is_done():
        generator.generate_next_token()
    assert list(generator.get_sequence(0)) == expected[0].tolist()


def texts() -> tuple[torch.Tensor, torch.Tensor]:
    """Two rows of nine tokens, the second behind three that are padding."""
    tokens = torch.randint(0, VOCABULARY, (2, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.ones(2, 9, dtype=torch.long)
    mask[1, :3] = 0
    return tokens, mask


def in_float(path: Path) -> None:
    """Let products in blocks be computed in FP32: the operator's precision is an attribute of each node."""
    graph = onnx.load(path)
    for node in graph.graph.node:
        for attribute in node.attribute:
            if attribute.name == "accuracy_level":
                attribute.i = 1
    path.unlink()
    (path.parent / "model.onnx.data").unlink()
    onnx.save(graph, path)


def difference(model: PreTrainedModel, folder: Path, *, as_written: bool = False) -> tuple[float, float]:
    """The largest difference of logits from torch's: of all real positions in one call, and of the last one after
    several. as_written: what enters a product in blocks is not rounded to eight bits."""
    path = export_decoder(model, SIGNATURE, folder)
    if as_written:
        in_float(path)
    session: Any = OnnxRuntime(threads=1).open(folder, SIGNATURE)
    tokens, mask = texts()
    places = (mask.cumsum(dim=1) - 1).clamp(min=0)
    with torch.no_grad():
        # Without a cache, whose lengths Transformers takes from the first layer, be its attention there or not.
        expected = model(input_ids=tokens, attention_mask=mask, position_ids=places, use_cache=False).logits.numpy()
    found = session.run({"input_ids": tokens.numpy(), "attention_mask": mask.numpy()})
    reader = session.reader()
    reader.read(tokens[:, :6].numpy(), mask[:, :6].numpy())
    for read in (7, 8, 9):
        last = reader.read(tokens[:, read - 1 : read].numpy(), mask[:, :read].numpy())
    whole = np.abs(found - expected)[mask.bool().numpy()].max()
    return float(whole), float(np.abs(last - expected[:, -1]).max())


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("model_type", DECODERS)
def test_what_a_decoder_says_is_what_torch_says(model_type: str, tied: bool, tmp_path: Path) -> None:
    assert max(difference(small(model_type, tie_word_embeddings=tied), tmp_path)) < 1e-5


def test_weights_lie_beside_the_graph_and_are_written_anew(tmp_path: Path) -> None:
    for _ in range(2):
        model = small("llama", tie_word_embeddings=True)
        export_decoder(model, SIGNATURE, tmp_path)
        nodes, weights = ((tmp_path / name).stat().st_size for name in ("model.onnx", "model.onnx.data"))
        stored = 4 * sum(parameter.numel() for parameter in model.parameters())
        # Small ones, and the angles of 64 positions, are where the writer puts them.
        assert nodes + weights == pytest.approx(stored, rel=0.3)
        assert weights > 0.6 * stored


@pytest.mark.parametrize(("head_size", "packed"), [(16, True), (8, False)])
def test_keys_and_values_are_added_in_place(head_size: int, packed: bool, tmp_path: Path) -> None:
    model = small("llama", head_dim=head_size)
    export_decoder(model, SIGNATURE, tmp_path)
    names = {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}
    assert ("RotaryEmbedding" in names) != packed
    session: Any = OnnxRuntime(threads=1).open(tmp_path, SIGNATURE)
    reader = session.reader()
    assert isinstance(reader, InPlaceReader)
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, (1, 60))
    found = [reader.read(tokens[:, :5], np.ones((1, 5), dtype=np.int64))]
    buffers = [id(value) for value in reader._kept.values()]
    # One row may go on by several tokens at once; and 64 positions are what there is room for.
    found.append(reader.read(tokens[:, 5:50], np.ones((1, 50), dtype=np.int64)))
    found.extend(reader.read(tokens[:, [n]], np.ones((1, n + 1), dtype=np.int64)) for n in range(50, 60))
    assert [id(value) for value in reader._kept.values()] == buffers
    with torch.no_grad():
        expected = model(input_ids=torch.tensor(tokens)).logits[0, [4, *range(49, 60)]].numpy()
    np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-5)


def test_there_is_always_room(tmp_path: Path) -> None:
    model = small("qwen2", max_position_embeddings=256)
    export_decoder(model, SIGNATURE, tmp_path)
    session: Any = OnnxRuntime(threads=1).open(tmp_path, SIGNATURE)
    reader, tokens = session.reader(), np.random.default_rng(0).integers(0, VOCABULARY, (2, 150))
    ones = np.ones_like(tokens)
    reader.read(tokens[:, :60], ones[:, :60])
    sizes = set()
    for n in range(60, 150):
        found = reader.read(tokens[:, [n]], ones[:, : n + 1])
        sizes |= {value.shape()[2] for value in reader._kept.values()}
    assert sizes == {64, 128, 256}
    with torch.no_grad():
        expected = model(input_ids=torch.tensor(tokens)).logits[:, -1].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_graph_that_does_not_say_so_is_given_longer_tensors(tmp_path: Path) -> None:
    model = small("llama")
    path = export_decoder(model, SIGNATURE, tmp_path)
    graph = onnx.load(path)
    del graph.metadata_props[:]
    (tmp_path / "model.onnx.data").unlink()
    onnx.save(graph, path)
    session: Any = OnnxRuntime(threads=1).open(tmp_path, SIGNATURE)
    reader, (tokens, _) = session.reader(), texts()
    assert isinstance(reader, CopyingReader)
    ones = np.ones((2, 9), dtype=np.int64)
    reader.read(tokens[:, :8].numpy(), ones[:, :8])
    found = reader.read(tokens[:, 8:].numpy(), ones)
    with torch.no_grad():
        np.testing.assert_allclose(found, model(input_ids=tokens).logits[:, -1].numpy(), atol=1e-5)


def test_heads_wider_than_the_hidden_width_allows(tmp_path: Path) -> None:
    assert max(difference(small("qwen3", head_dim=16), tmp_path)) < 1e-5


def test_a_tied_table_is_stored_once(tmp_path: Path) -> None:
    sizes = []
    for tied in (True, False):
        export_decoder(small("llama", tie_word_embeddings=tied), SIGNATURE, tmp_path)
        sizes.append(sum((tmp_path / name).stat().st_size for name in ("model.onnx", "model.onnx.data")))
    assert sizes[1] - sizes[0] == pytest.approx(VOCABULARY * 32 * 4, abs=500)


def test_the_graph_is_valid_and_its_names_are_those_that_libraries_expect(tmp_path: Path) -> None:
    path = export_decoder(small("llama"), SIGNATURE, tmp_path)
    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    states = [f"past_key_values.{n}.{part}" for n in range(4) for part in ("key", "value")]
    assert [entry.name for entry in session.get_inputs()] == [
        "input_ids",
        "attention_mask",
        *states,
    ]
    assert [entry.name for entry in session.get_outputs()] == [
        "logits",
        *(name.replace("past_key_values", "present") for name in states),
    ]


CUTS: dict[str, Callable[[PreTrainedModel], object]] = {
    "layers": lambda model: keep_layers(model, [0, 2, 3]),
    "neurons": lambda model: keep_neurons(model, layers_of(model)[1], torch.tensor([0, 1, 2, 5, 7])),
    "heads": lambda model: keep_heads(model, layers_of(model)[1], torch.tensor([1])),
    "ffn": lambda model: drop_ffn(model, layers_of(model)[2]),
    "attention": lambda model: drop_attention(model, layers_of(model)[2]),
    "first attention": lambda model: drop_attention(model, layers_of(model)[0]),
}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("model_type", ["llama", "qwen3", "gemma3_text"])
def test_what_a_cut_decoder_says_is_what_torch_says(model_type: str, cut: str, tmp_path: Path) -> None:
    model = small(model_type)
    CUTS[cut](model)
    assert max(difference(model, tmp_path)) < 1e-5


def test_linear_layers_of_every_kind(tmp_path: Path) -> None:
    model = small("qwen2")
    first, second, third, _ = layers_of(model)
    up, down = torch.randn(32, 5), torch.randn(5, 32)
    replace_module(model, first.path_of("attention_output"), LowRankLinear.of(up, down, None))
    replace_module(model, second.path_of("ffn_in"), Int8DynamicLinear.of(second.part("ffn_in")))  # type: ignore[arg-type]
    static = Int8StaticLinear.of(third.part("query")).fix_inputs(torch.tensor(0.02), torch.tensor(120))  # type: ignore[arg-type]
    replace_module(model, third.path_of("query"), static)
    words = model.get_input_embeddings()
    replace_module(model, "model.embed_tokens", Int8Embedding.of(words))  # type: ignore[arg-type]
    whole, _ = difference(model, tmp_path)
    # One range for a batch in two calls is another: only the whole text in one is the same.
    assert whole < 1e-3


@pytest.mark.parametrize("width", [32, 48])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("model_type", ["llama", "gemma3_text"])
def test_weights_in_blocks(model_type: str, tied: bool, width: int, tmp_path: Path) -> None:
    model = small(model_type, tie_word_embeddings=tied, hidden_size=width, head_dim=8)
    for layer in layers_of(model):
        for name in layer.parts:
            kind = Int4BlockLinear if name == "ffn_in" else Int8BlockLinear
            replace_module(model, layer.path_of(name), kind.of(layer.part(name)))  # type: ignore[arg-type]
    words, head = model.get_input_embeddings(), model.get_output_embeddings()
    assert head is not None
    table = Int8BlockEmbedding.of(words)  # type: ignore[arg-type]
    replace_module(model, "model.embed_tokens", table)
    made = TiedBlockHead(width, VOCABULARY).read(table) if tied else Int8BlockLinear.of(head)  # type: ignore[arg-type]
    replace_module(model, "lm_head", made)
    assert max(difference(model, tmp_path, as_written=True)) < 1e-5
    with torch.no_grad():
        tokens, mask = texts()
        spread = float(model(input_ids=tokens, attention_mask=mask, use_cache=False).logits.std())
    assert max(difference(model, tmp_path)) < 0.2 * spread
    stored = onnx.load(tmp_path / "model.onnx").graph.initializer
    kept = {tensor.name: tensor for tensor in stored}
    # uint8, zero in the middle; of four bits two in a byte, and what fills the last block is zero.
    up, integers = (
        onnx.numpy_helper.to_array(kept[f"model.{name}.weight_blocks"])
        for name in ("layers.0.mlp.up_proj", "embed_tokens")
    )
    assert up.shape == (48, -(-width // 32), 16) and integers.dtype == np.uint8
    four: Any = layers_of(model)[0].part("ffn_in")
    assert (up[:, 0, 5] & 15).tolist() == (four.values[:, 10] + 8).tolist()
    assert (up[:, 0, 5] >> 4).tolist() == (four.values[:, 11] + 8).tolist()
    assert (up.reshape(48, -1)[:, width // 2 :] == 0x88).all()
    assert (integers.reshape(VOCABULARY, -1)[:, :width].astype(int) - 128 == table.weight_blocks.numpy()).all()
    assert ("lm_head.weight_blocks" in kept) == (not tied)


def test_a_family_that_says_nothing_is_refused_by_name(tmp_path: Path) -> None:
    config = AutoConfig.for_model("bert", vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    with pytest.raises(InputError, match="a bert model does not say what comes next"):
        export_decoder(AutoModelForCausalLM.from_config(config), SIGNATURE, tmp_path)
