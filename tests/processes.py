"""What tests that start processes of their own share."""

from __future__ import annotations

import os

__all__ = ["unmeasured"]


def unmeasured() -> dict[str, str]:
    """The environment of a process that coverage leaves alone, where the tests themselves run under it.

    Measuring makes a process take twice as long, and one that is killed has no time to write down what was measured.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
