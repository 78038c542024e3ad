"""What `--version` says: enough to tell two installations apart."""

from __future__ import annotations

import platform

from compress.measure.environment import versions

FLAG = "--version"
# Whose version changes what a run makes, or how it is started.
LIBRARIES = ("torch", "transformers", "onnxruntime", "hydra-core")


def version() -> str:
    """`compress 0.1.0 (Python 3.11.7, torch 2.13.0, ...)`."""
    (own,) = versions(("compress",)).values()
    others = [
        f"Python {platform.python_version()}",
        *(f"{name} {found}" for name, found in versions(LIBRARIES).items()),
    ]
    return f"compress {own} ({', '.join(others)})"
