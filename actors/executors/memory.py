"""The execution's memory: a working copy that a checkpoint, or the end, commits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from propolis.messages import InvalidInput, Payload, is_unicode

__all__ = ["WorkingMemory"]


_EMPTY: Final = Payload.of({})


class WorkingMemory:
    """Key to encoded value. Every write encodes and every read decodes, so nobody shares an object with it."""

    __slots__ = ("_items", "_limit", "changed")

    def __init__(self, payload: Payload | None, limit: int) -> None:
        self._items: dict[str, Payload] = {} if payload is None or payload == _EMPTY else payload.split()
        self._limit = limit
        self.changed = False

    def read(self, key: str, default: Any = None) -> Any:
        item = self._items.get(key)
        return default if item is None else item.value()

    def read_all(self) -> dict[str, Any]:
        return {key: item.value() for key, item in self._items.items()}

    def write_batch(self, items: Mapping[str, Any]) -> None:
        """All of them, or, when one cannot be encoded, none."""
        self._items.update(self.encoded(items))
        self.changed = True

    def encoded(self, items: Mapping[str, Any]) -> dict[str, Payload]:
        """What would be written."""
        if not isinstance(items, Mapping):
            raise InvalidInput(what="memory", reason=f"{items!r:.200} is no mapping", remedy="Pass a dict.")
        return {_checked(key): Payload.of(value, f"memory.{key}", self._limit) for key, value in items.items()}

    def update(self, key: str, change: Callable[[Any], Any], default: Any = None) -> Any:
        value = change(self.read(key, default))
        self.write_batch({key: value})
        return value

    def delete(self, key: str) -> bool:
        self.changed = True
        return self._items.pop(key, None) is not None

    def snapshot(self) -> Payload:
        """The whole memory. Raises PayloadTooLarge."""
        payload = Payload.join(self._items)
        if len(payload.data) > self._limit:
            from propolis.messages import PayloadTooLarge  # noqa: PLC0415 - the rare path

            raise PayloadTooLarge(what="memory", size=len(payload.data), limit=self._limit)
        return payload


def _checked(key: object) -> str:
    if not isinstance(key, str):
        raise InvalidInput(what="memory key", reason=f"{key!r:.200} is no str", remedy="Use text as keys.")
    if not is_unicode(key):
        reason = f"{key!r:.200} is not valid Unicode"
        raise InvalidInput(what="memory key", reason=reason, remedy="Use text as keys.")
    return key
