"""How long the command takes to answer where nothing is computed."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path


def main() -> int:
    """Print the median of five runs of each."""
    command = str(Path(sys.executable).parent / "compress")
    for arguments in (["--help"], ["--cfg", "job"]):
        seconds = []
        for _ in range(5):
            started = time.perf_counter()
            subprocess.run([command, *arguments], check=True, capture_output=True)
            seconds.append(time.perf_counter() - started)
        print(f"compress {' '.join(arguments)}: {statistics.median(seconds):.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
