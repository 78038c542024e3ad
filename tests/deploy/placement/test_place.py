"""The command, from a folder to a plan; what is refused, with its sentence."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from compress.cli.commands.place import main
from compress.core.errors import InputError
from compress.deploy.placement import place as placing
from compress.deploy.placement.memory import needs_of
from compress.deploy.placement.place import Asked, require_room, size
from compress.deploy.placement.problem import Needs
from compress.measure.placement.pipeline import Ran
from compress.nn.checkpoint import save_model
from compress.nn.family import layers_of
from compress.nn.layers import Int8BlockLinear
from compress.nn.structure import replace_module
from compress.nn.surgery import keep_neurons

FAST = {"prompt_ms": 1, "token_ms": 1}
SLOW = {"prompt_ms": 10, "token_ms": 5}
NONE = {"prompt_ms": 0, "token_ms": 0}


def costs(**changed: Any) -> dict[str, Any]:
    """A GPU that takes a millisecond for a block, and a CPU that takes five."""
    devices = {
        name: {"embeddings": NONE, "entry": NONE, "blocks": [block], "head": NONE}
        for name, block in (("cuda", FAST), ("cpu", SLOW))
    }
    link = {"from": "cpu", "to": "cuda", "latency_ms": 0.5, "bytes_per_s": 1e12}
    plain = {"format": 1, "blocks": 4, "hidden_size": 32, "prompt_tokens": 8, "bits": 32}
    return {**plain, "devices": devices, "links": [link], **changed}


@pytest.fixture(scope="module")
def model(make_decoder: Callable[..., PreTrainedModel]) -> PreTrainedModel:
    return make_decoder()


@pytest.fixture
def workplace(model: PreTrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with `model` and `costs.json` in it."""
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "costs.json").write_text(json.dumps(costs()), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def kib(bits: int, blocks: int, *, ends: int = 0) -> str:
    """Memory that holds so many blocks of the model with a context of 10, and `ends` of embeddings and head."""
    with torch.device("meta"):
        config = AutoConfig.from_pretrained("model")
        needs = needs_of(AutoModelForCausalLM.from_config(config), bits=bits, context=10)
    count = needs.activations + blocks * (needs.blocks[0] + needs.caches[0]) + ends * needs.head
    return f"{count / 1000 + 0.001:.3f}KB"


def typed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What is printed."""
    main(["model", "--context", "10", "--prompt", "8", *arguments])
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The sentence, of a command that ends with status 2 and prints nothing else."""
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    said = capsys.readouterr()
    assert end.value.code == 2 and said.out == "" and said.err.startswith("compress-place: ")
    assert said.err.count("\n") == 1
    return said.err


def test_a_plan_for_a_gpu_that_is_not_here(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Room for the caches of two requests, and not for a fourth block.
    given = ("--devices", f"cuda:{kib(32, 3, ends=3)},cpu:1GiB", "--costs", "costs.json", "--out", "plan")
    said = typed(capsys, *given)
    # Three blocks on the GPU, one on the CPU, and two hops of half a millisecond: 9 ms; alone 20.
    plan = json.loads((workplace / "plan" / "plan.json").read_text())
    assert plan["predicted"]["token_ms"] == pytest.approx(9.0, rel=1e-3)
    assert "Split over" in said and "111 tokens per second" in said
    assert plan["others"]["all on cpu"]["token_ms"] == pytest.approx(20.0)
    assert plan["others"]["as much as fits on cuda"]["token_ms"] == pytest.approx(9.0, rel=1e-3)
    # The CPU's one block is what a token waits for longest; its way round, 9 ms, is shared by two requests.
    assert plan["predicted"]["period_ms_with_two_requests"] == pytest.approx(5.0)
    layers = json.loads((workplace / "plan" / "layers.json").read_text())
    assert sorted(len(one["layers"]) for one in layers.values()) == [1, 3]
    devices = json.loads((workplace / "plan" / "device_map.json").read_text())
    assert sorted(map(str, devices.values())).count("0") >= 3
    assert "--n-gpu-layers" in said and str(plan["n_gpu_layers"]) in said


def test_fewer_bits_may_need_no_split(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    devices = f"cuda:{kib(32, 3, ends=1)},cpu:1GiB"
    said = typed(capsys, "--devices", devices, "--costs", "costs.json", "--bits", "8")
    assert "All of it on cuda: 250 tokens per second" in said
    assert "timed in 32: a program with kernels for 8 bits" in said
    lines = {line.split()[0]: line for line in said.splitlines() if line[:2].strip() in ("32", "16", "8", "4")}
    assert "fits on cpu alone" in lines["32"] and "fits on cuda or cpu alone" in lines["8"]


def test_two_requests_need_two_caches_and_prompts_may_want_another_plan(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Room for a third cache is there, and not for six; and a prompt is slow on the GPU.
    changed = costs()
    changed["devices"]["cuda"]["blocks"] = [{"prompt_ms": 20, "token_ms": 1}]
    (workplace / "slow.json").write_text(json.dumps(changed), encoding="utf-8")
    said = typed(capsys, "--devices", f"cuda:{kib(32, 3, ends=1)},cpu:1GiB", "--costs", "slow.json", "--out", "plan")
    (line,) = [line for line in said.splitlines() if line.startswith("the plan")]
    assert line.rstrip().endswith("two do not fit")
    record = json.loads((workplace / "plan" / "plan.json").read_text())
    assert record["predicted"]["period_ms_with_two_requests"] is None
    # All on the CPU, four blocks of 10 ms, instead of three of 20, one of 10, and a hop.
    assert (
        "For prompts alone another plan is faster, 40.0 instead of 70.5 ms: cpu: embeddings, blocks 0 to 3, head."
        in said
    )


def test_what_does_not_fit_says_what_is_missing_and_what_would_do() -> None:
    many = Needs(embeddings=0, blocks=(100,) * 4, caches=(0,) * 4, head=0, shared=0, activations=0)
    few = Needs(embeddings=0, blocks=(50,) * 4, caches=(0,) * 4, head=0, shared=0, activations=0)
    require_room({32: many}, 32, {"cuda": 200, "cpu": 200})
    with pytest.raises(InputError) as error:
        require_room({32: many, 16: few, 8: few}, 32, {"cuda": 250, "cpu": 150})
    assert str(error.value) == (
        "in 32 bits the model needs 400 bytes, and --devices does not hold it: 50 bytes are missing on cuda. --bits 16 "
        "fits."
    )
    with pytest.raises(InputError, match="No fewer bits would do"):
        require_room({32: many, 16: many}, 32, {"cuda": 150})
    with pytest.raises(InputError, match=r"gives cuda 99 bytes; a single block .* needs 100 bytes in 32 bits"):
        require_room({32: many}, 32, {"cuda": 99, "cpu": 1000})


def test_what_was_measured_is_saved_and_read_again(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    devices = ("--devices", f"cpu/1:{kib(32, 2, ends=1)},cpu/1@50%:1GiB")
    first = typed(capsys, *devices, "--save-costs", "mine.json")
    assert "measured on" in first
    monkeypatch.setattr("compress.measure.placement.measure.measure_costs", None)
    assert typed(capsys, *devices, "--costs", "mine.json") == first


def test_prediction_and_measurement_stand_side_by_side(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placing, "_require_here", lambda asked: None)
    monkeypatch.setattr(
        "compress.measure.placement.pipeline.run_placement", lambda *_, **__: Ran(prompt=20.0, token=10.0, period=4.0)
    )
    devices = f"cuda:{kib(32, 3, ends=1)},cpu:1GiB"
    said = typed(capsys, "--devices", devices, "--costs", "costs.json", "--verify", "--out", "plan")
    # 111 tokens a second were predicted, and 100 measured.
    (alone,) = [line.split() for line in said.splitlines() if ", one request" in line]
    assert alone[-3:] == ["111", "100", "+11%"]
    (both,) = [line.split() for line in said.splitlines() if "two in flight" in line]
    assert both[-3:] == ["200", "250", "-20%"]
    assert "Measured: here, with random weights" in said
    assert json.loads((workplace / "plan" / "plan.json").read_text())["measured"]["token"] == 10.0
    # There is room for the caches of one request more on neither count: three blocks, and one end of two.
    assert "two in flight, whose caches do not fit" in said


def test_all_three_outputs_of_a_plan_for_two_devices(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By hand: block 0 takes 10 ms on the GPU, the others 1; each 5 on the CPU; half a millisecond between the two. The
    CPU takes embeddings and block 0, the GPU blocks 1 to 3 and the head: 5 + 0.5 + 3 + 0.5 = 9 ms."""
    uneven = costs()
    uneven["devices"]["cuda"]["blocks"] = [{"prompt_ms": 10, "token_ms": 10}, FAST, FAST, FAST]
    (workplace / "uneven.json").write_text(json.dumps(uneven), encoding="utf-8")
    devices = f"cuda:{kib(32, 3, ends=1)},cpu:1GiB"
    said = typed(capsys, "--devices", devices, "--costs", "uneven.json", "--out", "plan")
    read = {path.name: json.loads(path.read_text()) for path in (workplace / "plan").iterdir()}
    assert read["plan.json"]["predicted"]["token_ms"] == pytest.approx(9.0, rel=1e-3)
    held = dict.fromkeys(("model.layers.1", "model.layers.2", "model.layers.3"), 0)
    given = read["device_map.json"]
    assert {name: place for name, place in given.items() if name in held} == held
    assert given["model.embed_tokens"] == given["model.layers.0"] == "cpu"
    gpu, cpu = read["layers.json"]["cuda"], read["layers.json"]["cpu"]
    assert (gpu["layers"], cpu["layers"], cpu["embeddings"]) == ([1, 2, 3], [0], True)
    # The head with the last norm is where the last block is: back goes a token, of fewer bytes than a hidden state.
    assert (gpu["head"], given["lm_head"], given["model.norm"]) == (True, 0, 0)
    # llama.cpp: three blocks, and the head before them.
    assert "llama.cpp: --n-gpu-layers 4 " in said and read["plan.json"]["n_gpu_layers"] == 4


def test_what_cannot_be_used_is_refused(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    costs_file, room = ("--costs", "costs.json"), ("--devices", "cuda:1GiB,cpu:1GiB")
    assert "names cuda, which this machine does not have; it has cpu" in refused(capsys, "model", *room)
    # With times from elsewhere there is a plan, and nothing to run it on; nothing was written before that is said.
    elsewhere = refused(capsys, "model", *room, *costs_file, "--verify", "--save-costs", "again.json", "--out", "plan")
    assert "it has cpu" in elsewhere and "--verify runs the plan on these devices: leave it out" in elsewhere
    assert elsewhere == refused(capsys, "model", *room, "--verify")
    assert not (workplace / "again.json").exists() and not (workplace / "plan").exists()
    assert "MODEL is nowhere, which does not exist" in refused(capsys, "nowhere", *room, *costs_file)
    assert "'cpu' is no memory" in refused(capsys, "model", "--devices", "cpu", *costs_file)
    assert "of which costs.json has no times; it has those of cuda, cpu" in refused(
        capsys, "model", "--devices", "cpu/1:1GiB", *costs_file
    )
    assert "a single block with its cache" in refused(capsys, "model", "--devices", "cuda:1KB,cpu:1GiB", *costs_file)
    assert "--out is model, which is there already" in refused(capsys, "model", *room, *costs_file, "--out", "model")
    assert "--save-costs is no/costs.json" in refused(capsys, "model", *room, "--save-costs", "no/costs.json")
    assert "--context is 1" in refused(capsys, "model", *room, *costs_file, "--context", "1")
    assert "--prompt is 128, and --context 100" in refused(capsys, "model", *room, *costs_file, "--context", "100")
    (workplace / "other.json").write_text(json.dumps(costs(blocks=5)), encoding="utf-8")
    assert "of a model with 5 blocks of 32 numbers; this one has 4" in refused(
        capsys, "model", *room, "--costs", "other.json"
    )
    (workplace / "apart.json").write_text(json.dumps(costs(links=[])), encoding="utf-8")
    assert "has no link between cuda and cpu" in refused(capsys, "model", *room, "--costs", "apart.json")
    (workplace / "wrong.json").write_text('{"format": 1, "format": 1}', encoding="utf-8")
    assert "stands twice" in refused(capsys, "model", *room, "--costs", "wrong.json")


def test_an_artifact_of_ours_is_placed_as_it_is_stored(
    model: PreTrainedModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = copy.deepcopy(model)
    keep_neurons(cut, layers_of(cut)[1], torch.arange(32))
    replace_module(cut, "model.layers.2.mlp.up_proj", Int8BlockLinear.of(layers_of(cut)[2].part("ffn_in")))
    folder = tmp_path / "artifact"
    folder.mkdir()
    save_model(cut, folder)
    main([str(folder), "--devices", "cpu/1:1GiB", "--context", "10", "--prompt", "8", "--out", str(tmp_path / "plan")])
    assert "load it by compress.load, then dispatch_model" in capsys.readouterr().out
    plan = json.loads((tmp_path / "plan" / "plan.json").read_text())
    # Blocks are of three kinds, each timed by itself: the first is like the last.
    first, second, third, last = (block["token_ms"] for block in plan["costs"]["devices"]["cpu/1"]["blocks"])
    assert first == last and len({first, second, third}) == 3
    with torch.device("meta"):
        whole = needs_of(type(model)(model.config), bits=32, context=10)
    # 32 neurons less in three products of 32 x 64; of one product 2048 integers and 64 scales of two bytes.
    less = 3 * 32 * 32 * 4 + (2048 * 4 - 2048 - 64 * 2)
    # The widest FFN is the others', so what computing needs is the same.
    assert plan["devices"]["cpu/1"]["needed_bytes"] == whole.total - less


def test_a_model_that_says_nothing_is_refused(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, str(checkpoint), "--devices", "cpu:1GiB")
    assert "a BertForSequenceClassification; placed are models that say what comes next" in said


def test_bits_are_those_that_are_stored(model: PreTrainedModel, tmp_path: Path) -> None:
    (tmp_path / "costs.json").write_text(json.dumps(costs()), encoding="utf-8")
    for dtype, bits in ((torch.float32, 32), (torch.bfloat16, 16), (torch.float16, 16)):
        folder = tmp_path / f"{dtype}"
        model.to(dtype).save_pretrained(folder)
        asked = Asked(
            model=folder,
            devices=placing_devices(),
            context=10,
            prompt_tokens=8,
            bits=None,
            costs=tmp_path / "costs.json",
        )
        assert placing.place(asked).bits == bits
    model.to(torch.float32)


def placing_devices() -> Any:
    from compress.deploy.placement.devices import read_devices

    return read_devices("cpu:1GiB")


@pytest.mark.parametrize(
    ("count", "told"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (5.5 * 2**30, "5.5 GiB"), (1001 * 2**20, "1,001 MiB")],
)
def test_sizes_are_written_for_people(count: float, told: str) -> None:
    assert size(count) == told
