"""The quickstart from an empty store, kept as benchmarks/results/quickstart.json and printed as the README shows it.

python -m benchmarks.quickstart
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import record
from benchmarks.render import runs


def main() -> int:
    """Run `compress` and keep what it found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="keep the run here")
    parser.add_argument("overrides", nargs="*", help="settings, as for the command `compress`; nothing is kept then")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary) / "run"
        command = [str(Path(sys.executable).parent / "compress"), f"hydra.run.dir={folder}"]
        subprocess.run([*command, f"store={temporary}/store", *arguments.overrides], check=True)
        told = record.found(folder, " ".join(["compress", *arguments.overrides]))
    if not arguments.overrides:
        record.keep(told, "quickstart")
    shown = json.loads(json.dumps(told))
    print(f"\n{runs.stages(shown)}\n\n{runs.outcome(shown)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
