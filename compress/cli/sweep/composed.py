"""The settings of a sweep's jobs. Composing takes Hydra a quarter of a second; where jobs differ in plain values alone,
one is composed, and the values of the others are written into copies of it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import lru_cache

from hydra._internal.config_loader_impl import get_overrides_dirname
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from compress.cli.sweep.own import HYDRAS

KNOWN_COMBINATIONS = 500


class Composed:
    """Settings of jobs, by their overrides. config: the sweep's own."""

    def __init__(self, loader: ConfigLoader, config: DictConfig) -> None:
        self._loader, self._config = loader, config
        self._composed: dict[tuple[str, ...], list[tuple[list[Override], DictConfig]]] = {}
        # Each job is checked, placed, run and recorded.
        self._known = lru_cache(maxsize=KNOWN_COMBINATIONS)(self._made)

    def parse(self, overrides: Sequence[str]) -> list[Override]:
        """As Hydra reads them."""
        parsed = OverridesParser.create(config_loader=self._loader).parse_overrides(list(overrides))
        assert isinstance(parsed, list)
        return parsed

    def of(self, overrides: Sequence[str], number: int | None = None) -> DictConfig:
        """A job's settings, to change as one likes, as Hydra composes them. number: the job's, where it is known."""
        settings = copy.deepcopy(self._known(tuple(overrides)))
        if number is not None:
            with read_write(settings), open_dict(settings):
                settings.hydra.job.id = settings.hydra.job.num = number
        return settings

    def _made(self, overrides: tuple[str, ...]) -> DictConfig:
        parsed = self.parse(overrides)
        # Jobs that set the same, but for values that may be plain.
        alike = self._composed.setdefault(
            tuple(one.get_key_element() if _may_be_plain(one) else str(one.input_line) for one in parsed), []
        )
        for others, settings in alike:
            varied = _varied(settings, others, parsed)
            if varied is not None:
                return varied
        settings = self._loader.load_sweep_config(self._config, list(overrides))
        alike.append((parsed, settings))
        return settings


def _may_be_plain(override: Override) -> bool:
    """Whether it sets a single value, or chooses a group, which may look the same."""
    key = override.get_key_element()
    if (
        override.package is not None
        or key.startswith((*HYDRAS, "+", "~"))
        or "/" in key
        or override.is_sweep_override()
    ):
        return False
    return not isinstance(override.value(), list | dict)


def _varied(settings: DictConfig, before: Sequence[Override], overrides: Sequence[Override]) -> DictConfig | None:
    """A copy with the values of `overrides` for those of `before`. None where one that differs chooses a group, or
    cannot stand there: Hydra says why."""
    settings = copy.deepcopy(settings)
    try:
        for old, new in zip(before, overrides, strict=True):
            key = new.get_key_element()
            if old.input_line == new.input_line:
                continue
            if OmegaConf.is_config(OmegaConf.select(settings, key, throw_on_resolution_failure=False)):
                return None
            OmegaConf.update(settings, key, new.value())
    except OmegaConfBaseException:
        return None
    job = settings.hydra.job
    task = [override for override in overrides if not override.is_hydra_override()]
    with read_write(settings), open_dict(settings):
        settings.hydra.overrides.task = [override.input_line for override in task]
        how = job.config.override_dirname
        job.override_dirname = get_overrides_dirname(
            overrides=task, kv_sep=how.kv_sep, item_sep=how.item_sep, exclude_keys=list(how.exclude_keys)
        )
    return settings
