"""A run of the demo: open a stream, hand it every module, watch until all have ended, look at what was recorded.

With attacks, a second stream runs them meanwhile; see hostile.py.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

import pykka

from propolis.actors import RuntimeConfig
from propolis.messages import ExecutionResult

from ..calls import Call
from ..runtime import Runtime
from ..stream import Stream
from . import hostile
from .aftermath import make_aftermath
from .audit import STREAM_ID, audit, entry_point
from .board import WATCHED, Board, Snapshot
from .catalogue import Module
from .hostile import Attack
from .report import Report, make_report
from .view import View

__all__ = ["Interrupted", "run_demo"]

HANDED_OVER_AT_ONCE = 500
"""Far below `RuntimeConfig.mailbox_limit`: the replies of one lot are awaited before the next one is sent."""
LOOK_EVERY = 0.2
"""Seconds between two looks."""
HOSTILE_GRACE = 1.0
"""Seconds that code which runs on past its time has for its goodbye, where hostile code runs: it says none."""
STARTED_WITHIN = 10.0
"""Seconds that are waited for workers that are being started."""

Waiting: TypeAlias = list[Call[ExecutionResult | None]]


class Interrupted(Exception):
    """Somebody pressed Ctrl-C. `done` modules of `total` are recorded."""

    def __init__(self, done: int, total: int) -> None:
        super().__init__(done, total)
        self.done = done
        self.total = total


def run_demo(
    modules: Sequence[Module],
    store: str,
    *,
    workers: int,
    board: Board,
    view: View,
    attacks: Sequence[Attack] = (),
) -> Report:
    """Audit what the store has no record of yet, and report on all. Blocks until done.

    `attacks` are run meanwhile, in worker processes; without any, no process is started.

    Raises:
        Interrupted: by Ctrl-C. What runs is stopped in order, and what was accepted is taken up by the next run.
        PropolisError: the store cannot be used.
    """
    done = 0

    def look(audits: int, attacks_ended: int) -> None:
        nonlocal done
        done = audits
        snapshot = take_snapshot(
            runtime,
            total=len(modules),
            done=audits,
            seconds=time.monotonic() - started,
            attacks=len(attacks),
            attacks_ended=attacks_ended,
        )
        view.show(snapshot)

    config = RuntimeConfig(grace_seconds=HOSTILE_GRACE) if attacks else RuntimeConfig()
    try:
        with _quiet_parser(), Runtime(store, config=config) as runtime, view:
            runtime.subscribe(WATCHED, board.handle).get()
            stream = runtime.open_stream(entry_point(workers), audit).get()
            started = time.monotonic()
            look(0, 0)
            under_attack = list(let_loose(runtime, attacks, board.names)) if attacks else []
            waiting = list(hand_over(stream, modules, board.names))
            follow(waiting, under_attack, look)
            return take_report(runtime, modules, attacks)
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


def let_loose(
    runtime: Runtime, attacks: Iterable[Attack], names: dict[str, str]
) -> Iterator[Call[ExecutionResult | None]]:
    """Open the hostile stream and submit every attack to it, as modules are to theirs."""
    stream = runtime.open_stream(hostile.entry_point(), hostile.attack).get()
    for attack in attacks:
        execution_id = stream.execute(attack, idempotency_key=attack.key).get()
        names[execution_id] = attack.name
        yield stream.wait_for_completion(execution_id)


def follow(audits: Waiting, attacks: Waiting, look: Callable[[int, int], None]) -> None:
    """Wait until all calls are answered; meanwhile `look(how many of each are)` a few times a second."""
    every_audit, every_attack = len(audits), len(attacks)
    while audits or attacks:
        look(every_audit - len(audits), every_attack - len(attacks))
        with contextlib.suppress(pykka.Timeout):
            (audits or attacks)[0].get(timeout=LOOK_EVERY)
        audits = [call for call in audits if not call.done()]
        attacks = [call for call in attacks if not call.done()]
    look(every_audit, every_attack)


def take_snapshot(
    runtime: Runtime, *, total: int, done: int, seconds: float, attacks: int = 0, attacks_ended: int = 0
) -> Snapshot:
    """Ask the runtime how it stands."""
    stats, tree = runtime.stats(), runtime.supervision_tree()
    return Snapshot(
        total=total,
        done=done,
        seconds=seconds,
        stats=stats.get(),
        tree=tree.get(),
        attacks=attacks,
        attacks_ended=attacks_ended,
        workers=runtime.workers() if attacks else (),
    )


def take_report(runtime: Runtime, modules: Sequence[Module], attacks: Sequence[Attack]) -> Report:
    """Read what was recorded, and make the report of it."""
    audits = runtime.sessions(stream=STREAM_ID, limit=10**9).get()
    if not attacks:
        return make_report(modules, audits)
    aftermath = make_aftermath(attacks, runtime.sessions(stream=hostile.STREAM_ID, limit=10**9).get())
    return make_report(modules, audits, aftermath)


@contextlib.contextmanager
def _quiet_parser() -> Iterator[None]:
    """What the parser warns of in other people's code is not to stand in the middle of the picture."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
