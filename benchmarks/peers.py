"""One teacher, run by other tools and made smaller by compress, on the same test examples, each in its own process.

    pip install -c constraints.txt -r benchmarks/requirements.txt
    python -m benchmarks.peers NAME --run outputs/quickstart/DATE [ANOTHER_RUN ...] --title "Topics of passages"

A run is the folder of a finished `compress`; all runs must have the same teacher, which is found in their store. Scores
are those of the test split (validation where there is none) in pairs with plain PyTorch; latency is taken in turns, at
the lengths of real examples and at 128 tokens. What was found is written to benchmarks/results/NAME.json, from which
`python -m benchmarks.render` writes a table and a picture.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from benchmarks import record
from benchmarks.render.contests import contest
from compress.core.recipe import Measurement

NEEDED = ("openvino", "nncf", "ctranslate2")


def main() -> int:
    """Make the forms, measure them, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of the file in benchmarks/results, without .json")
    parser.add_argument("--run", type=Path, nargs="+", required=True, help="folders of finished runs, one teacher")
    parser.add_argument("--title", default="", help="of the picture, such as the data's name")
    parser.add_argument("--examples", type=int, default=24, help="timed at their real lengths")
    parser.add_argument("--long", type=int, default=8, help="timed at 128 tokens")
    parser.add_argument("--launches", type=int, default=6, help="how often all processes are started anew")
    parser.add_argument("--rounds", type=int, default=2, help="turns per launch")
    parser.add_argument("--scored", type=int, default=None, help="examples scored; all of them where left out")
    parser.add_argument("--calibration", type=int, default=300, help="training examples that NNCF sees")
    arguments = parser.parse_args()
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        parser.error(f"{', '.join(missing)} missing: pip install -c constraints.txt -r benchmarks/requirements.txt")
    import transformers

    from benchmarks.peer_contest import Peers

    transformers.utils.logging.disable_progress_bar()
    measurement = Measurement(
        examples=arguments.examples, launches=arguments.launches, rounds=arguments.rounds, warmup=2
    )
    with tempfile.TemporaryDirectory() as temporary:
        peers = Peers(
            arguments.run,
            Path(temporary),
            measurement,
            long=arguments.long,
            scored=arguments.scored,
            calibration=arguments.calibration,
        )
        result = peers.hold() | {"title": arguments.title}
    record.keep(result, arguments.name)
    print(contest(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
