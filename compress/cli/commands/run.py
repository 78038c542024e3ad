"""The command `compress`: a recipe is a Hydra primary config. See `compress --help`."""

from __future__ import annotations

import atexit
import gc
import os
import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from compress.cli import version
from compress.cli.commands.dry_run import FLAG, asks_hydra, dry_run
from compress.cli.commands.folders import leave_none_empty
from compress.cli.commands.job import run_alone, run_in_sweep
from compress.cli.commands.reasons import as_compress_error, complain, folder_reason, refuse
from compress.cli.config import register, settings_root
from compress.cli.hydra_errors import explain, quoted
from compress.core.errors import CompressError, InputError
from compress.core.waiting import wait_briefly

if TYPE_CHECKING:
    from compress.cli.sweep.job_result import JobResult

INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit: 0 exported, 1 a stage broke, 2 bad input, 3 nothing passed, 130 interrupted. A
    sweep: its worst job's."""
    # Errors come to us whole, instead of being printed and turned into exit status 1.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # For every Python that a library starts, such as a launcher's workers: none looks in the current folder first.
    os.environ["PYTHONSAFEPATH"] = "1"
    wait_briefly()
    if version.FLAG in sys.argv[1:]:
        print(version.version())
        return
    register()
    _collect_less()
    typed, alone = sys.argv, _Alone()
    given = quoted(typed[1:])
    sys.argv = [typed[0], *(argument for argument in given if argument != FLAG)]
    try:
        if FLAG in given and not asks_hydra(sys.argv[1:]):
            sys.exit(dry_run(sys.argv[1:]))
        _application(alone, shlex.join(["compress", *typed[1:]]))()
        status = 0 if alone.failure is None else refuse(alone.failure)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from the last finished stage", file=sys.stderr)
        status = INTERRUPTED
    except CompressError as error:
        status = refuse(error)
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        status = complain(explain(error, typed[1:]), InputError.exit_status)
    except Exception as error:
        reason = None if alone.entered else folder_reason(error)
        if reason is None:
            raise
        status = complain(reason, InputError.exit_status)
    finally:
        sys.argv = typed
    sys.stdout.flush()
    sys.exit(status)


def _collect_less() -> None:
    """Importing torch and transformers makes a million objects that stay. Python would look through them again and
    again for what nothing refers to, and once more at the end: two of the seconds that a run takes which finds its work
    done."""
    gc.set_threshold(100_000, 50, 50)
    atexit.register(gc.freeze)


class _Alone:
    """A run without a sweep. failure: what it ended with. entered: whether Hydra had made its folder, and called us."""

    failure: CompressError | None = None
    entered = False


def _application(alone: _Alone, command: str) -> Callable[[], None]:
    @hydra.main(version_base="1.3", config_path=str(settings_root() / "recipes"), config_name="quickstart")
    def application(settings: DictConfig) -> JobResult | None:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            return run_in_sweep(settings)
        alone.entered = True
        # Kept, not raised: Hydra would write a line of its own.
        try:
            run_alone(settings, command)
        except Exception as error:
            alone.failure = as_compress_error(error)
            if alone.failure is None:
                raise
            leave_none_empty()
        return None

    return application
