"""Gathers, in a runtime, what there is to say about why a session does not get on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from propolis.actors import SessionEvidence, is_running
from propolis.messages import GetWhereabouts, Whereabouts

from .calls import Call, call, call_method, then
from .engine import Engine
from .why import Evidence, Owner, Why, explain

if TYPE_CHECKING:
    from .stream import Stream

__all__ = ["find_why", "owner_of"]


def find_why(
    engine: Engine, find_stream: Callable[[str], Stream | None], lease_seconds: float, session_id: str
) -> Call[Why | None]:
    """Look into the store, ask the root about the owner and the stream about the execution, and explain."""
    read: Call[SessionEvidence | None] = Call()
    engine.threads.read(lambda store: store.find_evidence(session_id)).relay_to(read)

    def found(stored: SessionEvidence | None) -> Call[Any]:
        if stored is None:
            return _answered(None)
        owner = owner_of(stored)
        if owner is None or owner.runtime_id == engine.services.owner:
            here = None if owner is None else Owner(owner.runtime_id, "here", owner.pid)
            return then(_whereabouts(find_stream, stored), lambda place: _answered(_why(stored, here, place)))
        asked: Call[float | None] = call_method(engine.root, "beat_still_seconds", owner.runtime_id, what="The runtime")

        def heard(still: float | None) -> Call[Any]:
            return _answered(_why(stored, Owner(owner.runtime_id, owner.liveness, owner.pid, still), None))

        return then(asked, heard)

    def _why(stored: SessionEvidence, owner: Owner | None, place: Whereabouts | None) -> Why:
        now = engine.host.now()
        return explain(Evidence(now=now, stored=stored, owner=owner, whereabouts=place, lease_seconds=lease_seconds))

    return then(read, found)


def owner_of(stored: SessionEvidence) -> Owner | None:
    """The runtime that has the session, and whether its process lives as far as this one sees."""
    owner_id = stored.state.owner
    if owner_id is None:
        return None
    row = next((row for row in stored.runtimes if row.runtime_id == owner_id), None)
    if row is None:
        return Owner(owner_id, "gone")
    lives = is_running(row)
    state: Literal["alive", "dead", "elsewhere"] = "elsewhere" if lives is None else "alive" if lives else "dead"
    return Owner(owner_id, state, row.pid)


def _whereabouts(find_stream: Callable[[str], Stream | None], stored: SessionEvidence) -> Call[Whereabouts | None]:
    stream = find_stream(stored.spec.stream_id)
    if stream is None:
        return _answered(None)
    return call(stream.ref, GetWhereabouts(execution_id=stored.spec.execution_id), what="The runtime")


def _answered(value: Any) -> Call[Any]:
    reply: Call[Any] = Call()
    reply.set(value)
    return reply
