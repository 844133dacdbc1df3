"""A program that runs a desk to its pause, in as many processes as it takes: `store folder`. Prints how they ended."""

from __future__ import annotations

import json
import sys

from propolis import EntryPoint, Runtime

from ..processes import in_forks
from .graphs import Desk

MOST = 30
"""Processes that may be needed."""


def run(store: str, folder: str) -> None:
    """Begin it, or take up what an earlier process has left."""
    with Runtime(store) as runtime:
        stream = runtime.open_stream(EntryPoint(id="desk"), Desk).get()
        execution_id = stream.execute({"folder": folder, "subject": "rain"}, idempotency_key="one").get()
        stream.wait_for_completion(execution_id).get()


def main(store: str, folder: str) -> None:
    """A process for each try."""
    json.dump(in_forks(lambda _: run(store, folder), MOST), sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
