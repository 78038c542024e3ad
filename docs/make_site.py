"""Build the pages as a site in build/site. Fails where a link or an anchor leads nowhere.

python docs/make_site.py          # `make docs` calls it
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = ("README.md", "SECURITY.md", "docs/*.md", "docs/*.svg", "benchmarks/README.md")


def main() -> int:
    """The site builder's status."""
    gather(ROOT / "build" / "pages")
    config = ROOT / "docs" / "mkdocs.yml"
    # What it says about its own future is no dead link.
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "true"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(config)]
    return subprocess.run(command, cwd=ROOT, env=quiet).returncode


def gather(folder: Path) -> None:
    """Copy all pages and their pictures, each to its own place below `folder`, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    for pattern in SOURCES:
        for path in ROOT.glob(pattern):
            place = folder / path.relative_to(ROOT)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)


if __name__ == "__main__":
    sys.exit(main())
