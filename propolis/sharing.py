"""The part of a Runtime that looks at memory which executions share, and sets it from outside."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from propolis.actors import Ref
from propolis.messages import (
    ChangeState,
    GetState,
    InvalidInput,
    Payload,
    SharedScope,
    StateChange,
    StateConflict,
    StateEntries,
    StateEntry,
    StateWritten,
)

from .calls import Call, call
from .checks import one_of, text, whole

if TYPE_CHECKING:
    from propolis.actors import RuntimeConfig

__all__ = ["Sharing"]

_SCOPES: Final = ("stream", "global")


class Sharing:
    """Shared memory from outside of any execution. Needs to know the runtime's actors; the Runtime does."""

    config: RuntimeConfig

    def now(self) -> datetime:
        """By the clock of the Host."""
        raise AssertionError("the Runtime knows its clock")

    @property
    def state_ref(self) -> Ref[Any]:
        """The StateActor's reference."""
        raise AssertionError("the Runtime knows its actors")

    def read(self, job: Any) -> Call[Any]:
        """Have a job read the store."""
        raise AssertionError(f"the Runtime knows its store, for {job}")

    def state(self, scope: SharedScope = "global", *, stream: str | None = None) -> Call[dict[str, Any]]:
        """The memory that all executions share, or with scope "stream" those of one stream: a fresh copy of it all."""
        stream_id = _stream_of(scope, stream)
        question = GetState(scopes=(scope,), stream_id=stream_id)

        def values(found: StateEntries) -> dict[str, Any]:
            return {entry.key: entry.value for entry in found.entries}

        timeout = self.config.ask_timeout
        return call(self.state_ref, question, what="The runtime", timeout=timeout, convert=values)

    def state_history(
        self, key: str, *, scope: SharedScope = "global", stream: str | None = None, limit: int = 100
    ) -> Call[tuple[StateEntry, ...]]:
        """What a key is and was, the last version first: who made it so, and when. `RuntimeConfig.state_history_max`
        says how many versions are kept.
        """
        stream_id = _stream_of(scope, stream)
        text("key", key)
        whole("limit", limit, 0)
        return self.read(lambda store: store.state_history(scope, stream_id, key, limit=limit))

    def set_state(
        self,
        items: Mapping[str, Any],
        *,
        scope: SharedScope = "global",
        stream: str | None = None,
        expected: Mapping[str, int] | None = None,
    ) -> Call[dict[str, int]]:
        """Set keys, all or none, and return their versions once it is committed. `expected`: the versions that they
        must have before (0: never set).

        Raises:
            StateConflict: one has another; nothing was written.
            InvalidInput: a bad key, or a value that cannot be encoded.
        """
        stream_id = _stream_of(scope, stream)
        if not isinstance(items, Mapping) or not items:
            raise InvalidInput(what="items", reason=f"{items!r:.200} is no mapping of keys", remedy="Pass a dict.")
        wanted = dict(expected or {})
        for key, version in wanted.items():
            if key not in items:
                raise InvalidInput(what="expected", reason=f"{key!r:.200} is not set", remedy="Name keys of items.")
            whole("expected", version, 0)
        limit = self.config.max_payload_bytes
        changes = []
        for key, value in items.items():
            if not text("key", key):
                raise InvalidInput(what="key", reason="it is empty", remedy="Name one.")
            payload = Payload.of(value, f"state.{key}", limit)
            changes.append(StateChange(key=key, value=payload, based_on=wanted.get(key)))
        change = ChangeState(
            scope=scope,
            changes=tuple(changes),
            strict=True,
            at=self.now(),
            stream_id=stream_id or None,
            keep=self.config.state_history_max,
        )

        def versions(done: StateWritten) -> dict[str, int]:
            found = {entry.key: entry.version for entry in done.entries}
            if done.written:
                return found
            key = next(key for key, version in wanted.items() if found[key] != version)
            raise StateConflict(scope=scope, key=key, version=found[key])

        timeout = self.config.ask_timeout
        return call(self.state_ref, change, what="The runtime", timeout=timeout, convert=versions)


def _stream_of(scope: str, stream: str | None) -> str:
    one_of("scope", text("scope", scope), _SCOPES)
    if scope == "stream" and stream is None:
        raise InvalidInput(what="stream", reason="nobody knows whose memory is meant", remedy="Pass stream=ID.")
    if scope == "global" and stream is not None:
        reason = f"global memory is that of every stream, not of {stream!r:.200}"
        raise InvalidInput(what="stream", reason=reason, remedy='Pass scope="stream" with it.')
    return "" if stream is None else text("stream", stream)
