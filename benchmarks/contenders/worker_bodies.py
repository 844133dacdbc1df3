"""What the workers of `propolis_workers` run: a script's own functions could not be imported there."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

from propolis import SyncContext


def echo(ctx: SyncContext, data: Any) -> Any:  # noqa: ARG001 - an executor has its two parameters
    return data


def be_killed(ctx: SyncContext, path: str) -> float:
    """When its second attempt began, on a clock that all processes share."""
    now = time.clock_gettime(time.CLOCK_MONOTONIC)
    if ctx.attempt == 1:
        Path(f"{path}.new").write_text(str(os.getpid()), encoding="ascii")
        Path(f"{path}.new").rename(path)
        threading.Event().wait()
    return now
