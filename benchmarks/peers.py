"""One teacher, run by other tools and made smaller by compress, on the same test examples, each in its own process.

    pip install -c constraints.txt -r benchmarks/requirements.txt
    python benchmarks/peers.py --run outputs/quickstart/DATE [ANOTHER_RUN ...] --out outputs/peers

A run is the folder of a finished `compress`; all runs must have the same teacher, which is found in their store. Scores
are those of the test split (validation where there is none) in pairs with plain PyTorch; latency is taken in turns, at
the lengths of real examples and at 128 tokens. Writes peers.md, peers.json and peers.png.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
NEEDED = ("openvino", "nncf", "ctranslate2")


def main() -> int:
    """Make the forms, measure them, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, nargs="+", required=True, help="folders of finished runs, one teacher")
    parser.add_argument("--out", type=Path, required=True, help="where the three files go")
    parser.add_argument("--title", default="", help="of the plot, such as the data's name")
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
    # Workers find the peers' runtimes by name.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))
    import transformers
    from contest_report import plain, plot, table
    from peer_contest import Peers

    from compress.core.recipe import Measurement

    transformers.utils.logging.disable_progress_bar()
    measurement = Measurement(
        examples=arguments.examples, launches=arguments.launches, rounds=arguments.rounds, warmup=2
    )
    with tempfile.TemporaryDirectory() as temporary:
        contest = Peers(
            arguments.run,
            Path(temporary),
            measurement,
            long=arguments.long,
            scored=arguments.scored,
            calibration=arguments.calibration,
        )
        result = contest.hold()
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = table(result)
    (arguments.out / "peers.md").write_text(text + "\n", encoding="utf-8")
    (arguments.out / "peers.json").write_text(json.dumps(result, indent=1, default=plain), encoding="utf-8")
    plot(result, arguments.title, arguments.out / "peers.png")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
