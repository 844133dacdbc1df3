"""`no_leaks()`: what is left behind is named."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from propolis import Runtime
from propolis.testing import Leaked, no_leaks


def test_a_block_that_cleans_up_passes() -> None:
    """A whole runtime."""
    with no_leaks(), Runtime():
        pass


def test_a_thread_is_named() -> None:
    """Until it ends."""
    end = threading.Event()
    thread = threading.Thread(target=end.wait, name="left-behind")
    with pytest.raises(Leaked, match="thread left-behind") as caught, no_leaks(grace=0.05):
        thread.start()
    assert 1 == len(caught.value.things)
    end.set()
    thread.join()


def test_a_file_is_named(tmp_path: Path) -> None:
    """By its handle."""
    with pytest.raises(Leaked, match="file handle"), no_leaks(grace=0.05):
        file = (tmp_path / "open").open("w")
    file.close()


def test_a_child_process_is_named() -> None:
    """Of subprocess's, too."""
    with pytest.raises(Leaked, match="process"), no_leaks(grace=0.05):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    child.communicate(b"\n")


def test_a_task_is_named() -> None:
    """Of whatever loop."""

    async def for_ever() -> None:
        await asyncio.Event().wait()

    loop = asyncio.new_event_loop()
    with pytest.raises(Leaked, match="task"), no_leaks(grace=0.05):
        task = loop.create_task(for_ever())
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()


def test_an_error_of_the_block_passes_as_it_is() -> None:
    """It matters more than what it left behind."""
    end = threading.Event()
    thread = threading.Thread(target=end.wait)

    def start_and_fail() -> None:
        thread.start()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), no_leaks(grace=0.05):
        start_and_fail()
    end.set()
    thread.join()


def test_what_ends_within_the_grace_is_no_leak() -> None:
    """It was ending already."""
    with no_leaks(grace=5.0):
        threading.Timer(0.05, lambda: None).start()
