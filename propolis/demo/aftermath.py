"""What became of the hostile executions, computed from the store alone, as the report on the audit is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from propolis.messages import Failure, SessionRecord

from .hostile import MAX_RESTARTS, Attack, Kind

__all__ = ["EXPECTED", "Aftermath", "Ending", "make_aftermath"]

EXPECTED: dict[Kind, tuple[str, str]] = {
    "segfault": ("failed", "worker_signal"),
    "spin": ("failed", "timeout"),
    "memory": ("failed", "out_of_memory"),
    "exit": ("failed", "worker_exit"),
    "garbage": ("completed", ""),
}
"""By kind: the status that it ends with, and the code of its failure."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attack ended."""

    kind: Kind
    status: str
    """As in ExecutionStatus; "unfinished" before it has ended, or when there is no record."""
    code: str = ""
    """Of its failure."""
    detail: str = ""
    """The signal or the exit status."""
    restarts: int = 0

    @property
    def is_as_expected(self) -> bool:
        """With the status and the reason of its kind, and behind the restarts that the policy allows, no fewer."""
        if (self.status, self.code) != EXPECTED[self.kind]:
            return False
        return self.status == "completed" or self.restarts == MAX_RESTARTS


@dataclass(frozen=True, slots=True)
class Aftermath:
    """The hostile executions as recorded."""

    endings: tuple[tuple[Ending, int], ...]
    """Each way that some ended, and how many did."""
    repeated: tuple[str, ...] = ()
    """Attacks that were recorded more than once; there should never be one."""

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(count for _, count in self.endings)

    @property
    def is_as_expected(self) -> bool:
        """Every one ended as its policy says, once."""
        return not self.repeated and all(ending.is_as_expected for ending, _ in self.endings)


def make_aftermath(attacks: Sequence[Attack], sessions: Iterable[SessionRecord]) -> Aftermath:
    """Look every attack up among the sessions; those of other attacks do not count. Pure."""
    recorded: dict[Attack, list[SessionRecord]] = {attack: [] for attack in attacks}
    for session in sessions:
        attack = _attack_of(session)
        if attack in recorded:
            recorded[attack].append(session)
    endings = Counter(_ending(attack, found[0] if found else None) for attack, found in recorded.items())
    return Aftermath(
        endings=tuple(endings.items()),
        repeated=tuple(attack.name for attack, found in recorded.items() if len(found) > 1),
    )


def _ending(attack: Attack, session: SessionRecord | None) -> Ending:
    if session is None or session.result is None:
        return Ending(attack.kind, "unfinished")
    result = session.result
    code = "" if result.failure is None else result.failure.code
    return Ending(attack.kind, result.status, code, _detail(result.failure), session.restarts)


def _detail(failure: Failure | None) -> str:
    details = {} if failure is None or failure.details is None else failure.details.value()
    if "signal" in details:
        return str(details["signal"])
    return f"exit status {details['exit_status']}" if "exit_status" in details else ""


def _attack_of(session: SessionRecord) -> Attack | None:
    try:
        return Attack.model_validate(session.input_data)
    except ValueError:
        return None
