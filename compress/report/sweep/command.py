"""The command that makes a run again, ready for a shell."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from compress.report.sweep.nested import value_at


def command_again(hydra: Mapping[str, Any], overrides: Sequence[str]) -> str | None:
    """What to paste into a shell: where the run was started (its paths may be relative), the recipe, its overrides.

    hydra: what the run recorded in `.hydra/hydra.yaml`. overrides: this run's own, in a sweep each with one value.
    None where the record names no recipe.
    """
    recipe = value_at(hydra, "hydra", "job", "config_name")
    if recipe is None:
        return None
    words = ["compress", *_own_recipes(hydra), "-cn", str(recipe), *overrides]
    started_in = value_at(hydra, "hydra", "runtime", "cwd")
    place = "" if started_in is None else f"cd {shlex.quote(str(started_in))} && "
    return place + shlex.join(words)


def _own_recipes(hydra: Mapping[str, Any]) -> list[str]:
    """`-cd` where the recipe came from a folder of the user's own."""
    sources = value_at(hydra, "hydra", "runtime", "config_sources") or ()
    own = [source["path"] for source in sources if source.get("provider") == "command-line"]
    return ["-cd", str(own[0])] if own else []
