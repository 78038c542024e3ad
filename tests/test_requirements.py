"""What is installed is what was locked, and the lower bounds are those that were tried."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# In no file: see the comment in pyproject.toml.
APART = {"torch"}
TRIED = ("gguf", "openvino", "optuna", "tensorboard", "test")


def pinned(name: str) -> dict[str, set[Version]]:
    """The versions of each distribution that a file names; several where they depend on the system."""
    text = (ROOT / name).read_text(encoding="utf-8")
    found: dict[str, set[Version]] = {}
    for package, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", text, re.MULTILINE):
        found.setdefault(canonicalize_name(package), set()).add(Version(version))
    return found


def asked(*extras: str) -> Iterator[Requirement]:
    """What the package needs, with these extras and those that they name."""
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in PROJECT["optional-dependencies"][extra])]
    for requirement in map(Requirement, lines):
        if requirement.name == PROJECT["name"]:
            yield from asked(*requirement.extras)
        elif requirement.name not in APART:
            yield requirement


@pytest.mark.parametrize("name", ["requirements/locked.txt", "requirements/lowest.txt"])
def test_every_distribution_has_hashes_and_none_a_place(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    entries = re.findall(r"^[A-Za-z0-9][^\\\n]*(?:\\\n +--hash=sha256:[0-9a-f]{64} ?)+", text, re.MULTILINE)
    assert len(entries) == len(re.findall(r"^[A-Za-z0-9]", text, re.MULTILINE)) > 50
    assert "://" not in text and "--index" not in text and "--find-links" not in text
    assert not APART & pinned(name).keys()


def test_what_is_installed_is_what_the_package_asks_for() -> None:
    locked = pinned("requirements/locked.txt")
    for requirement in asked("demo", "dev"):
        versions = locked[canonicalize_name(requirement.name)]
        assert all(requirement.specifier.contains(version) for version in versions), requirement


def test_the_locked_versions_are_the_constraints() -> None:
    locked, constraints = pinned("requirements/locked.txt"), pinned("constraints.txt")
    shared = locked.keys() & constraints.keys()
    assert len(shared) > 50
    assert {name: locked[name] for name in shared} == {name: constraints[name] for name in shared}


def test_the_lower_bounds_are_those_that_are_tried() -> None:
    lowest = pinned("requirements/lowest.txt")
    for requirement in asked(*TRIED):
        (bound,) = (part.version for part in requirement.specifier if part.operator == ">=")
        # Later releases of Python may need later ones.
        assert min(lowest[canonicalize_name(requirement.name)]) == Version(bound), requirement
