"""Worker processes under every way to start a program: they import what it imports; what is only in it is refused."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ..processes import unmeasured

WORK = """
def double(ctx, data):
    return 2 * data
"""

MAIN = """
from propolis import EntryPoint, Placement, Runtime
from propolis.messages import ExecutorNotImportable
from doubling.work import double

def here(ctx, data):
    return data

def main():
    placement = Placement.process(workers=1, warm=0)
    with Runtime() as runtime:
        stream = runtime.open_stream(EntryPoint(id="imported", placement=placement), double).get(timeout=60)
        print(stream.run(21).get(timeout=60).output)
        try:
            runtime.open_stream(EntryPoint(id="here", placement=placement), here).get(timeout=60)
        except ExecutorNotImportable as error:
            print(error)
        print(len(runtime.workers()))

"""
GUARDED, BARE = "if __name__ == '__main__':\n    main()\n", "main()\n"


WAYS = ["bare", "command", "input", "zip"]
MORE_WAYS = [pytest.param(how, marks=pytest.mark.chaos) for how in ("guarded", "module")]


@pytest.mark.parametrize("how", [*WAYS, *MORE_WAYS])
def test_a_program_however_it_is_started_runs_what_it_imports_in_workers(tmp_path: Path, how: str) -> None:
    """Nothing of the program itself is run again for that; an executor of its own is refused with the remedy."""
    package = tmp_path / "doubling"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "work.py").write_text(WORK)
    (package / "__main__.py").write_text(MAIN + BARE)
    (tmp_path / "guarded.py").write_text(MAIN + GUARDED)
    (tmp_path / "bare.py").write_text(MAIN + BARE)
    if how == "zip":
        with zipfile.ZipFile(tmp_path / "program.zip", "w") as archive:
            archive.writestr("__main__.py", MAIN + BARE)
            archive.writestr("doubling/__init__.py", "")
            archive.writestr("doubling/work.py", WORK)
        (package / "work.py").unlink()
    arguments = {
        "guarded": ["guarded.py"],
        "bare": ["bare.py"],
        "module": ["-m", "doubling"],
        "command": ["-c", MAIN + BARE],
        "input": ["-"],
        "zip": ["program.zip"],
    }[how]
    result = subprocess.run(
        [sys.executable, *arguments],
        input=MAIN + BARE,
        cwd=tmp_path,
        env=unmeasured(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (0, "") == (result.returncode, result.stderr)
    output, refused, workers = result.stdout.splitlines()
    assert ("42", "1") == (output, workers)
    assert "__main__.here" in refused
    assert "top level of a module" in refused
