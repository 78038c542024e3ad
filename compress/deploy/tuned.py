"""`runtime.json` beside a model: how it is served best on one machine, as `compress-tune` found it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from compress.core.content import require_inside
from compress.core.errors import InputError
from compress.core.evaluation import BatchEffect
from compress.core.json_file import read_json
from compress.core.whole import write_whole
from compress.deploy.export import Export
from compress.deploy.settings import Settings

FILE = "runtime.json"
FORMAT = 1
WAY_OUT = "Tune it again (compress-tune), or remove the file."


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """settings: what was chosen. batch_effect: as seen on the user's sample; None where it was not looked at. record:
    how it was found: aim, figures, machine."""

    settings: Settings
    batch_effect: BatchEffect | None
    record: Mapping[str, Any] = field(default_factory=dict)


def write_tuned(export: Export, tuned: Tuned) -> None:
    """Write `runtime.json`, whole or not at all."""
    effect = tuned.batch_effect
    content = {
        "format": FORMAT,
        "export": export.key,
        **tuned.settings.to_json(),
        "batch_effect": None if effect is None else asdict(effect),
        "record": dict(tuned.record),
    }
    write_whole(export.folder / FILE, json.dumps(content, indent=2, ensure_ascii=False))


def read_tuned(export: Export) -> Tuned | None:
    """What was found for this export; None where nobody looked. Raises InputError for a file of another export's, or
    for what is none."""
    path = export.folder / FILE
    if not path.exists():
        return None
    require_inside(export.folder, path)
    content = read_json(path, way_out=WAY_OUT)
    try:
        if content["format"] != FORMAT:
            raise InputError(f"{path} has format {content['format']}; this release reads {FORMAT}. {WAY_OUT}")
        if content["export"] != export.key:
            raise InputError(f"{path} is of another export ({content['export']}, and this is {export.key}). {WAY_OUT}")
        settings, effect = Settings.from_json(content), content["batch_effect"]
        seen = None if effect is None else BatchEffect.from_json(effect)
        record = dict(content["record"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is malformed ({error!r}). {WAY_OUT}") from error
    if settings.session.name != export.runtime:
        raise InputError(f"{path} is for {settings.session.name}, and the export for {export.runtime}. {WAY_OUT}")
    return Tuned(settings=settings, batch_effect=seen, record=record)
