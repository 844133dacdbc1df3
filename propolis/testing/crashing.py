"""`crash_at`: a process that dies, for real, at a moment that the test names."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable
from typing import Literal

from propolis.actors import CRASH_POINTS, CrashPoint, Host
from propolis.messages import InvalidInput

__all__ = ["crash_at"]


def die() -> None:
    """End this process by SIGKILL: nothing is flushed, nothing is tidied up."""
    os.kill(os.getpid(), signal.SIGKILL)


def crash_at(point: CrashPoint | Literal["any"], *, skip: int = 0, crash: Callable[[], None] = die) -> Host:
    """A `Host` on which the process is killed when a runtime comes to a crash point.

    For the program that a test starts as a process of its own, kills this way, and starts again:

        program = '''
        import sys
        from propolis import EntryPoint, Runtime
        from propolis.testing import crash_at

        def double(ctx, n):
            return ctx.step("double", lambda: 2 * n)

        host = crash_at(sys.argv[2]) if sys.argv[2:] else None
        with Runtime(sys.argv[1], host=host) as runtime:
            stream = runtime.open_stream(EntryPoint(id="double"), double).get()
            execution_id = stream.execute(21, idempotency_key="the one").get()
            print(stream.wait_for_completion(execution_id).get().output)
        '''
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-c", program, f"sqlite:///{folder}/store.db"]
            crashed = subprocess.run([*command, "step.committed"], capture_output=True)
            assert (-signal.SIGKILL, b"") == (crashed.returncode, crashed.stdout)
            again = subprocess.run(command, capture_output=True)
            assert b"42" == again.stdout.strip()

    `point`: one of `propolis.actors.CRASH_POINTS`, or "any" of them. `skip`: how often it passes by unharmed. `crash`
    is called on whichever thread comes to the point, and need not return. Worker processes have hosts of their own.

    Raises:
        InvalidInput: there is no such point.
    """
    if point != "any" and point not in CRASH_POINTS:
        raise InvalidInput(
            what="crash point", reason=f"there is no {point!r:.200}", remedy=f"Use one of {', '.join(CRASH_POINTS)}."
        )
    return _CrashingHost(point, skip, crash)


class _CrashingHost(Host):
    def __init__(self, point: str, skip: int, crash: Callable[[], None]) -> None:
        super().__init__()
        self._point = point
        self._skip = skip
        self._crash = crash
        self._passed = itertools.count()  # threads share it: `next` is one step of the interpreter

    def reach(self, point: CrashPoint) -> None:
        if self._point in (point, "any") and next(self._passed) == self._skip:
            self._crash()
