"""The examples in the docstrings of `propolis.testing` run as they stand."""

from __future__ import annotations

import inspect
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from typing import Any

import pytest

import propolis
import propolis.actors
from propolis import messages, testing


def example_of(thing: Any) -> str:
    """The indented block of a docstring."""
    blocks: list[str] = re.findall(r"\n\n((?:    .*\n|\n)+)", inspect.getdoc(thing) or "")
    return textwrap.dedent(max(blocks, key=len, default=""))


@pytest.mark.parametrize(
    "name", ["FailingStore", "InlineLoop", "ManualHost", "Probe", "Simulation", "check_replay", "crash_at", "no_leaks"]
)
def test_the_example_runs(name: str) -> None:
    """With what `propolis`, its actors, messages and test kit export."""
    known: dict[str, Any] = {module.__name__: module for module in (signal, subprocess, sys, tempfile, time)}
    for module in (propolis.actors, messages, testing, propolis):
        known |= {public: getattr(module, public) for public in module.__all__}
    example = example_of(getattr(testing, name))
    assert name in example or name == "no_leaks"
    exec(compile(example, f"<example of {name}>", "exec"), known)
