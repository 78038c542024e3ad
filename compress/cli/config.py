"""From settings to a recipe. Together with `commands`, the only place that knows Hydra."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import log1p
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import compose, initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from compress.cli.building import build_part
from compress.core.checks import nearest, require_at_least, require_choice, require_integer
from compress.core.errors import InputError
from compress.core.stage import StageDefaults
from compress.core.task import TaskDefaults
from compress.core.words import SourceDefaults, TeacherDefaults
from compress.measure.environment import allowed_cpus, int8_weight_bits

if TYPE_CHECKING:
    from compress.core.recipe import Recipe

GROUPS = ("objective", "model", "data", "task", "runtime", "stages", "gate", "gates", "measurement", "tracking")
PARTS = (*GROUPS, "order", "device", "seed", "store", "blame_seconds")
# What a whole recipe of one's own need not have.
OPTIONAL = ("export",)
LARGEST_SEED = 2**32 - 1


def settings_root() -> Path:
    """The folder that holds `conf` and `recipes`: the package's own where installed, else the repository's."""
    package = Path(__file__).resolve().parents[1]
    return package if (package / "conf").is_dir() else package.parent


class CompressSearchPath(SearchPathPlugin):
    """Adds `conf` to where Hydra looks for groups, so that a user's own recipe folder finds them too."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append our folders."""
        search_path.append("compress", f"file://{settings_root() / 'conf'}")
        search_path.append("compress-recipes", f"file://{settings_root() / 'recipes'}")


def register() -> None:
    """Tell Hydra about our settings, once per process."""
    Plugins.instance().register(CompressSearchPath)
    OmegaConf.register_new_resolver("allowed_cpus", lambda: len(allowed_cpus()), replace=True)
    OmegaConf.register_new_resolver("int8_weight_bits", int8_weight_bits, replace=True)
    OmegaConf.register_new_resolver("log1p", _log1p, replace=True)
    OmegaConf.register_new_resolver("is_given", lambda value: value is not None, replace=True)
    OmegaConf.register_new_resolver("where_set", _where_set, replace=True)


def _log1p(value: Any) -> Any:
    """A share by which something may grow, as a difference of logarithms; what is none is told of where it was set."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and value > -1
    return log1p(value) if number else value


def _where_set(value: Any, there: Any, absent: Any) -> Any:
    """One of two things that a recipe says: the first where another of its settings has a value, else the second."""
    return absent if value is None else there


def compose_settings(
    name: str, overrides: Sequence[str] = (), folder: Path | None = None, hydras: bool = False
) -> DictConfig:
    """The settings of a recipe by name, with overrides as on the command line.

    folder: a recipe folder of the user's own. hydras: with Hydra's own settings. Raises InputError for what does not
    exist.
    """
    register()
    with hydra_in(folder or settings_root() / "recipes"):
        return compose(config_name=name, overrides=list(overrides), return_hydra_config=hydras)


@contextmanager
def hydra_in(folder: Path) -> Iterator[None]:
    """Inside, Hydra composes the recipes of `folder`, and ours."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(config_dir=str(folder.resolve()), version_base="1.3"):
        yield


def build(settings: DictConfig, name: str) -> Recipe:
    """The recipe that the settings describe. Raises InputError where they do not describe one."""
    _require_groups(OmegaConf.to_container(settings, resolve=False))
    return built(_plain(settings, name), name)


