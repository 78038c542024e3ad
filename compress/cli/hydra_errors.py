"""The command line's words, for Hydra and back: paths are quoted on the way in, its errors become one sentence."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException, SearchPathException
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

from compress.cli.config import GROUPS, at_home, compose_settings, known_settings, nearest_setting, settings_root
from compress.core.checks import nearest
from compress.core.errors import InputError

UNKNOWN = r"Could not (?:override|delete from config\.) '([^']+)'|Key '[^']+' is not in struct full_key: (\S+)"

# What brings a launcher.
EXTRAS = {"joblib": "joblib", "ray": "ray", "submitit_slurm": "slurm", "submitit_local": "slurm"}


def quoted(arguments: Sequence[str]) -> list[str]:
    """The arguments, with values in quotes that Hydra's grammar would refuse or take apart but that name something.

    Hydra's unquoted values know neither letters beyond ASCII nor parentheses, and a comma makes two of one.
    """
    told = [_at_home(argument) for argument in arguments]
    return [argument if argument.startswith("-") else _quoted(argument) for argument in told]


def _at_home(argument: str) -> str:
    """The argument, with a `~` for the home folder that a shell leaves as it is: behind `=`, where paths are given."""
    name, equals, value = argument.partition("=")
    return f"{name}={at_home(value)}" if equals else argument


def _quoted(argument: str) -> str:
    name, equals, value = argument.partition("=")
    if not equals or value[:1] in ("", "'", '"', "[", "{") or "${" in value or not _needs_quotes(argument, value):
        return argument
    return in_quotes(name, value)


def in_quotes(name: str, value: str) -> str:
    """The override that sets `name` to this text, whatever is in it."""
    return f'{name}="{value.replace(chr(92), chr(92) * 2).replace(chr(34), chr(92) + chr(34))}"'


def _needs_quotes(argument: str, value: str) -> bool:
    try:
        parsed = OverridesParser.create().parse_override(argument)
    except HydraException:
        # What is no path is left as it is: its error is the better one.
        return not value.isascii() or "/" in value
    return parsed.is_sweep_override() and Path(value).exists()


def explain(error: Exception, arguments: Sequence[str]) -> str:
    """One sentence or two for an error of Hydra or OmegaConf: the setting, the value, the rule and the way out."""
    recipe, folder = _recipe_named(arguments)
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        place = f"{Path(mark.name).name}, line {mark.line + 1}, column {mark.column + 1}"
        return f"{place}: {error.problem}. The file must be YAML; see the recipes that come with compress."
    if isinstance(error, OverrideParseException):
        if (settings_root() / "recipes" / f"{error.override}.yaml").exists():
            return f"{error.override} is a recipe, not a setting. Put -cn before it: compress -cn {error.override} ..."
        return (
            f"{error.override} cannot be read ({_first_line(error)}). Write setting=value; a list is [a,b]. Put quotes "
            f"around special characters, and around the whole for the shell: 'setting=\"value\"'."
        )
    in_the_way = _folder_in_the_way(arguments, folder)
    if in_the_way is not None:
        return in_the_way
    if isinstance(error, SearchPathException):
        return f"-cd is {folder}, which is no folder here. Give the folder that holds your recipes."
    if isinstance(error, MissingConfigException):
        return _missing_file(error, recipe, folder)
    text = " ".join(str(error).split())
    if text.startswith("Ambiguous value for argument"):
        wrong = re.sub(r".*argument '(.*?)' 1\. To.*", r"\1", text)
        name, _, value = wrong.partition("=")
        return (
            f"{wrong} has a comma: several values need a sweep (compress -m ...). For a list write {name}=[{value}]; "
            f"for text with a comma quote it: '{name}=\"{value}\"'."
        )
    group = re.search(r"config group '([^']+)' does not exist|Did you mean to override ([^?]+)\?", text)
    if group is not None:
        return _wrong_group(error, group.group(1), group.group(2))
    match = re.search(UNKNOWN, text)
    if match is None:
        return text
    choices = [argument for argument in arguments if re.match(rf"({'|'.join(GROUPS)}|[\w.]+/[\w./@]+)=\w+$", argument)]
    return _unknown(match.group(1) or match.group(2), recipe, choices, folder)


def _folder_in_the_way(arguments: Sequence[str], folder: Path | None) -> str | None:
    """What to say where a folder beside the user's recipe has the name of a setting that is given: Hydra takes it for a
    group, and the value for a file in it."""
    for argument in arguments if folder is not None else ():
        name = argument.partition("=")[0].lstrip("+~")
        place = (folder or Path()) / name
        if "=" not in argument or not name.isidentifier() or (settings_root() / "conf" / name).is_dir():
            continue
        if place.is_dir() and not any(place.glob("*.y*ml")):
            return (
                f"{argument} cannot be set while there is a folder {place}: Hydra takes a folder beside a recipe for a "
                f"group of settings of that name. Move the folder {name}, or put the recipe into a folder of its own: "
                f"-cd {folder}/recipes."
            )
    return None


def _unknown(wrong: str, recipe: str, choices: Sequence[str], folder: Path | None) -> str:
    try:
        known = known_settings(recipe, choices, folder)
        # Hydra's own are near nothing but each other.
        known = [name for name in known if name.startswith("hydra.") == wrong.startswith("hydra.")]
        hint = _method_with(wrong, recipe, choices, folder) or _recipe_with(wrong, recipe, choices, folder)
        hint = hint or nearest_setting(wrong, known)
    except (HydraException, OmegaConfBaseException, InputError):
        hint = ""
    told = f"{wrong} is no setting of the recipe {recipe!r}{' with ' + ' '.join(choices) if choices else ''}."
    part = "hydra" if wrong.startswith("hydra.") else "job"
    see = f"All settings: {' '.join([_command(recipe, folder), *choices])} --cfg {part}"
    return " ".join(part for part in (told, hint, see) if part)


def _method_with(wrong: str, recipe: str, choices: Sequence[str], folder: Path | None) -> str:
    """A sentence that names a method which has this setting, where another one stands in the recipe."""
    kind = re.match(r"stages\.(\w+)\.", wrong)
    if kind is None:
        return ""
    for path in sorted((settings_root() / "conf" / "stage" / kind.group(1)).glob("*.yaml")):
        choice = f"stage/{kind.group(1)}@stages.{kind.group(1)}={path.stem}"
        if wrong in known_settings(recipe, [*choices, choice], folder):
            return f"Another method has it: add {choice}"
    return ""


def _recipe_with(wrong: str, recipe: str, choices: Sequence[str], folder: Path | None) -> str:
    """A sentence that names a recipe of ours that has this setting; if there is one, for the task of `recipe`."""
    names = sorted((path.stem for path in (settings_root() / "recipes").glob("*.yaml")), reverse=True)
    task = compose_settings(recipe, (), folder).task["_target_"]
    for name in sorted(names, key=lambda name: compose_settings(name).task["_target_"] != task):
        # Such choices may not fit another recipe.
        with contextlib.suppress(HydraException, OmegaConfBaseException, InputError):
            if wrong in known_settings(name, choices):
                return f"The recipe {name} has it: compress -cn {name} ..."
    return ""


def _missing_file(error: MissingConfigException, recipe: str, folder: Path | None) -> str:
    wanted = str(error.missing_cfg_file)
    if wanted == recipe:
        places = [settings_root() / "recipes", *([] if folder is None else [folder])]
        names = sorted({path.stem for place in places for path in place.glob("*.y*ml")})
        hint = nearest(recipe, names) or "A recipe of your own is found with -cd FOLDER."
        return f"-cn is {recipe!r}; there is no such recipe (there are: {', '.join(names)}). {hint}"
    if error.options:
        group, _, value = wanted.rpartition("/")
        hint = nearest(value, error.options) or "Use one of these."
        if group == "hydra/launcher" and value in EXTRAS:
            hint = f"Run: pip install 'compress[{EXTRAS[value]}]'"
        return f"{group} is {value!r}; it must be one of {', '.join(sorted(error.options))}. {hint}"
    return _first_line(error).rstrip(".") + ". Give one that exists."


def _wrong_group(error: Exception, group: str | None, offered: str | None) -> str:
    wanted = re.search(r"Override (\S+)=|override '([^']+)'", str(error))
    name = "" if wanted is None else wanted.group(1) or wanted.group(2)
    if offered is None:
        root = settings_root() / "conf"
        known = sorted({path.parent.relative_to(root).as_posix() for path in root.glob("*/**/*.yaml")})
        offered = (nearest(str(group), known) or f"Groups: {', '.join(known)}.").rstrip("?")
        return f"{name} names the group {group!r}, which does not exist. {offered}{'?' if 'Did' in offered else ''}"
    return f"{name} is no group of this recipe. Did you mean {offered.strip()!r}?"


def _recipe_named(arguments: Sequence[str]) -> tuple[str, Path | None]:
    def value(*flags: str) -> str | None:
        for i, argument in enumerate(arguments):
            if argument in flags and i + 1 < len(arguments):
                return arguments[i + 1]
            for flag in flags:
                if argument.startswith(f"{flag}="):
                    return argument.partition("=")[2]
        return None

    folder = value("-cd", "--config-dir", "-cp", "--config-path")
    name = value("-cn", "--config-name") or "quickstart"
    return name.removesuffix(".yaml"), None if folder is None else Path(folder)


def _command(recipe: str, folder: Path | None) -> str:
    return f"compress{'' if folder is None else f' -cd {folder}'} -cn {recipe}"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
