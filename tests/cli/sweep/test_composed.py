"""What is composed for one job and varied for the next is what Hydra composes for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from compress.cli.config import hydra_in, register, settings_root
from compress.cli.sweep.composed import Composed

# Jobs of one sweep each. In the first two the values of the first job are those that the others are made from.
SWEEPS = [
    [
        ["stages.prune.blocks=false", "seed=0"],
        ["stages.prune.blocks=true", "seed=3"],
        ["stages.prune.blocks=x", "seed=0"],
    ],
    [["objective.speedup=5", "data.train=a.jsonl"], ["objective.speedup=null", "data.train='b, c.csv'"]],
    [["stages.prune.margin=0.1"], ["stages.prune.margin=${objective.max_accuracy_drop}"]],
    [["stage/quantize@stages.quantize=dynamic"], ["stage/quantize@stages.quantize=static"]],
    [["importance@stages.prune.importance=random"], ["importance@stages.prune.importance=fisher"]],
    [["tracking=none"], ["tracking=tensorboard"]],
    [["order=[quantize]"], ["order=[prune,quantize]"]],
    [["+more=1"], ["+more=2"]],
    [["~gates.prune"], ["stages.prune.blocks=true"]],
    [["hydra.job.name=a", "seed=1"], ["hydra.job.name=b", "seed=1"]],
    # A group of settings that is made a value, and a value in its place.
    [["stages.prune.gradual=null"], ["stages.prune.gradual=3"]],
    [["stages.prune.gradual.cuts=2"], ["stages.prune.gradual=3"]],
]


@pytest.fixture
def loader() -> Iterator[Any]:
    register()
    with hydra_in(settings_root() / "recipes"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        yield hydra.config_loader


def master_of(loader: Any) -> DictConfig:
    given = ["model.path=m", "data.train=t", "hydra.sweep.dir=there"]
    return loader.load_configuration("text_classification", given, RunMode.MULTIRUN)


@pytest.mark.parametrize("jobs", SWEEPS)
def test_every_job_has_the_settings_that_hydra_composes(loader: Any, jobs: list[list[str]]) -> None:
    master = master_of(loader)
    composed = Composed(loader, master)
    for job in jobs:
        expected = loader.load_sweep_config(master, job)
        assert OmegaConf.to_container(composed.of(job)) == OmegaConf.to_container(expected)


def test_a_name_that_is_made_of_a_jobs_settings_is_its_own(loader: Any) -> None:
    composed = Composed(loader, master_of(loader))
    names = []
    for number, job in enumerate([["seed=1", "+x=2"], ["seed=2", "+x=2"]]):
        settings = composed.of(job, number)
        HydraConfig.instance().set_config(settings)
        names.append((settings.hydra.job.override_dirname, settings.hydra.sweep.subdir))
    assert names == [("+x=2,seed=1", "0"), ("+x=2,seed=2", "1")]


def test_jobs_that_differ_in_values_are_composed_once(loader: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    composed, seen, original = Composed(loader, master_of(loader)), [], loader.load_sweep_config

    def counted(master: DictConfig, job: list[str]) -> DictConfig:
        seen.append(job)
        return original(master, job)

    monkeypatch.setattr(loader, "load_sweep_config", counted)
    for _ in range(2):
        for seed in range(3):
            # What somebody changes is theirs alone.
            composed.of([f"seed={seed}", "tracking=none"]).seed = 99
            assert composed.of([f"seed={seed}", "tracking=none"]).seed == seed
    assert seen == [["seed=0", "tracking=none"]]


@pytest.mark.parametrize("wrong", ["sed=1", "seed.more=1"])
def test_what_does_not_exist_is_refused_by_hydra(loader: Any, wrong: str) -> None:
    composed = Composed(loader, master_of(loader))
    composed.of(["seed=1"])
    with pytest.raises(ConfigCompositionException):
        composed.of([wrong])
