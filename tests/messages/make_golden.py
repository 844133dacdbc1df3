"""Add the golden bytes of what has none yet: `python -m tests.messages.make_golden`. Changes and removes nothing."""

from __future__ import annotations

import copy
import sys

from propolis.messages import encode

from .golden_file import Entry, Golden, load, reading, save
from .samples import full, minimal, ours


def with_missing(golden: Golden) -> Golden:
    """What there is, and after it the bytes of every message of ours, with all fields and with as few as may be."""
    grown = copy.deepcopy(golden)
    for tag, cls in ours().items():
        entries = grown.setdefault(tag, [])
        for make in (minimal, full):
            message = make(cls)
            entry = Entry(hex=encode(message).hex(), fields=reading(message))
            if entry["hex"] not in [known["hex"] for known in entries]:
                entries.append(entry)
    return grown


def main() -> None:
    """Add, and say how much."""
    before = load()
    after = with_missing(before)
    save(after)
    added = sum(map(len, after.values())) - sum(map(len, before.values()))
    sys.stdout.write(f"{added} added, {sum(map(len, after.values()))} in all\n")


if __name__ == "__main__":
    main()
