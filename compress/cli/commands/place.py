"""The command `compress-place`: which layers of a model go on which device. See `compress-place --help`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from compress.cli.commands.paths import path
from compress.cli.commands.reasons import refusing
from compress.cli.version import FLAG, version


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 where there is a plan, 2 for input that cannot be used, and where nothing
    fits."""
    given = _parser().parse_args(arguments)
    # Processes that are started in turn look for no library in the current folder, which holds the user's files.
    os.environ["PYTHONSAFEPATH"] = "1"
    with refusing("compress-place"):
        _place(given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="compress-place",
        description="Find out which layers of a language model go on which device, so that it fits and is fastest, and "
        "how fast that will be. Each block is timed on each device, and what goes from one to the other; of all "
        "ways to place consecutive blocks the best is found exactly.",
    )
    parser.add_argument(FLAG, action="version", version=version())
    parser.add_argument("model", type=path, metavar="MODEL", help="a folder that save_pretrained or a run wrote")
    parser.add_argument(
        "--devices",
        required=True,
        metavar="LIST",
        help="each with its memory: cuda:6GiB,cpu:16GiB; cuda:1:8GiB is the second GPU; cpu/2 a CPU with two threads, "
        "cpu/2@50%% one that rests half of the time, to try plans with",
    )
    parser.add_argument("--context", type=int, default=4096, help="tokens of the longest text (%(default)s)")
    parser.add_argument("--prompt", type=int, default=128, help="tokens of the prompt that is timed (%(default)s)")
    parser.add_argument(
        "--bits", type=int, choices=(32, 16, 8, 4), help="of each weight in memory (default: as it is stored)"
    )
    parser.add_argument("--costs", type=path, metavar="FILE", help="times measured elsewhere, instead of measuring")
    parser.add_argument("--save-costs", type=path, metavar="FILE", help="write the measured times there")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="run the plan on the devices, which must be here: a process for each, random weights of the same shapes, "
        "one request and then two at once; and show what was predicted beside what it took",
    )
    parser.add_argument(
        "--out",
        type=path,
        metavar="DIR",
        help="a new folder for device_map.json (Transformers, Accelerate), layers.json (Candle and others), plan.json",
    )
    return parser


def _place(given: argparse.Namespace) -> None:
    from compress.core.whole import require_new_folder
    from compress.deploy.placement.costs_file import require_writable, write_costs
    from compress.deploy.placement.devices import read_devices
    from compress.deploy.placement.files import write_files
    from compress.deploy.placement.place import Asked, place, verify

    asked = Asked(
        model=given.model,
        devices=read_devices(given.devices),
        context=given.context,
        prompt_tokens=given.prompt,
        bits=given.bits,
        costs=given.costs,
        verify=given.verify,
    )
    if given.out is not None:
        require_new_folder(given.out)
    if given.save_costs is not None:
        require_writable(given.save_costs)
    outcome = place(asked)
    if given.save_costs is not None:
        write_costs(given.save_costs, outcome.costs)
    if given.verify:
        outcome = verify(outcome)

    from compress.deploy.placement.telling import print_outcome
    from compress.report.terminal import terminal

    console = terminal()
    print_outcome(outcome, console)
    if given.out is not None:
        write_files(given.out, outcome.files())
        console.print(f"\nwritten: {given.out}", soft_wrap=True)


if __name__ == "__main__":
    main()
