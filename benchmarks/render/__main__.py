"""The command; see the package."""

from __future__ import annotations

import argparse
import sys

import benchmarks.render
from benchmarks.render.pages import ROOT, outdated, written


def main() -> int:
    """1 where `--check` finds a page or a picture that differs, else 0."""
    parser = argparse.ArgumentParser(
        description=benchmarks.render.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    differing = {
        path: text for path, text in written().items() if not path.is_file() or path.read_text("utf-8") != text
    }
    for path, text in differing.items():
        print(f"{path.relative_to(ROOT)}: {'differs from its results' if check else 'written'}")
        if not check:
            path.write_text(text, encoding="utf-8")
    for name, why in outdated():
        print(f"results/{name}.json {why}")
    return int(check and bool(differing))


if __name__ == "__main__":
    sys.exit(main())
