"""Why a session does not get on: one sentence, and the evidence. A pure function of what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

from propolis.actors import VERSION_OWNER, SessionEvidence
from propolis.messages import ENDED, ExecutionSpec, ExecutionState, SessionRecord, Whereabouts

__all__ = ["Evidence", "Owner", "Why", "explain"]

Liveness: TypeAlias = Literal["here", "alive", "dead", "elsewhere", "gone"]


@dataclass(frozen=True, slots=True)
class Owner:
    """The runtime that has an execution. `elsewhere`: whether it lives cannot be seen from here."""

    runtime_id: str
    liveness: Liveness
    pid: int | None = None
    still_seconds: float | None = None
    """For how long its beat has stood still, as far as this runtime has seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known: from the store, of the owner, and, in a runtime that has the stream open, from that."""

    now: datetime
    stored: SessionEvidence
    owner: Owner | None
    whereabouts: Whereabouts | None = None
    lease_seconds: float | None = None


class Why(str):
    """The sentence. `reason` is one word for programs; `evidence` what it rests on, plain data by name."""

    __slots__ = ("evidence", "reason")

    reason: str
    evidence: Mapping[str, Any]

    @classmethod
    def of(cls, reason: str, sentence: str, evidence: Mapping[str, Any]) -> Why:
        """With its evidence."""
        why = cls(sentence)
        why.reason, why.evidence = reason, evidence
        return why


def explain(evidence: Evidence) -> Why:
    """Why the session is as it is, and what would get it on."""
    stored = evidence.stored
    if stored.state.status not in ENDED:
        reason, sentence = _unfinished(evidence, stored.spec, stored.state)
    elif stored.spec.execution_id != stored.session.execution_id:
        reason, sentence = (
            stored.state.status,
            f"Execution {stored.spec.execution_id} has ended: {stored.state.status}.",
        )
    else:
        reason, sentence = _ended(stored.session)
        for spec, _ in stored.unfinished[:1]:
            sentence += f" Execution {spec.execution_id} of stream {spec.stream_id!r} still works on it."
    return Why.of(reason, " ".join([sentence, *_besides(evidence)]), _plain(evidence, reason))


# -- what has ended --------------------------------------------------------------------------------------------------


def _ended(session: SessionRecord) -> tuple[str, str]:
    id, result = session.session_id, session.result
    error = "" if result is None or result.error is None else f": {result.error}"
    match session.status:
        case "completed":
            return "completed", f"Session {id} has completed, at {_time(session.timestamps.completed_at)}."
        case "paused":
            where = f" at node {result.paused_at!r}" if result is not None and result.paused_at else ""
            again = f"resume it with stream.resume({id!r}) on stream {session.stream_id!r}"
            return "paused", f"Session {id} is paused{where}, since {_time(session.timestamps.paused_at)}; {again}."
        case "failed" if session.quarantined:
            after = f"after {session.restarts} restarts and {session.lost_attempts} lost attempts"
            return "quarantined", f"Session {id} is quarantined, {after}{error}; runtime.replay({id!r}) runs it again."
        case "failed":
            return "failed", f"Session {id} has failed{error}; runtime.replay({id!r}) runs it again."
        case "cancelled":
            at = _time(session.timestamps.completed_at)
            return "cancelled", f"Session {id} was cancelled, at {at}; stream.resume({id!r}) goes on with it."
        case _:
            return "changed", f"Session {id} has changed while it was looked at; look again."


# -- what has not ----------------------------------------------------------------------------------------------------


def _who(evidence: Evidence) -> str:
    spec = evidence.stored.spec
    if spec.execution_id == evidence.stored.session.execution_id:
        return f"Session {spec.session_id}"
    return f"Execution {spec.execution_id}"


def _unfinished(evidence: Evidence, spec: ExecutionSpec, state: ExecutionState) -> tuple[str, str]:
    point = spec.entry_point
    owner = evidence.owner
    if owner is None and evidence.whereabouts is not None and evidence.whereabouts.mode == "running":
        return (
            "unowned",
            f"{_who(evidence)} has no runtime at this moment; stream {point!r}, open here, is to take it over.",
        )
    if owner is None:
        return "unowned", f"{_who(evidence)} has no runtime: it goes on when one opens entry point {point!r}."
    if owner.runtime_id.startswith(VERSION_OWNER):
        wait = f"{_who(evidence)} began under version {spec.version!r}, and waits until {point!r} is opened with it"
        return "other_version", f"{wait}; runtime.replay({spec.session_id!r}) runs it under the one that is open."
    its = f"{_who(evidence)} has lost its runtime {owner.runtime_id}"
    if owner.liveness == "dead":
        heir = f"one that has entry point {point!r} open takes it over"
        return "owner_dead", f"{its}: process {owner.pid} is dead; {heir}."
    if owner.liveness == "gone":
        return "owner_gone", f"{its}, which is not registered in this store; propolis doctor --repair frees it."
    if owner.liveness == "elsewhere":
        return (
            "owner_unknown",
            f"{_who(evidence)} belongs to runtime {owner.runtime_id}, {_elsewhere(evidence, owner)}.",
        )
    return _alive(evidence, spec, state, f"process {owner.pid}" if owner.liveness == "alive" else "this runtime")


def _elsewhere(evidence: Evidence, owner: Owner) -> str:
    seen = "which is on another machine or in another container, and cannot be seen from here"
    if owner.still_seconds is None or evidence.lease_seconds is None:
        return seen
    return f"{seen}; its beat has stood still for {owner.still_seconds:.1f} s of {evidence.lease_seconds:g}"


def _alive(evidence: Evidence, spec: ExecutionSpec, state: ExecutionState, where: str) -> tuple[str, str]:
    found = evidence.whereabouts
    if found is not None and found.mode not in ("running", "starting"):
        return (
            "stream_stopped",
            f"{_who(evidence)} is not worked on: stream {spec.stream_id!r} is {found.mode}.",
        )
    holder = _holder(evidence, spec)
    if holder is not None and (found is None or found.phase in (None, "awaiting_turn")):
        return "awaiting_turn", f"{_who(evidence)} waits for its turn: {holder} has the session."
    match state.status:
        case "pending":
            return "queued", _queued(evidence, spec, where)
        case "restarting":
            return _restarting(evidence, spec, state)
        case "parked":
            return "parked", f"{_who(evidence)} is parked in {where}: it {_waits(evidence)}."
        case _:
            return "running", _running(evidence, state, where)


def _holder(evidence: Evidence, spec: ExecutionSpec) -> str | None:
    """Who has the session; without a row of its own it is that of its first execution."""
    holder = evidence.stored.holder or spec.session_id
    for other, state in evidence.stored.unfinished:
        if other.execution_id == holder != spec.execution_id:
            return f"execution {holder} of stream {other.stream_id!r} ({state.status})"
    return None


def _queued(evidence: Evidence, spec: ExecutionSpec, where: str) -> str:
    found = evidence.whereabouts
    if found is not None and found.place == "queued":
        slots = "the only slot is taken" if found.max_concurrent == 1 else f"all {found.max_concurrent} slots are taken"
        return (
            f"{_who(evidence)} is queued in stream {spec.stream_id!r}, {_nth(found.ahead)} of "
            f"{found.queue_depth}: {slots}."
        )
    if found is not None and found.place == "running":
        return f"{_who(evidence)} has a slot of stream {spec.stream_id!r} and is about to start."
    others = f"behind {evidence.stored.ahead} others"
    return f"{_who(evidence)} is queued in {where} for a slot of stream {spec.stream_id!r}, {others}."


def _restarting(evidence: Evidence, spec: ExecutionSpec, state: ExecutionState) -> tuple[str, str]:
    found, restart = evidence.whereabouts, evidence.stored.restart
    error = f" after {restart[1].get('error')}" if restart is not None else ""
    if found is not None and found.place == "queued":
        return "queued", (
            f"{_who(evidence)} is to run again{error}, and is queued for that in stream "
            f"{spec.stream_id!r}, {_nth(found.ahead)} of {found.queue_depth}."
        )
    if restart is None:
        return "backing_off", f"{_who(evidence)} failed and waits to run again, restart {state.restarts}."
    until = restart[0] + timedelta(seconds=float(restart[1].get("after") or 0.0))
    return "backing_off", (
        f"{_who(evidence)} backs off until {_time(until)}, then runs again, restart {state.restarts}{error}."
    )


_WAITS_FOR: Final = {
    "sleep": "sleeps",
    "receive": "waits for a signal, {name!r},",
    "ask": "waits for an answer to the question {name!r}",
    "call": "waits for what it has called, {name!r},",
}


def _waits(evidence: Evidence) -> str:
    waits = []
    for wait in evidence.stored.waits:
        until = f" until {_time(wait.due_at)}" if wait.due_at is not None else ""
        waits.append((_WAITS_FOR.get(wait.kind, "waits for {name!r}").format(name=wait.name) + until).rstrip(","))
    return ", and ".join(waits) or "waits for something to come"


def _running(evidence: Evidence, state: ExecutionState, where: str) -> str:
    last = evidence.stored.last_event
    sign = "" if last is None else f"; its last event was {last[0]}, {_age(evidence.now - last[1])} ago"
    began = f", begun {_time(state.started_at)}" if state.started_at is not None else ""
    return f"{_who(evidence)} runs in {where}: attempt {state.attempt}{began}{sign}."


# -- besides ---------------------------------------------------------------------------------------------------------


def _besides(evidence: Evidence) -> list[str]:
    found, spec = evidence.whereabouts, evidence.stored.spec
    unfinished = evidence.stored.state.status not in ENDED
    more = []
    if found is not None and found.circuit.state == "open":
        wait = f"for another {found.circuit.retry_after:.1f} s"
        more.append(f"The circuit of stream {spec.stream_id!r} is open {wait}: new work is refused.")
    if unfinished and found is not None and found.version != spec.version:
        more.append(f"It was accepted under version {spec.version!r}, and {found.version!r} is open here.")
    if unfinished and evidence.stored.inbox:
        kinds = ", ".join(dict.fromkeys(row.kind for row in evidence.stored.inbox))
        more.append(f"Left for it and not taken yet: {kinds}.")
    return more


def _plain(evidence: Evidence, reason: str) -> dict[str, Any]:
    stored, owner, found = evidence.stored, evidence.owner, evidence.whereabouts
    spec, state = stored.spec, stored.state
    facts: dict[str, Any] = {
        "session_id": spec.session_id,
        "reason": reason,
        "status": state.status,
        "execution_id": spec.execution_id,
        "stream_id": spec.stream_id,
        "attempt": state.attempt,
        "restarts": state.restarts,
        "lost_attempts": state.lost_attempts,
        "epoch": state.epoch,
        "version": spec.version,
        "quarantined": state.quarantined,
        "holder": stored.holder,
        "unfinished": {
            other.execution_id: {"stream_id": other.stream_id, "status": its.status} for other, its in stored.unfinished
        },
        "waits": [{"kind": wait.kind, "name": wait.name, "until": wait.due_at} for wait in stored.waits],
        "inbox": [row.kind for row in stored.inbox],
        "last_event": None if stored.last_event is None else stored.last_event[0],
    }
    if owner is not None:
        facts["owner"] = {
            "runtime_id": owner.runtime_id,
            "liveness": owner.liveness,
            "pid": owner.pid,
            "beat_still_seconds": owner.still_seconds,
        }
    if found is not None:
        facts["here"] = {
            "stream": found.mode,
            "place": found.place,
            "ahead": found.ahead,
            "queue_depth": found.queue_depth,
            "phase": found.phase,
            "circuit": found.circuit.state,
            "circuit_retry_after": found.circuit.retry_after,
            "version": found.version,
        }
    return facts


def _time(moment: datetime | None) -> str:
    return "an unknown time" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _age(span: timedelta) -> str:
    return f"{max(0.0, span.total_seconds()):.0f} s"


def _nth(ahead: int) -> str:
    return f"number {ahead + 1}"
