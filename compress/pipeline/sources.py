"""Which files of this package a piece of work is computed by: those that its modules import, and what these import.

Found in the text of the files, without running any: every import is followed, those inside functions too, but for those
that only a type checker sees. A file that nobody imports has no part in anything.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
# The rest of the contracts are words, checks and messages: followed, but no work comes out differently for them.
CONTRACTS = "compress.core"
COMPUTING_CONTRACTS = frozenset(f"{CONTRACTS}.{name}" for name in ("latency_table", "signature", "structure", "task"))


def sources_of(modules: Iterable[str], files: Iterable[Path] = ()) -> dict[str, str]:
    """SHA-256 of each file of this package that these modules, and these files from elsewhere, are computed by, by the
    module's name."""
    from_elsewhere = [name for path in files for name in _imports(_read(path))]
    return {name: _known(name)[0] for name in sorted(closure([*modules, *from_elsewhere]))}


def closure(modules: Iterable[str]) -> frozenset[str]:
    """These modules of this package, and all that they import, directly or not, without contracts that compute
    nothing."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _known(name)[1]
    return frozenset(
        name for name in found if name in COMPUTING_CONTRACTS or not f"{name}.".startswith(f"{CONTRACTS}.")
    )


def file_of(name: str) -> Path | None:
    """Where a module of this package lies; None for what is no module. The package itself only gathers what it offers
    to the outside, and is none here."""
    place = ROOT.joinpath(*name.split(".")[1:])
    if place == ROOT:
        return None
    files = place.with_suffix(".py"), place / "__init__.py"
    return next((file for file in files if file.is_file()), None)


@cache
def _known(name: str) -> tuple[str, tuple[str, ...]]:
    """The SHA-256 of a module's file, as it was when first asked for, and the modules of this package it imports: also
    those that hold it, which Python imports first."""
    path = file_of(name)
    assert path is not None, name
    content = _read(path)
    above = name.rpartition(".")[0]
    holding = [above] if file_of(above) else []
    return hashlib.sha256(content).hexdigest(), (*holding, *_imports(content))


def _imports(content: bytes) -> Iterator[str]:
    """The modules of this package that a file's text imports."""
    for node in _executed(ast.parse(content)):
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            named = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in named if name.split(".")[0] == ROOT.name and file_of(name))


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """A file's nodes, without what stands under `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            yield from (inner for other in child.orelse for inner in (other, *_executed(other)))
        else:
            yield child
            yield from _executed(child)


def _read(path: Path) -> bytes:
    return path.read_bytes()