def built(plain: dict[str, Any], name: str) -> Recipe:
    """The same of settings without any that refer to others, as a run's summary has them."""
    from compress.core.recipe import Recipe

    # First, because stages and gates take it up: what is wrong with it would be told of a setting nobody typed.
    objective = build_part("objective", _one_limit(plain["objective"]), offers=("speedup", "max_accuracy_drop"))
    plain["gates"] = _gates(plain)
    teacher = build_part("model", plain["model"], TeacherDefaults, offers=("read", "make", "identity", "learns"))
    # Before the data, which takes up what the task reads: what is wrong would be told of a setting nobody typed.
    task = build_part("task", plain["task"], TaskDefaults, offers=("encode", "collate", "signature", "statistics"))
    recipe = Recipe(
        name=name,
        teacher=teacher,
        task=task,
        data=build_part("data.source", plain["data"]["source"], SourceDefaults, offers=("load",)),
        runtime=build_part("runtime", plain["runtime"], offers=("open", "export", "form")),
        order=tuple(_order(plain["order"])),
        stages={
            key: build_part(f"stages.{key}", value, StageDefaults, offers=("apply", "leaves", "refuses"))
            for key, value in plain["stages"].items()
        },
        gates={
            key: build_part(f"gates.{key}", value, offers=("judge", "decide"), name=f"gates.{key}")
            for key, value in plain["gates"].items()
        },
        measurement=build_part("measurement", plain["measurement"], offers=("rounds",)),
        device=_device(plain["device"]),
        seed=_seed(plain["seed"]),
        store=_store(plain["store"]),
        objective=objective,
        blame_seconds=_blame_seconds(plain["blame_seconds"]),
        tracker=build_part("tracking", plain["tracking"], offers=("start",)),
        forms=_forms(plain.get("export", {}), decodes=task.decodes),
        vectors=_vectors(plain.get("export", {}).get("vectors")),
        settings=plain,
    )
    _require_one_objective(recipe)
    _require_vectors(recipe)
    return recipe


def known_settings(name: str, choices: Sequence[str] = (), folder: Path | None = None) -> list[str]:
    """The full names of a recipe's settings and of Hydra's. `choices`: overrides that choose groups, and so other
    settings."""
    settings = compose_settings(name, choices, folder, hydras=True)
    return list(_names(OmegaConf.to_container(settings, resolve=False), ""))


def _names(node: Any, prefix: str) -> Iterator[str]:
    for key, value in node.items() if isinstance(node, dict) else ():
        if key != "_target_":
            yield f"{prefix}{key}"
            yield from _names(value, f"{prefix}{key}.")


def _plain(settings: DictConfig, name: str) -> dict[str, Any]:
    try:
        missing = sorted(OmegaConf.missing_keys(settings))
        plain = {} if missing else OmegaConf.to_container(settings, resolve=True)
    except OmegaConfBaseException as error:
        told = " ".join(str(error).split())
        unset = re.search(r"Missing mandatory value: (\S+)", told)
        if unset is not None:
            raise InputError(
                f"{unset.group(1)} is not set; the recipe {name!r} needs it. Add {unset.group(1)}=... to the command."
            ) from None
        raise InputError(f"a setting refers to one that is not there: {told}. Mend the ${{...}} in it.") from None
    if missing:
        raise InputError(
            f"{missing[0]} is not set; the recipe {name!r} needs it"
            + (f" (as well as {', '.join(missing[1:])})" if missing[1:] else "")
            + f". Add {missing[0]}=... to the command."
        )
    assert isinstance(plain, dict)
    named = {str(key): _at_home(value) for key, value in plain.items() if key != "hydra"}
    absent = [part for part in PARTS if part not in named]
    if absent:
        raise InputError(
            f"{absent[0]} is missing from the recipe {name!r}; every recipe has {', '.join(PARTS)}. Begin its defaults "
            "with `- text_classification`, a whole recipe to change, or add what is missing."
        )
    _require_groups(named)
    _require_read(settings)
    return named


