"""The command `compress-tune`: how an export is served best on this machine. See `compress-tune --help`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from compress.cli.commands.paths import path
from compress.cli.commands.reasons import refusing
from compress.cli.version import FLAG, version
from compress.core.errors import InputError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 where runtime.json was written, 2 for input that cannot be used, and for an aim
    that no setting reaches."""
    given = _parser().parse_args(arguments)
    with refusing("compress-tune"):
        _tune(given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="compress-tune",
        description="Measure, on a sample of your own inputs, how an exported folder is served best on this machine: "
        "threads, batch size, padding, spinning, pinning, operators at once, memory. Settings take turns, each in a "
        "process of its own; what is not shown to be better stays at its default. The choice is written as "
        "runtime.json beside the model, where compress.Predictor finds it.",
    )
    parser.add_argument(FLAG, action="version", version=version())
    parser.add_argument("export", type=path, metavar="EXPORT", help="the folder `export` of a finished run")
    sample = parser.add_mutually_exclusive_group(required=True)
    sample.add_argument(
        "--texts", type=path, metavar="FILE", help="texts as they are asked in use, one a line (pairs: a tab between)"
    )
    sample.add_argument("--images", type=path, metavar="DIR", help="images as they are asked in use")
    parser.add_argument(
        "--slo-ms",
        type=float,
        metavar="MS",
        help="most examples per second with calls that take at most so many milliseconds (default: the least time of "
        "a call with one example)",
    )
    parser.add_argument(
        "--quantile", type=float, default=0.95, help="the share of calls that keep within --slo-ms (%(default)s)"
    )
    parser.add_argument(
        "--batches",
        action="store_true",
        help="try batches also where they change answers, as they do with INT8 ranges found anew for each batch; what "
        "that costs is said",
    )
    parser.add_argument("--out", type=path, default=Path("tune.html"), help="the page to write (%(default)s)")
    return parser


def _tune(given: argparse.Namespace) -> None:
    from compress.deploy.tuning.aim import Aim

    aim = Aim(slo_ms=given.slo_ms, quantile=given.quantile)
    out: Path = given.out
    if out.is_dir() or not out.parent.is_dir():
        raise InputError(f"--out is {out}, which is no file that could be written. Name one in a folder that is there.")
    folder: Path = given.export

    from compress.core.manifest import find_damage
    from compress.deploy.export import read_export
    from compress.deploy.tuning.page import write_page
    from compress.deploy.tuning.sample import read_images, read_texts
    from compress.deploy.tuning.telling import print_outcome
    from compress.deploy.tuning.tune import tune
    from compress.report.terminal import terminal

    export = read_export(folder)
    damage = find_damage(folder)
    if damage is not None:
        raise InputError(f"{folder} is no whole export: {damage}. Export the model again.")
    images = export.serving.pipeline_tag == "image-classification"
    if images != (given.images is not None):
        kind, option = ("images", "--images DIR") if images else ("texts", "--texts FILE")
        raise InputError(f"{folder} reads {kind}. Give a sample of them: {option}.")
    columns = export.task_settings.get("text")
    pairs = isinstance(columns, list) and len(columns) == 2
    sample = read_images(given.images) if images else read_texts(given.texts, pairs=pairs)
    outcome = tune(folder, sample, aim, batches=given.batches)
    write_page(outcome, out)
    console = terminal()
    print_outcome(outcome, console)
    console.print(f"\nwritten: {folder / 'runtime.json'}\npage: {out}", soft_wrap=True)


if __name__ == "__main__":
    main()
