"""A class is called where a recipe expects a part, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import pytest

from compress.cli.config import build, compose_settings
from compress.cli.positions import parts_of
from compress.core.errors import InputError
from compress.core.words import Importance
from compress.methods.distill.layers import Distill
from compress.methods.prune.budget import PruneToBudget
from compress.methods.training.gradual import Gradual
from compress.methods.training.imitation import Imitation
from compress.methods.training.loop import Optimization
from compress.tasks.text_classification import TextClassification


class Criterion(Protocol):
    """Something that a user's own stage takes."""

    def of(self) -> float: ...


@dataclass
class Mine:
    """Every kind of setting."""

    name: str
    sizes: Sequence[int] | None
    where: Path
    how: Literal["Imitation", "b"]
    more: Mapping[str, Any]
    anything: Any
    criterion: Criterion | None
    several: list[Imitation]


def test_parts_are_what_annotations_name_besides_values() -> None:
    assert parts_of(Mine) == {"criterion": Criterion, "several": Imitation}
    assert parts_of(TextClassification) == {}
    assert parts_of(Distill) == {"imitation": Imitation}
    assert parts_of(Imitation) == {"optimization": Optimization}
    assert parts_of(PruneToBudget)["importance"] is Importance and parts_of(PruneToBudget)["gradual"] is Gradual


def _text_classification(*overrides: str) -> None:
    given = ("model.path=here", "data.train=here", *overrides)
    build(compose_settings("text_classification", given), "text_classification")


CALLS = [
    ("data.label", "os.system", "data.label"),
    ("data.text", "os.system", "data.text"),
    ("data.train", "os.system", "data.train"),
    ("model.path", "os.system", "model.path"),
    ("stages.distill.epochs", "os.system", "stages.distill.epochs"),
    ("stages.distill.imitation.temperature", "os.system", "stages.distill.imitation.temperature"),
    ("gate.max_accuracy_drop", "os.system", "gate"),
    ("runtime.threads", "os.system", "runtime.threads"),
    ("store", "os.system", "store"),
    ("seed", "os.system", "seed"),
    ("tracking", "os.system", "tracking._target_"),
    ("runtime", "subprocess.Popen", "runtime._target_"),
    ("stages.distill.imitation.optimization", "subprocess.Popen", "stages.distill.imitation.optimization._target_"),
    ("stages.prune.importance", "subprocess.Popen", "stages.prune.importance._target_"),
]


@pytest.mark.parametrize(("setting", "target", "named"), CALLS, ids=[case[0] for case in CALLS])
def test_nothing_is_called_where_a_value_belongs(tmp_path: Path, setting: str, target: str, named: str) -> None:
    trace = tmp_path / "trace"
    argument = "command" if target == "os.system" else "args"
    given = {"_target_": target, argument: f"touch {trace}", "shell": "true"}
    if named.endswith("._target_"):
        changes = [f"++{setting}.{name}='{value}'" for name, value in given.items()]
    else:
        changes = [f"{setting}={{{','.join(f'{name}:{value}' for name, value in given.items())}}}"]
    with pytest.raises(InputError) as refused:
        _text_classification(*changes)
    assert named in str(refused.value)
    assert not trace.exists()


def test_a_module_is_not_even_imported_where_a_value_belongs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "leaves_a_trace.py").write_text(f"open({str(tmp_path / 'trace')!r}, 'w')\nclass Any: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"data\.text\._target_ is 'leaves_a_trace.Any', but TextClassification takes"):
        _text_classification("data.text=[{_target_:leaves_a_trace.Any}]")
    assert not (tmp_path / "trace").exists()
