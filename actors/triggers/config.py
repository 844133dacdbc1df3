"""What may stand in a `trigger_config`, by the kind of trigger: checked when the entry point is made."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NoReturn, TypeGuard

from propolis.messages import LIVE_EVENTS, InvalidInput, Payload, is_unicode

from .cron import Cron

__all__ = ["EVENT_FIELDS", "MAX_DEPTH", "TIMER_FIELDS", "UNHEARD_EVENTS", "check_trigger", "thawed"]

SCHEDULES: Final = ("cron", "delay", "interval_seconds", "run_at")
TIMER_FIELDS: Final = frozenset({*SCHEDULES, "timezone", "misfire", "run_immediately", "input_data"})
EVENT_FIELDS: Final = frozenset(
    {
        "event_types",
        "filter_stream",
        "filter_node",
        "filter_graph",
        "exclude_own_graph",
        "join_session",
        "from_seq",
        "max_depth",
    }
)
UNHEARD_EVENTS: Final = frozenset({"trigger_loop", "trigger_missed", "trigger_refused"})
"""What event triggers themselves say when they do not start something."""

MAX_DEPTH: Final = 10
"""Executions in one chain of event triggers, unless `max_depth` says otherwise."""

_SHORTEST, _LONGEST = 0.001, 3_155_760_000.0
"""Of an interval or a delay, in seconds: a millisecond, a hundred years."""


def check_trigger(trigger_type: str, config: Mapping[str, Any]) -> None:
    """Refuse what could never start an execution, by the name of the field. Raises InvalidInput."""
    match trigger_type:
        case "timer":
            _check_timer(config)
        case "event":
            _check_event(config)
        case "webhook":
            path = config.get("path")
            if not _is_text(path) or not path.strip():
                _refuse("path", "a webhook needs a path", 'Pass trigger_config={"path": "/hooks/name"}.')


# -- timers ----------------------------------------------------------------------------------------------------------


def _check_timer(config: Mapping[str, Any]) -> None:
    given = [name for name in SCHEDULES if config.get(name) is not None]
    if len(given) != 1:
        reason = f"a timer has one schedule, not {' and '.join(given)}" if given else "a timer needs a schedule"
        _refuse("", reason, f"Pass trigger_config with one of {', '.join(SCHEDULES)}.")
    _check_names("timer", config, TIMER_FIELDS)
    (name,) = given
    value = config[name]
    match name:
        case "interval_seconds" if not _is_number(value) or not _SHORTEST <= value <= _LONGEST:
            reason = f"{value!r} is no number of seconds from {_SHORTEST:g} to {_LONGEST:g}"
            _refuse(name, reason, "Pass how often it fires, in seconds.")
        case "delay" if not _is_number(value) or not 0 <= value <= _LONGEST:
            _refuse(name, f"{value!r} is no number of seconds", "Pass after how many seconds it fires, once.")
        case "run_at" if not _is_aware(value):
            _refuse(name, f"{value!r} is no time with a zone", "Pass an aware datetime, or one in ISO 8601.")
        case "cron":
            _check_cron(value)
    _check_zone(config.get("timezone"))
    misfire = config.get("misfire", "once")
    if misfire not in ("once", "all", "skip"):
        _refuse("misfire", f"{misfire!r} is no policy", 'Pass "once", "all" or "skip".')
    _check_flag(config, "run_immediately")
    _check_input(config.get("input_data"))


def _check_cron(expression: Any) -> None:
    if not isinstance(expression, str) or not expression.strip():
        _refuse("cron", f"{expression!r} is no cron expression", 'Pass one as text, such as "0 9 * * 1-5".')
    try:
        Cron(expression)
    except ValueError as error:
        remedy = 'Pass five fields: minute, hour, day, month, weekday, such as "0 9 * * 1-5".'
        _refuse("cron", str(error), remedy)


def _check_zone(zone: Any) -> None:
    if zone is None:
        return
    try:
        Cron("* * * * *", zone if isinstance(zone, str) else "")
    except ValueError:
        remedy = 'Pass a name such as "Europe/Vienna" (where the system knows none: pip install tzdata).'
        _refuse("timezone", f"there is no time zone {zone!r}", remedy)


def _check_input(value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, Mapping):
        reason = f"a <{type(value).__name__}> has no room for due_at, which is added to it"
        _refuse("input_data", reason, "Pass a mapping.")
    if "due_at" in value:
        _refuse("input_data.due_at", "the timer sets it, to the time of the firing", "Name it otherwise.")
    Payload.of(thawed(value), "trigger_config.input_data")


def thawed(value: Any) -> Any:
    """Plain dicts, lists and sets again, at every depth, of what an entry point has frozen."""
    if isinstance(value, Mapping):
        return {key: thawed(inner) for key, inner in value.items()}
    if isinstance(value, tuple):
        return [thawed(inner) for inner in value]
    return set(value) if isinstance(value, frozenset) else value


# -- events ----------------------------------------------------------------------------------------------------------


def _check_event(config: Mapping[str, Any]) -> None:
    types = config.get("event_types")
    names = (types,) if isinstance(types, str) else types
    if not isinstance(names, (tuple, list, frozenset, set)) or not names:
        reason = "an event trigger needs the types of its events"
        _refuse("event_types", reason, 'Pass event_types=["execution_failed"], say.')
    for name in names:
        if not _is_text(name) or not name:
            _refuse("event_types", f"{name!r} is no name of an event type", "Pass names.")
        if name in LIVE_EVENTS:
            reason = f"{name} is live only: it is never stored, so it could be missed"
            _refuse("event_types", reason, "Take it out; use runtime.subscribe() to hear of it.")
        if name in UNHEARD_EVENTS:
            reason = f"{name} is what an event trigger says when it starts nothing"
            _refuse("event_types", reason, "Take it out; use runtime.subscribe() to hear of it.")
    _check_names("event trigger", config, EVENT_FIELDS)
    for name in ("filter_stream", "filter_node", "filter_graph"):
        value = config.get(name)
        if value is not None and (not _is_text(value) or not value):
            _refuse(name, f"{value!r} is no id", "Pass one, or leave it out.")
    _check_flag(config, "exclude_own_graph")
    _check_flag(config, "join_session")
    _check_whole(config, "from_seq", 0, "the number of an event, after which it begins")
    _check_whole(config, "max_depth", 1, "how many executions a chain may have")


# -- both ------------------------------------------------------------------------------------------------------------


def _check_names(what: str, config: Mapping[str, Any], known: frozenset[str]) -> None:
    for name in config:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            remedy = f"Did you mean {close[0]}?" if close else f"There are {', '.join(sorted(known))}."
            _refuse(name, f"there is no such field of a{'n' if what[0] == 'e' else ''} {what}", remedy)


def _check_flag(config: Mapping[str, Any], name: str) -> None:
    if not isinstance(config.get(name, False), bool):
        _refuse(name, f"{config[name]!r} is neither True nor False", "Pass one of these.")


def _check_whole(config: Mapping[str, Any], name: str, least: int, what: str) -> None:
    value = config.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**63):
        _refuse(name, f"{value!r} is no whole number from {least} on", f"Pass {what}.")


def _is_text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and is_unicode(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_aware(value: Any) -> bool:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return isinstance(moment, datetime) and moment.utcoffset() is not None and bool(moment.astimezone(UTC))
    except (ValueError, OverflowError):
        return False


def _refuse(name: str, reason: str, remedy: str) -> NoReturn:
    what = "EntryPoint.trigger_config" + (f".{name}" if name else "")
    raise InvalidInput(what=what, reason=reason, remedy=remedy)
