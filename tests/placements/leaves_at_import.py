"""A module that ends, while it is imported, any process but the one that it is told about."""

from __future__ import annotations

import os
from typing import Any

if os.environ.get("PROPOLIS_TEST_MAIN") != str(os.getpid()):
    os._exit(9)


def work(ctx: Any, data: Any) -> None: ...