def _at_home(value: Any) -> Any:
    """Settings with a folder for each `~/` that one begins with: nothing but a path does."""
    if isinstance(value, dict):
        return {name: _at_home(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_at_home(inner) for inner in value]
    return at_home(value) if isinstance(value, str) and value.startswith("~/") else value


def at_home(value: str) -> str:
    """The value, with a folder for a `~` that it begins with; as it is where that means nobody's."""
    quote = value[:1] if value[:1] in ("'", '"') else ""
    inside = value.removeprefix(quote)
    if not inside.startswith("~"):
        return value
    try:
        return f"{quote}{Path(inside).expanduser()}"
    except RuntimeError:
        return value


def _require_groups(settings: Any) -> None:
    """Raise InputError where a value stands in the place of a group. One that refers to another is yet to be known."""
    for part in GROUPS:
        value = settings.get(part, {})
        if not isinstance(value, dict) and not (isinstance(value, str) and "${" in value):
            raise InputError(f"{part} is {value!r}; it must be a group of settings. See: compress --cfg job")


def _require_read(settings: DictConfig) -> None:
    """Raise InputError for a setting that nothing reads: Hydra takes any name in a recipe's own file."""
    raw = OmegaConf.to_container(settings, resolve=False)
    assert isinstance(raw, dict)
    read = {name.rpartition(".")[2] for name in re.findall(r"\$\{([\w.]+)", str(raw))}
    own = [
        full
        for name in raw
        if name not in (*PARTS, *OPTIONAL, "hydra", "student")
        for full in _leaves(str(name), raw[name])
    ]
    data = [f"data.{name}" for name in raw["data"] if name not in _read_by_tasks()]
    for name in (*own, *data):
        if name.rpartition(".")[2] not in read:
            known = [*PARTS, *(f"data.{other}" for other in raw["data"] if other in read)]
            raise InputError(
                f"{name} is set, but nothing reads it. {nearest(name, known) or 'Remove it.'} "
                f"(A value of your own is welcome where another setting takes it up, as ${{{name}}}.)"
            )


def _leaves(name: str, value: Any) -> list[str]:
    """The full names of what a group holds; the name itself where it is no group."""
    return [f"{name}.{inner}" for inner in value] if isinstance(value, dict) and value else [name]


def _read_by_tasks() -> set[str]:
    """What a data group may say for whatever task reads it; not every task reads all of it."""
    tasks = (settings_root() / "conf" / "task").glob("*.yaml")
    named = (name for path in tasks for name in re.findall(r"\$\{data\.(\w+)\}", path.read_text(encoding="utf-8")))
    return {"source", "group", *named}


def _one_limit(objective: Any) -> Any:
    """The settings without the names that recipes have for `max_accuracy_drop` whose metric is no accuracy: `max_drop`,
    and `max_perplexity_rise`, a share by which a perplexity may grow."""
    if not isinstance(objective, dict):
        return objective
    settings = {name: value for name, value in objective.items() if name not in ("max_drop", "max_perplexity_rise")}
    accuracy_drop = settings.get("max_accuracy_drop")
    if "max_perplexity_rise" in objective:
        rise = objective["max_perplexity_rise"]
        if isinstance(rise, bool) or not isinstance(rise, int | float) or not 0 <= rise < 1:
            raise InputError(
                f"objective.max_perplexity_rise is {rise}; it is a share by which the perplexity may grow, in [0, 1). "
                "Use 0.03 for three percent."
            )
        if accuracy_drop != log1p(rise):
            raise _two_limits("max_perplexity_rise", rise, accuracy_drop)
    elif "max_drop" in objective and objective["max_drop"] != accuracy_drop:
        raise _two_limits("max_drop", objective["max_drop"], accuracy_drop)
    return settings


def _two_limits(name: str, value: Any, accuracy_drop: Any) -> InputError:
    return InputError(
        f"objective.{name} is {value}, and objective.max_accuracy_drop is {accuracy_drop}; they are one limit, "
        "and a recipe derives one from the other. Set the one alone that the recipe's own file gives."
    )


def _gates(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of each stage's gate: what they do not say is as of the recipe's own gate."""
    # Built for its checks alone: what is wrong with it would be told of a gate that nobody named.
    build_part("gate", plain["gate"], offers=("judge", "decide"), name="gate")
    gates = dict(plain["gates"])
    for name in (*plain["stages"], *gates):
        own = gates.get(name, {})
        if not isinstance(own, dict) or "_target_" in own:
            continue
        if name not in plain["stages"]:
            raise InputError(f"gates.{name} is set, but no stage is called {name}. {nearest(name, plain['stages'])}")
        gates[name] = {**plain["gate"], **own}
    return gates


def _require_one_objective(recipe: Recipe) -> None:
    """Raise InputError where a stage or gate in `order` contradicts the objective. Where no stage takes it up, nothing
    can."""
    speedup = recipe.objective.speedup
    readers = [name for name in recipe.order if name in recipe.stages and recipe.stages[name].uses_latency]
    if speedup is None or not readers:
        return
    for name in readers:
        target = recipe.settings["stages"][name].get("target_speedup")
        if target is not None and target != speedup:
            raise InputError(
                f"objective.speedup is {speedup} and stages.{name}.target_speedup is {target}; they contradict each "
                "other. Set the objective alone."
            )
    for name in recipe.order:
        least = recipe.settings["gates"].get(name, {}).get("min_speedup")
        if least is not None and least > speedup:
            raise InputError(
                f"objective.speedup is {speedup} and gates.{name}.min_speedup is {least}, which asks for more. Raise "
                "the objective, or lower the gate's."
            )


def _order(order: Any) -> list[str]:
    if not isinstance(order, list) or not all(isinstance(name, str) for name in order):
        raise InputError(f"order is {order!r}; it must be a list of stage names. Use order=[distill,quantize].")
    return order


def _forms(export: Any, *, decodes: bool) -> tuple[str, ...]:
    """The forms that are asked for. Raises InputError where they cannot be written."""
    if not isinstance(export, dict) or export.keys() - {"forms", "vectors"}:
        raise InputError(
            f"export is {export!r}; it has two settings, export.forms and export.vectors. Use export.forms=[openvino]."
        )
    names = export.get("forms", [])
    if names == []:
        return ()
    from compress.deploy.forms.of_run import require_forms

    return require_forms(names, decodes=decodes)


def _vectors(given: Any) -> tuple[str, ...]:
    """The forms besides float in which an export is to give its vectors. Raises InputError for what is none.
    given: None for float alone."""
    # `compress --help` needs no numpy.
    from compress.core.kept_vectors import FLOAT, PRECISIONS

    named = given if isinstance(given, list) else [FLOAT if given is None else given]
    for form in named:
        require_choice("export.vectors", form, (FLOAT, *PRECISIONS))
        if named.count(form) > 1:
            raise InputError(f"export.vectors is {given}, which has {form} twice. Name it once.")
    return tuple(form for form in named if form != FLOAT)


def _require_vectors(recipe: Recipe) -> None:
    """Raise InputError where vectors are asked for that this export cannot give."""
    from compress.core.kept_vectors import KeepsVectors

    if not recipe.vectors:
        return
    asked = f"export.vectors is {', '.join(recipe.vectors)}"
    if not isinstance(recipe.task, KeepsVectors):
        raise InputError(f"{asked}; {recipe.task.name} gives no vectors. Use export.vectors=float.")
    if recipe.runtime.name != "onnxruntime":
        raise InputError(
            f"{asked}, and runtime is {recipe.runtime.name}, whose exports give float alone. Use runtime=onnxruntime, "
            "or export.vectors=float."
        )


def _seed(seed: Any) -> int:
    require_integer("seed", seed, 0, "Use 0, for example.")
    if seed > LARGEST_SEED:
        raise InputError(f"seed is {seed}; it must be at most {LARGEST_SEED}. Use 0, for example.")
    return int(seed)


def _blame_seconds(seconds: Any) -> float:
    require_at_least("blame_seconds", seconds, 0, "Use 60, or 0 for not at all.")
    return float(seconds)


def _store(store: Any) -> Path:
    if not isinstance(store, str) or not store.strip():
        raise InputError(f"store is {store!r}; it must be a folder. Use store=outputs/store, for example.")
    return Path(store).expanduser()


def _device(device: str) -> str:
    import torch

    require_choice("device", device, ("auto", "cpu", "cuda"))
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device is cuda, but torch finds no GPU here. Use device=auto or device=cpu.")
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def nearest_setting(wrong: str, known: Sequence[str]) -> str:
    """A sentence that offers the closest setting: the same parent first, then the same last name, then any."""
    parent, _, last = wrong.rpartition(".")
    siblings = [name for name in known if name.rpartition(".")[0] == parent]
    return nearest(wrong, siblings) or _same_last_name(last, known) or nearest(wrong, known)


def _same_last_name(last: str, known: Sequence[str]) -> str:
    matches = [name for name in known if name.rpartition(".")[2] == last]
    return f"Did you mean {matches[0]!r}?" if matches else ""
