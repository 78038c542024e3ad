"""The built wheel carries its settings, and answers in an environment that has nothing but Hydra."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)], check=True, capture_output=True
    )
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_every_setting_and_template(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("conf", "recipes"):
        for path in (ROOT / folder).rglob("*.yaml"):
            assert f"compress/{path.relative_to(ROOT).as_posix()}" in names
    for kind in ("jinja", "css", "js"):
        for path in (ROOT / "compress").rglob(f"*.{kind}"):
            assert path.relative_to(ROOT).as_posix() in names


def test_the_wheel_answers_help_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    pip = [str(tmp_path / "venv/bin/pip"), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "hydra-core>=1.3.2,<1.4"], check=True, capture_output=True)
    subprocess.run([*pip, "--no-deps", str(wheel)], check=True, capture_output=True)
    for arguments in (["--help"], ["-cn", "text_classification", "--cfg", "job"]):
        done = subprocess.run(
            [str(tmp_path / "venv/bin/compress"), *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert "max_accuracy_drop" in done.stdout
