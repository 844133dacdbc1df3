"""What came out, computed from the store alone: the same after one run, and after ten that were killed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from propolis.messages import SessionRecord

from .aftermath import Aftermath
from .catalogue import Module

__all__ = ["FailedModule", "Report", "make_report"]


@dataclass(frozen=True, slots=True)
class FailedModule:
    """A module that could not be audited, and the session that says why."""

    path: str
    kind: str
    message: str
    session_id: str
    restarts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The audit as recorded."""

    modules: int
    audited: tuple[dict[str, Any], ...]
    """What `audit()` returned for every module that completed, the most complex first."""
    failed: tuple[FailedModule, ...]
    unfinished: tuple[str, ...]
    """Modules that have no result: not recorded yet, or cancelled."""
    repeated: tuple[str, ...]
    """Modules that were recorded more than once; there should never be one."""
    restarts: int
    lost_attempts: int
    """Attempts that ended with their process."""
    aftermath: Aftermath | None = None
    """Of the hostile executions, where there were some."""

    @property
    def accounts_for_all(self) -> bool:
        """Every module is accounted for, once."""
        return not self.unfinished and not self.repeated

    @property
    def is_complete(self) -> bool:
        """Every module is accounted for, once, and every hostile execution ended as its policy says."""
        return self.accounts_for_all and (self.aftermath is None or self.aftermath.is_as_expected)

    def total(self, figure: str) -> int:
        """The sum of a figure over all audited modules."""
        return sum(module[figure] for module in self.audited)

    @property
    def docstring_coverage(self) -> float:
        """The part of what can have a docstring that has one."""
        return self.total("documented") / max(1, self.total("documentable"))

    def worst_functions(self, count: int) -> list[dict[str, Any]]:
        """The most complex functions, at most one of a module."""
        ranked = sorted(self.audited, key=lambda module: (-module["worst"]["complexity"], module["module"]))
        return [{"module": module["module"], **module["worst"]} for module in ranked[:count]]


def make_report(
    modules: Sequence[Module], sessions: Iterable[SessionRecord], aftermath: Aftermath | None = None
) -> Report:
    """Look every module up among the sessions; those of other modules, or of other contents, do not count. Pure."""
    recorded: dict[Module, list[SessionRecord]] = {module: [] for module in modules}
    for session in sessions:
        module = _module_of(session)
        if module in recorded:
            recorded[module].append(session)
    audited: list[dict[str, Any]] = []
    failed: list[FailedModule] = []
    unfinished: list[str] = []
    for module, found in recorded.items():
        result = found[0].result if found else None
        if result is not None and result.success:
            audited.append(result.output)
        elif result is not None and result.failure is not None and result.status == "failed":
            failure = result.failure
            failed.append(
                FailedModule(module.path, failure.kind, failure.message, found[0].session_id, found[0].restarts)
            )
        else:
            unfinished.append(module.path)
    own = [session for found in recorded.values() for session in found]
    return Report(
        modules=len(modules),
        audited=tuple(sorted(audited, key=lambda output: (-output["complexity"], output["module"]))),
        failed=tuple(failed),
        unfinished=tuple(unfinished),
        repeated=tuple(module.path for module, found in recorded.items() if len(found) > 1),
        restarts=sum(session.restarts for session in own),
        lost_attempts=sum(session.lost_attempts for session in own),
        aftermath=aftermath,
    )


def _module_of(session: SessionRecord) -> Module | None:
    try:
        return Module.model_validate(session.input_data)
    except ValueError:
        return None
