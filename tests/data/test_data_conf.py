"""Every YAML of `conf/data` builds the source that it names, and leaves none of its settings unsaid."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hydra.utils import get_class
from omegaconf import OmegaConf

CONF = Path(__file__).parents[2] / "conf" / "data"


@pytest.mark.parametrize("name", sorted(path.name for path in CONF.glob("*.yaml")))
def test_the_yaml_says_every_setting(name: str) -> None:
    data = OmegaConf.load(CONF / name)
    # What only a user can say.
    data.update({key: "given" for key in ("train", "name") if key in set(data)})
    source = OmegaConf.to_container(OmegaConf.create({"seed": 3, "data": data}), resolve=True)["data"]["source"]
    kind = get_class(source.pop("_target_"))
    assert set(source) == {field.name for field in dataclasses.fields(kind)}
    assert all(field.default is dataclasses.MISSING for field in dataclasses.fields(kind))
    assert kind(**source).seed == 3


def test_every_yaml_says_what_the_task_reads() -> None:
    for path in CONF.glob("*.yaml"):
        wanted = {"image"} if path.stem == "images" else {"text", "max_length"}
        # Texts that a teacher, judgements, or what comes next in them judge have no label.
        unlabelled = ("texts", "bbc_search", "documents", "bbc_articles")
        labelled = set() if path.stem in unlabelled else {"label", "group"}
        assert wanted | labelled <= set(OmegaConf.load(path)), path.name
