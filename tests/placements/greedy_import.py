"""A module that takes a lot of memory to import, in the process that imports it for a worker's sake too."""

from __future__ import annotations

import mmap
from typing import Any

BALLAST = mmap.mmap(-1, 100 * 2**20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # allocated, and never touched


def work(ctx: Any, data: Any) -> str:
    return "worked"
