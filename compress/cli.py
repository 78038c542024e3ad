"""The command `compress`: a recipe is a Hydra primary config. See `compress --help`."""

from __future__ import annotations

import errno
import os
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from compress.config import build, known_settings, nearest_setting, register, settings_root
from compress.core.errors import CompressError, InputError

DISK = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "permission was denied",
}
WAY_OUT = "What was finished is kept. Free some space, or name other folders: store, hydra.run.dir."
INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit: 0 exported, 1 a stage broke, 2 bad input, 3 nothing passed, 130 interrupted."""
    # Errors come to us whole, instead of being printed and turned into exit status 1.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    register()
    failures: list[CompressError] = []
    try:
        _application(failures)()
        status = max((_complain(str(error), error.exit_status) for error in failures), default=0)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from the last finished stage", file=sys.stderr)
        status = INTERRUPTED
    except CompressError as error:
        status = _complain(str(error), error.exit_status)
    except (HydraException, OmegaConfBaseException) as error:
        status = _complain(_explain(error), InputError.exit_status)
    except Exception as error:
        reason = _disk_reason(error)
        if reason is None:
            raise
        status = _complain(reason, InputError.exit_status)
    sys.stdout.flush()
    sys.exit(status)


def _application(failures: list[CompressError]) -> Callable[[], None]:
    @hydra.main(version_base="1.3", config_path=str(settings_root() / "recipes"), config_name="quickstart")
    def application(settings: DictConfig) -> None:
        # Kept, not raised: in a multirun the other jobs go on.
        try:
            _run(settings)
        except CompressError as error:
            failures.append(error)

    return application


def _run(settings: DictConfig) -> None:
    # Hydra's answers (--help, --cfg) must not wait for torch.
    recipe_name = HydraConfig.get().job.config_name or "recipe"
    folder = Path(HydraConfig.get().runtime.output_dir)
    recipe = build(settings, recipe_name)
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    from rich.console import Console

    from compress.pipeline import run
    from compress.report.table import StageTable

    # A log file has no width of its own; the whole table fits in 120 columns.
    console = Console(width=None if sys.stdout.isatty() else 120)
    table = StageTable(console, recipe.task.metric)
    table.header()
    result = run(recipe, folder, command=shlex.join(["compress", *sys.argv[1:]]), on_row=table.row)
    console.print(f"\nexported to {result.export}\nreport:     {result.folder / 'report.html'}", soft_wrap=True)


def _complain(message: str, status: int) -> int:
    print(f"compress: {message}", file=sys.stderr)
    return status


def _explain(error: Exception) -> str:
    text = " ".join(str(error).split())
    match = re.search(r"Could not override '([^']+)'|Key '[^']+' is not in struct full_key: (\S+)", text)
    if match is None:
        return text
    wrong = match.group(1) or match.group(2)
    name, folder = _recipe_named(sys.argv[1:])
    try:
        hint = nearest_setting(wrong, known_settings(name, folder))
    except (HydraException, OmegaConfBaseException):
        hint = ""
    return f"{wrong} is no setting of the recipe {name!r}. {hint} See: compress -cn {name} --cfg job"


def _recipe_named(arguments: list[str]) -> tuple[str, Path | None]:
    def value(*flags: str) -> str | None:
        for i, argument in enumerate(arguments):
            if argument in flags and i + 1 < len(arguments):
                return arguments[i + 1]
            for flag in flags:
                if argument.startswith(f"{flag}="):
                    return argument.partition("=")[2]
        return None

    folder = value("-cd", "--config-dir", "-cp", "--config-path")
    return value("-cn", "--config-name") or "quickstart", None if folder is None else Path(folder)


def _disk_reason(error: BaseException | None) -> str | None:
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK:
            return f"{DISK[error.errno]}: {error.filename or error}. {WAY_OUT}"
        if "No space left on device" in str(error):
            return f"the disk is full ({error}). {WAY_OUT}"
        error = error.__cause__ or error.__context__
    return None
