"""The command line as a process: installed name, `python -m`, the demo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from .conftest import Recorded


def run(*args: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m propolis`."""
    environment = {name: value for name, value in os.environ.items() if name != "PROPOLIS_STORE"} | environ
    return subprocess.run(
        [sys.executable, "-m", "propolis", *args],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def test_the_version_is_that_of_the_package(tmp_path: Path) -> None:
    """As the installed metadata say."""
    assert f"propolis, version {metadata.version('propolis')}\n" == run("--version", cwd=tmp_path).stdout


def test_the_installed_name_leads_here() -> None:
    """`propolis` on the command line is propolis.cli:main."""
    (entry,) = (entry for entry in metadata.entry_points(group="console_scripts") if entry.name == "propolis")
    assert "propolis.cli:main" == entry.value


def test_a_session_is_shown_by_another_process(recorded: Recorded, tmp_path: Path) -> None:
    """That knows nothing but the store."""
    result = run("sessions", "show", recorded.failed, "--json", cwd=tmp_path, PROPOLIS_STORE=recorded.url)
    assert 0 == result.returncode, result.stderr
    assert "failed" == json.loads(result.stdout)["status"]


def test_an_error_of_a_process_is_its_status_and_one_line(tmp_path: Path) -> None:
    """No traceback."""
    result = run("sessions", "show", "x", cwd=tmp_path)
    assert (1, 1, "") == (result.returncode, len(result.stderr.splitlines()), result.stdout)


@pytest.mark.parametrize("args", [(), ("--store", "memory:")])
def test_the_demo_audits_a_folder_and_says_where_the_record_is(tmp_path: Path, args: tuple[str, ...]) -> None:
    """Its default store is propolis.db in the current folder, as it is for every other command."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "good.py").write_text("x = 1\n")
    (tmp_path / "code" / "bad.py").write_text("x = \n")
    result = run("demo", "--library", "code", *args, cwd=tmp_path)
    assert (0, "") == (result.returncode, result.stderr)
    assert "1 of 2 modules audited, 1 failed, 0 without a result" in result.stdout
    assert "bad.py" in result.stdout
    assert (not args) == (tmp_path / "propolis.db").exists()
    if not args:
        assert str(tmp_path / "propolis.db") in result.stdout
        assert 2 == len(json.loads(run("sessions", "list", "--json", cwd=tmp_path).stdout))
