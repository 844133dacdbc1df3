"""What goes wrong in a simulation, and how often."""

from __future__ import annotations

import random
from dataclasses import dataclass

__all__ = ["CALM", "Faults"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How likely each kind of trouble is. The default is none: only the order of things is drawn.

    What happens to a whole process is the scenario's own to say: `Simulation.crash`, `freeze`, `thaw`.
    """

    commit_refused: float = 0.0
    """Of a commit: the store does not take it (busy, full, away), and says so."""
    commit_in_doubt: float = 0.0
    """Of a commit: it has landed, and the store says that it has not."""
    outage: float = 0.0
    """Of a commit: from here on none lands, for up to `outage_seconds`."""
    outage_seconds: float = 5.0
    read_refused: float = 0.0
    """Of a read."""
    store_seconds: float = 0.0
    """A call of the store takes up to so long, on the way there and on the way back."""
    actor_crash: float = 0.0
    """At each step: some actor crashes, with the message that it has at hand or between two."""

    @classmethod
    def drawn(cls, random: random.Random) -> Faults:
        """Some kinds of trouble, more or less of each: no two runs are alike, and some have only one kind."""

        def some(most: float) -> float:
            return random.choice((0.0, 0.0, most / 10, most / 3, most))

        return cls(
            commit_refused=some(0.3),
            commit_in_doubt=some(0.3),
            outage=some(0.03),
            read_refused=some(0.1),
            store_seconds=random.choice((0.0, 0.001, 0.02, 0.2)),
            actor_crash=some(0.003),
        )


CALM = Faults()
