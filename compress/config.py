"""From settings to a recipe. Together with `cli`, the only place that knows Hydra."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import compose, initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from compress.core.checks import nearest, require_choice, require_integer
from compress.core.errors import CompressError, InputError
from compress.measure.environment import allowed_cpus

if TYPE_CHECKING:
    from compress.core.words import Recipe


def settings_root() -> Path:
    """The folder that holds `conf` and `recipes`: the package's own where installed, else the repository's."""
    package = Path(__file__).resolve().parent
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


def compose_settings(name: str, overrides: Sequence[str] = (), folder: Path | None = None) -> DictConfig:
    """The settings of a recipe by name, with overrides as on the command line.

    folder: a recipe folder of the user's own. Raises InputError for what does not exist.
    """
    register()
    with _hydra_in(folder or settings_root() / "recipes"):
        return compose(config_name=name, overrides=list(overrides))


@contextmanager
def _hydra_in(folder: Path) -> Iterator[None]:
    GlobalHydra.instance().clear()
    with initialize_config_dir(config_dir=str(folder.resolve()), version_base="1.3"):
        yield


def build(settings: DictConfig, name: str) -> Recipe:
    """The recipe that the settings describe. Raises InputError where they do not describe one."""
    from compress.core.words import Recipe

    missing = sorted(OmegaConf.missing_keys(settings))
    if missing:
        raise InputError(
            f"{missing[0]} is not set; the recipe {name!r} needs it"
            + (f" (as well as {', '.join(missing[1:])})" if missing[1:] else "")
            + f". Add {missing[0]}=... to the command."
        )
    try:
        plain = OmegaConf.to_container(settings, resolve=True)
    except OmegaConfBaseException as error:
        raise InputError(f"the settings contradict themselves: {error}") from error
    assert isinstance(plain, dict)
    plain.pop("hydra", None)
    require_integer("seed", plain["seed"], 0, "Use 0, for example.")
    return Recipe(
        name=name,
        teacher=_instantiate("model", plain["model"]),
        data=_instantiate("data", plain["data"]["source"]),
        task=_instantiate("task", plain["task"]),
        runtime=_instantiate("runtime", plain["runtime"]),
        order=tuple(_order(plain["order"])),
        stages={key: _instantiate(f"stages.{key}", value) for key, value in plain["stages"].items()},
        gates={key: _instantiate(f"gates.{key}", value, name=f"gates.{key}") for key, value in plain["gates"].items()},
        measurement=_instantiate("measurement", plain["measurement"]),
        device=_device(plain["device"]),
        seed=plain["seed"],
        store=Path(plain["store"]),
        settings=plain,
    )


def known_settings(name: str, folder: Path | None = None) -> list[str]:
    """The full names of a recipe's settings."""
    return list(_names(OmegaConf.to_container(compose_settings(name, folder=folder), resolve=False), ""))


def _names(node: Any, prefix: str) -> Iterator[str]:
    for key, value in node.items() if isinstance(node, dict) else ():
        if key != "_target_":
            yield f"{prefix}{key}"
            yield from _names(value, f"{prefix}{key}.")


def _instantiate(where: str, settings: Any, **more: Any) -> Any:
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    if not isinstance(settings, dict) or "_target_" not in settings:
        raise InputError(f"{where} is {settings!r}; it must name a class: _target_: package.module.Class")
    try:
        return instantiate({**settings, **more}, _convert_="all")
    except InstantiationException as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, CompressError):
                raise cause from None
            cause = cause.__cause__
        raise InputError(f"{where} cannot be built: {error}") from error


def _order(order: Any) -> list[str]:
    if not isinstance(order, list) or not all(isinstance(name, str) for name in order):
        raise InputError(f"order is {order!r}; it must be a list of stage names. Use order=[distill,quantize].")
    return order


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
