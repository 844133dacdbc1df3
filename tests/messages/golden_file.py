"""The golden bytes: where they are, and how a message is written down beside its own."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

from propolis.messages import Message, Pairs, Payload

FILE = Path(__file__).with_name("golden") / "messages.json"


class Entry(TypedDict):
    """One message: its bytes, and what they say."""

    hex: str
    fields: Any


Golden = dict[str, list[Entry]]


def load() -> Golden:
    """Every entry by tag; nothing before the first is made."""
    golden: Golden = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    return golden


def save(golden: Golden) -> None:
    """Write the file, sorted by tag, the entries of a tag in the order that they were added in."""
    FILE.write_text(json.dumps(golden, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def reading(value: Any) -> Any:
    """A message in JSON, written independently of the codec: the fields that were given, and nothing else."""
    if isinstance(value, Message):
        return {name: reading(getattr(value, name)) for name in sorted(value.model_fields_set)}
    if isinstance(value, Payload):
        return {"payload": value.data.hex()}
    if isinstance(value, Pairs):
        return {"pairs": [[key, reading(child)] for key, child in value.items()]}
    if isinstance(value, tuple):
        return list(map(reading, value))
    if isinstance(value, datetime):
        return {"moment": value.astimezone(UTC).isoformat()}
    return {"bytes": value.hex()} if isinstance(value, bytes) else value
