"""A run of the demo: open a stream, hand it every module, watch until all have ended, look at what was recorded."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Sequence

import pykka

from propolis.messages import ExecutionResult

from ..calls import Call
from ..runtime import Runtime
from ..stream import Stream
from .audit import STREAM_ID, audit, entry_point
from .board import WATCHED, Board, Snapshot
from .catalogue import Module
from .report import Report, make_report
from .view import View

__all__ = ["Interrupted", "run_demo"]

HANDED_OVER_AT_ONCE = 500
"""Far below `RuntimeConfig.mailbox_limit`: the replies of one lot are awaited before the next one is sent."""
LOOK_EVERY = 0.2
"""Seconds between two looks."""


class Interrupted(Exception):
    """Somebody pressed Ctrl-C. `done` modules of `total` are recorded."""

    def __init__(self, done: int, total: int) -> None:
        super().__init__(done, total)
        self.done = done
        self.total = total


def run_demo(modules: Sequence[Module], store: str, *, workers: int, board: Board, view: View) -> Report:
    """Audit what the store has no record of yet, and report on all. Blocks until done.

    Raises:
        Interrupted: by Ctrl-C. What runs is stopped in order, and what was accepted is taken up by the next run.
        PropolisError: the store cannot be used.
    """
    done = 0

    def look(count: int) -> None:
        nonlocal done
        done = count
        view.show(take_snapshot(runtime, total=len(modules), done=count, seconds=time.monotonic() - started))

    try:
        with _quiet_parser(), Runtime(store) as runtime, view:
            runtime.subscribe(WATCHED, board.handle).get()
            stream = runtime.open_stream(entry_point(workers), audit).get()
            started = time.monotonic()
            look(0)
            waiting = list(hand_over(stream, modules, board.names))
            follow(waiting, look)
            return make_report(modules, runtime.sessions(stream=STREAM_ID, limit=10**9).get())
    except KeyboardInterrupt:
        raise Interrupted(done, len(modules)) from None


def hand_over(
    stream: Stream, modules: Sequence[Module], names: dict[str, str]
) -> Iterator[Call[ExecutionResult | None]]:
    """Submit every module under its idempotency key, and ask to hear of its end.

    For a module that the store knows, `execute` starts nothing and answers with the execution that it has: ended
    already, or taken up again when the stream was opened.
    """
    for start in range(0, len(modules), HANDED_OVER_AT_ONCE):
        lot = modules[start : start + HANDED_OVER_AT_ONCE]
        accepted = [stream.execute(module, idempotency_key=module.key) for module in lot]
        for module, call in zip(lot, accepted, strict=True):
            execution_id = call.get()
            names[execution_id] = module.path
            yield stream.wait_for_completion(execution_id)


def follow(waiting: list[Call[ExecutionResult | None]], look: Callable[[int], None]) -> None:
    """Wait until all calls are answered; meanwhile `look(how many are)` a few times a second."""
    total = len(waiting)
    while waiting:
        look(total - len(waiting))
        with contextlib.suppress(pykka.Timeout):
            waiting[0].get(timeout=LOOK_EVERY)
        waiting = [call for call in waiting if not call.done()]
    look(total)


def take_snapshot(runtime: Runtime, *, total: int, done: int, seconds: float) -> Snapshot:
    """Ask the runtime how it stands."""
    stats, tree = runtime.stats(), runtime.supervision_tree()
    return Snapshot(total=total, done=done, seconds=seconds, stats=stats.get(), tree=tree.get())


@contextlib.contextmanager
def _quiet_parser() -> Iterator[None]:
    """What the parser warns of in other people's code is not to stand in the middle of the picture."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
