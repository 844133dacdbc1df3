"""What is installed: one import name, every subpackage, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from .layout import FOLDERS, ROOT, modules, pyproject

SETUPTOOLS = 77


def package_of(folder: Path) -> str:
    """The import name of a source folder: actors/core is propolis.actors.core."""
    name = ".".join(folder.parts)
    return name if folder.parts[0] == "propolis" else f"propolis.{name}"


def test_every_subpackage_is_listed_in_pyproject() -> None:
    """A folder that is not listed is missing from the wheel; one that is listed and not there fails every install."""
    listed = set(pyproject()["tool"]["setuptools"]["packages"])
    there = {package_of(module.parent) for module in modules() if module.name == "__init__.py"}
    missing = "".join(f'    "{name}",\n' for name in sorted(there - listed))
    surplus = "".join(f'    "{name}",\n' for name in sorted(listed - there))
    assert not missing, f"add to [tool.setuptools] packages in pyproject.toml:\n{missing}"
    assert not surplus, f"remove from [tool.setuptools] packages in pyproject.toml (no such folder):\n{surplus}"


def test_every_source_folder_has_an_init() -> None:
    """A folder without one is a namespace package: it works in the checkout and is missing from the wheel."""
    folders = {module.parent for module in modules()}
    assert [] == sorted(str(folder) for folder in folders if not (ROOT / folder / "__init__.py").is_file())


def test_no_folder_of_propolis_shadows_a_layer() -> None:
    """propolis/actors/ would be found in the place of actors/."""
    assert not (ROOT / "propolis" / "actors").is_dir()
    assert not (ROOT / "propolis" / "messages").is_dir()


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names in a wheel built from a copy: in the checkout, an old build/ would find its way into it."""
    if int(metadata.version("setuptools").partition(".")[0]) < SETUPTOOLS:
        pytest.skip(f"building the wheel needs setuptools>={SETUPTOOLS}: pip install -e '.[test]'")
    source = tmp_path_factory.mktemp("source")
    for file in (*ROOT.glob("*.toml"), *ROOT.glob("*.md")):
        shutil.copy(file, source)
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    wheels = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    built = subprocess.run(
        [*command, "--wheel-dir", str(wheels), str(source)], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = wheels.glob("propolis-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_wheel_holds_only_propolis(wheel_names: set[str]) -> None:
    """Neither `actors` nor `messages` is ours to install at the top."""
    tops = {name.partition("/")[0] for name in wheel_names}
    assert {"propolis"} == {top for top in tops if not top.endswith(".dist-info")}
    assert {"propolis/__init__.py", "propolis/actors/__init__.py", "propolis/messages/__init__.py"} <= wheel_names


def test_wheel_holds_every_source_file_and_no_stub(wheel_names: set[str]) -> None:
    """Data files too: one that is missing here needs a line in [tool.setuptools.package-data]."""
    files = {
        file.relative_to(ROOT)
        for folder in FOLDERS
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".pyi"
    }
    expected = {f"{package_of(file.parent).replace('.', '/')}/{file.name}" for file in files}
    assert expected == {name for name in wheel_names if ".dist-info/" not in name}
