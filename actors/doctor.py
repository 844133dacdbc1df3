"""Looks at a store with no runtime of its own, says what is wrong with it, and, asked to, puts it right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from propolis.messages import PropolisError, RuntimeRow, StoreCorrupt, StoreTooNew, StoreUnavailable

from .host import Host
from .peers import is_running
from .stores import Finding, open_store, to_micros

if TYPE_CHECKING:
    from .stores.sql import SqlStore

__all__ = ["check_store"]


def check_store(
    url: str, host: Host, *, mend: bool = False, thorough: bool = False, wait: float = 0.0
) -> tuple[Finding, ...]:
    """Everything that was found; with `mend`, what could be repaired is, and says so. Blocks; any thread.

    Safe beside live runtimes: it only reads, and a repair touches nothing that a runtime has of which it is not known
    that it is dead. `wait`: seconds to watch the beats of runtimes that cannot be seen from here; one that stands still
    for longer than its lease counts as dead. `thorough` checks the file's indexes against its tables, too.

    Raises:
        InvalidInput: the URL is none of a store, or names no file.
    """
    try:
        store = open_store(url, host=host, read_only=True)
    except (StoreCorrupt, StoreTooNew, StoreUnavailable) as error:
        return (_not_opened(error, url),)
    try:
        alive = _judge(store, host, wait)
        found = _look(store, host, alive, thorough=thorough)
    finally:
        store.close()
    if not mend or not any(finding.repairable for finding in found):
        return found
    return _mend(url, host, found, alive)


def _look(store: SqlStore, host: Host, alive: Mapping[str, bool | None], *, thorough: bool) -> tuple[Finding, ...]:
    from .stores.dialect import check_structure  # noqa: PLC0415 - see stores/opener.py
    from .stores.examining import examine  # noqa: PLC0415

    found: list[Finding] = []
    try:
        said = store.run_read(lambda connection: check_structure(connection, thorough=thorough))
        found += [_damaged(store.name, reason) for reason in said]
        now = to_micros(host.now())
        found += store.run_read(lambda connection: list(examine(connection, alive, now)))
    except StoreCorrupt as error:
        found.append(_damaged(store.name, error.reason))
    return tuple(found)


def _mend(url: str, host: Host, found: tuple[Finding, ...], alive: Mapping[str, bool | None]) -> tuple[Finding, ...]:
    from .stores.repairing import repair  # noqa: PLC0415

    store = open_store(url, host=host)
    try:
        store.run_write(lambda connection: repair(connection, found, alive))
        left = {(f.kind, f.subject) for f in _look(store, host, alive, thorough=False) if f.is_open}
    finally:
        store.close()
    return tuple(f.done() if f.repairable and (f.kind, f.subject) not in left else f for f in found)


def _judge(store: SqlStore, host: Host, wait: float) -> dict[str, bool | None]:
    """Which of the registered runtimes live; None where it cannot be told."""
    rows = store.runtimes()
    alive = {row.runtime_id: is_running(row) for row in rows}
    unseen = [row for row in rows if alive[row.runtime_id] is None]
    if unseen and wait > 0.0:
        host.sleep(wait)
        now: dict[str, RuntimeRow] = {row.runtime_id: row for row in store.runtimes()}
        for row in unseen:
            later = now.get(row.runtime_id)
            alive[row.runtime_id] = later is not None and later.beat != row.beat
    return alive


def _not_opened(error: PropolisError, url: str) -> Finding:
    if isinstance(error, StoreTooNew):
        return Finding(kind="schema", subject=url, detail=str(error), remedy="use the version that wrote it")
    if isinstance(error, StoreCorrupt):
        return _damaged(url, error.reason)
    return Finding(kind="unavailable", subject=url, detail=str(error), remedy="see the reason")


def _damaged(subject: str, reason: str) -> Finding:
    return Finding(
        kind="damaged", subject=subject, detail=reason, remedy="restore the file from a copy; keep this one until then"
    )
