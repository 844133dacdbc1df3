"""What a look at a store can find."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

__all__ = ["Finding", "Severity", "SHOWN"]

Severity: TypeAlias = Literal["problem", "note"]

SHOWN: Final = 20
"""Ids that a finding names; of more it says how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One kind of thing, and where it is. A `note` is as it should be, and good to know when something is not."""

    kind: str
    severity: Severity = "problem"
    subject: str
    """The table, runtime or entry point that it is about."""
    detail: str
    ids: tuple[str, ...] = ()
    """Of the rows, the first `SHOWN` of them."""
    count: int = 1
    remedy: str = ""
    """What to do; of what can be repaired, what a repair does."""
    repairable: bool = False
    repaired: bool = False

    def done(self) -> Finding:
        """The same, after a repair."""
        return replace(self, repaired=True)

    @property
    def is_open(self) -> bool:
        """Whether the store is not well because of it."""
        return self.severity == "problem" and not self.repaired
