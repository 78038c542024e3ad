"""The command `compress`: a recipe is a Hydra primary config. See `compress --help`."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from compress.commands.dry_run import FLAG, asks_hydra, dry_run
from compress.config import build, register, settings_root
from compress.core.errors import CompressError, InputError
from compress.hydra_errors import explain, quoted

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
    typed, failures = sys.argv, _Failures()
    given = quoted(typed[1:])
    sys.argv = [typed[0], *(argument for argument in given if argument != FLAG)]
    try:
        if FLAG in given and not asks_hydra(sys.argv[1:]):
            sys.exit(dry_run(sys.argv[1:]))
        _application(failures, shlex.join(["compress", *typed[1:]]))()
        status = max((_refuse(error) for error in failures), default=0)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from the last finished stage", file=sys.stderr)
        status = INTERRUPTED
    except CompressError as error:
        status = _refuse(error)
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        status = _complain(explain(error, typed[1:]), InputError.exit_status)
    except Exception as error:
        reason = None if failures.entered else _folder_reason(error)
        if reason is None:
            raise
        status = _complain(reason, InputError.exit_status)
    finally:
        sys.argv = typed
    sys.stdout.flush()
    sys.exit(status)


class _Failures(list[CompressError]):
    """What the jobs of one command ended with. entered: whether Hydra had made a run's folder and handed over."""

    entered = False


def _application(failures: _Failures, command: str) -> Callable[[], None]:
    @hydra.main(version_base="1.3", config_path=str(settings_root() / "recipes"), config_name="quickstart")
    def application(settings: DictConfig) -> None:
        failures.entered = True
        # Kept, not raised: in a multirun the other jobs go on.
        try:
            _run(settings, command)
        except CompressError as error:
            failures.append(error)
            # Hydra has made the folder. It goes where nothing was written into it.
            with contextlib.suppress(OSError):
                Path(HydraConfig.get().runtime.output_dir).rmdir()
        except Exception as error:
            # A full disk comes as many types.
            reason = _disk_reason(error)
            if reason is None:
                raise
            failures.append(InputError(reason))

    return application


def _run(settings: DictConfig, command: str) -> None:
    # Hydra's answers (--help, --cfg) must not wait for torch.
    recipe_name = HydraConfig.get().job.config_name or "recipe"
    folder = Path(HydraConfig.get().runtime.output_dir)
    recipe = build(settings, recipe_name)
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    from rich.console import Console

    from compress.core.ledger import Row
    from compress.pipeline import run
    from compress.report.decision import decide
    from compress.report.table import StageTable

    # A log file has no width of its own; the whole table fits in 120 columns.
    console = Console(width=None if sys.stdout.isatty() else 120)
    table = StageTable(console, recipe.task.metric)

    def show(row: Row) -> None:
        # With the first row, so that a refusal stands alone.
        if row.stage == "teacher":
            table.header()
        table.row(row)

    def record() -> None:
        _record_settings(settings, folder / ".hydra")

    hydra_settings = HydraConfig.get()
    sweep = Path(hydra_settings.sweep.dir).name if hydra_settings.mode == RunMode.MULTIRUN else ""
    result = run(recipe, folder, command=command, sweep=sweep, on_row=show, on_start=record)
    decision = decide(result.rows, result.summary)
    console.print("\n" + " ".join((decision.headline, *decision.details)))
    console.print(f"\nexported to {result.export}\nreport:     {result.folder / 'report.html'}", soft_wrap=True)


def _record_settings(settings: DictConfig, folder: Path) -> None:
    """What Hydra itself would write, before it is known whether the folder is in use."""
    folder.mkdir(exist_ok=True)
    hydra_settings = HydraConfig.get()
    OmegaConf.save(settings, folder / "config.yaml")
    OmegaConf.save(OmegaConf.create({"hydra": hydra_settings}), folder / "hydra.yaml")
    OmegaConf.save(hydra_settings.overrides.task, folder / "overrides.yaml")


def _complain(message: str, status: int) -> int:
    print(f"compress: {message}", file=sys.stderr)
    return status


def _refuse(error: CompressError) -> int:
    reason = None if isinstance(error, InputError) else _disk_reason(error)
    if reason is not None:
        return _complain(reason, InputError.exit_status)
    return _complain(str(error), error.exit_status)


def _folder_reason(error: Exception) -> str | None:
    if not isinstance(error, OSError) or error.filename is None:
        return None
    return f"hydra.run.dir cannot be made at {error.filename} ({error.strerror}). Name another folder."


def _disk_reason(error: BaseException | None) -> str | None:
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK:
            return f"{DISK[error.errno]}: {error.filename or error}. {WAY_OUT}"
        if "No space left on device" in str(error):
            line = next(line for line in str(error).splitlines() if "No space left on device" in line)
            return f"the disk is full ({line.strip()}). {WAY_OUT}"
        error = error.__cause__ or error.__context__
    return None
