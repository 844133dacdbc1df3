"""What an entry point and a runtime's settings accept, and how they say no."""

from __future__ import annotations

import pickle
import string
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from propolis.actors.config import RuntimeConfig
from propolis.actors.specs import Backoff, EntryPoint, Intensity, Placement, RestartPolicy, StreamPolicy
from pydantic import ValidationError

from propolis.messages import LIVE_EVENTS, InvalidInput

LETTERS = string.ascii_letters + string.digits


def refusal(**fields: Any) -> InvalidInput:
    """The error that an entry point with these fields raises."""
    with pytest.raises(InvalidInput) as caught:
        EntryPoint(**{"id": "hook", **fields})
    return caught.value


def test_an_id_is_enough() -> None:
    """Everything else has a default that is safe to leave."""
    entry_point = EntryPoint(id="hook")
    assert ("hook", "manual", 10, 10_000, "reject", "isolated", "queue", 1_000) == (
        entry_point.name,
        entry_point.trigger_type,
        entry_point.max_concurrent,
        entry_point.max_pending,
        entry_point.on_full,
        entry_point.isolation_level,
        entry_point.session_policy,
        entry_point.result_retention_max,
    )
    assert (None, None, None) == (entry_point.placement, entry_point.circuit, entry_point.timeout)


def test_a_name_of_its_own_is_kept() -> None:
    """It is only the default that is the id."""
    assert "The hook" == EntryPoint(id="hook", name="The hook").name


def test_an_entry_point_is_frozen_hashable_and_survives_pickling() -> None:
    """It can be shared between threads, be a key, and reach a worker."""
    entry_point = EntryPoint(id="hook", trigger_config={"a": [1, {"b": {2}}]}, circuit=StreamPolicy())
    with pytest.raises(ValidationError):
        entry_point.id = "other"
    assert hash(entry_point) == hash(pickle.loads(pickle.dumps(entry_point)))
    assert entry_point == pickle.loads(pickle.dumps(entry_point))


@pytest.mark.parametrize("wrap", [dict, MappingProxyType])
def test_a_trigger_config_is_frozen_on_the_way_in_at_every_depth(wrap: Any) -> None:
    """What its maker changes later does not reach the entry point."""
    types, nested = ["a"], {"x": 1}
    entry_point = EntryPoint(id="hook", trigger_config=wrap({"types": types, "nested": nested}))
    types.append("b")
    nested["x"] = 2
    assert (("a",), {"x": 1}) == (entry_point.trigger_config["types"], entry_point.trigger_config["nested"])
    with pytest.raises(TypeError):
        entry_point.trigger_config["nested"]["x"] = 3


def test_a_trigger_config_that_has_no_end_is_refused() -> None:
    """As is one that only nearly has none."""
    circular: dict[str, Any] = {}
    circular["again"] = [circular]
    deep: Any = 1
    for _ in range(5_000):
        deep = [deep]
    for config in (circular, {"deep": deep}):
        error = refusal(trigger_config=config)
        assert "EntryPoint.trigger_config" == error.what
        assert "contains itself" in error.reason


def test_a_changed_copy_is_checked_like_the_original() -> None:
    """The pydantic way to copy one is no way around."""
    entry_point = EntryPoint(id="hook", timeout=3.0)
    copy = entry_point.model_copy(update={"id": "other", "name": "Other"})
    assert ("other", 3.0) == (copy.id, copy.timeout)
    assert entry_point == entry_point.model_copy()
    for update in ({"id": "../x"}, {"max_concurrent": 0}, {"nothing": 1}):
        with pytest.raises(InvalidInput, match=f"EntryPoint.{next(iter(update))}"):
            entry_point.model_copy(update=update)


@pytest.mark.parametrize("id", ["", "../x", "-x", ".x", "a b", "a/b", "x\n", "é", "x" * 129])
def test_an_id_that_could_mean_something_else_somewhere_is_refused(id: str) -> None:
    """In a path, a URL, a log line."""
    assert "EntryPoint.id" == refusal(id=id).what


@given(st.sampled_from(LETTERS), st.text(LETTERS + "_.-", max_size=127))
def test_every_other_id_is_fine(first: str, rest: str) -> None:
    """Up to 128 characters."""
    assert first + rest == EntryPoint(id=first + rest).id


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", 7),
        ("entry_node", ""),
        ("trigger_type", "cron"),
        ("trigger_config", ["path"]),
        ("isolation_level", "none"),
        ("priority", 1.5),
        ("priority", "high"),
        ("priority", 1 << 63),
        ("priority", -(1 << 63)),
        ("max_concurrent", 1 << 63),
        ("max_pending", 1 << 63),
        ("max_concurrent", 0),
        ("max_concurrent", True),
        ("max_concurrent", "10"),
        ("max_pending", -1),
        ("on_full", "drop"),
        ("restart", "transient"),
        ("placement", "thread"),
        ("timeout", 0),
        ("timeout", float("nan")),
        ("timeout", True),
        ("total_timeout", -1.0),
        ("idle_timeout", float("inf")),
        ("result_retention_max", -1),
        ("result_retention_ttl", 0.0),
        ("session_policy", "wait"),
        ("checkpoint", "yes"),
        ("graph_id", ""),
        ("version", 2),
        ("circuit", True),
    ],
)
def test_a_bad_field_is_named_with_its_value_kept_or_hidden(field: str, value: object) -> None:
    """The error says which, and what would do."""
    error = refusal(**{field: value})
    assert f"EntryPoint.{field}" == error.what
    assert error.reason
    assert field in error.remedy


def test_an_unknown_field_is_refused_with_the_one_that_was_meant() -> None:
    """A typing error would otherwise be a limit that silently is not there."""
    error = refusal(max_concurent=3)
    assert "EntryPoint.max_concurent: there is no such field. Did you mean max_concurrent?" == str(error)


def test_an_unknown_field_that_is_like_none_lists_them() -> None:
    """There is nothing to guess from."""
    assert "max_concurrent, max_pending" in refusal(qqqqq=3).remedy


def test_a_missing_id_is_asked_for() -> None:
    """It is the one field without a default."""
    with pytest.raises(InvalidInput, match=r"EntryPoint\.id: it is missing\. Pass id=\.\.\."):
        EntryPoint()  # type: ignore[call-arg]


def test_what_else_is_wrong_is_named_too() -> None:
    """One call tells of all of it."""
    assert refusal(priority="x", max_concurrent=0).remedy.endswith("Also wrong: max_concurrent.")


def test_an_error_shows_scalars_and_hides_mappings() -> None:
    """A trigger_config may hold a secret, and a long value would hide the sentence."""
    assert "0 should be greater than or equal to 1" == refusal(max_concurrent=0).reason
    assert "secret" not in str(refusal(restart={"secret": 1}).reason)
    assert len(refusal(trigger_type="x" * 10_000).reason) < 200


def test_a_key_that_is_no_text_is_refused() -> None:
    """Keys are names."""
    assert "EntryPoint.trigger_config[1]" == refusal(trigger_config={1: 2}).what


@pytest.mark.parametrize(
    "schedule",
    [
        {"interval_seconds": 60},
        {"interval_seconds": 0.5, "timezone": "UTC"},
        {"cron": "0 9 * * 1-5"},
        {"delay": 0},
        {"run_at": datetime(2030, 1, 1, tzinfo=UTC)},
        {"run_at": "2030-01-01T00:00:00+00:00"},
    ],
)
def test_a_timer_has_one_schedule(schedule: dict[str, object]) -> None:
    """Each of the four ways."""
    assert schedule == dict(EntryPoint(id="t", trigger_type="timer", trigger_config=schedule).trigger_config)


@pytest.mark.parametrize(
    ("schedule", "name"),
    [
        ({}, ""),
        ({"timezone": "UTC"}, ""),
        ({"cron": None}, ""),
        ({"cron": "* * * * *", "delay": 1}, ""),
        ({"cron": ""}, ".cron"),
        ({"cron": "  "}, ".cron"),
        ({"cron": 5}, ".cron"),
        ({"interval_seconds": 0}, ".interval_seconds"),
        ({"interval_seconds": True}, ".interval_seconds"),
        ({"interval_seconds": "60"}, ".interval_seconds"),
        ({"interval_seconds": float("nan")}, ".interval_seconds"),
        ({"delay": -1}, ".delay"),
        ({"delay": float("inf")}, ".delay"),
        ({"run_at": datetime(2030, 1, 1)}, ".run_at"),  # noqa: DTZ001 - it is what is refused
        ({"run_at": "2030-01-01"}, ".run_at"),
        ({"run_at": "tomorrow"}, ".run_at"),
        ({"run_at": 7}, ".run_at"),
    ],
)
def test_a_timer_that_could_not_fire_is_refused(schedule: dict[str, object], name: str) -> None:
    """When it is configured, not when it should have fired."""
    assert f"EntryPoint.trigger_config{name}" == refusal(trigger_type="timer", trigger_config=schedule).what


@pytest.mark.parametrize("config", [{}, {"path": ""}, {"path": " "}, {"path": None}, {"path": 7}, {"path": "\ud800"}])
def test_a_webhook_without_a_path_is_refused(config: dict[str, object]) -> None:
    """Nothing could reach it."""
    assert "EntryPoint.trigger_config.path" == refusal(trigger_type="webhook", trigger_config=config).what


def test_a_webhook_with_a_path_is_accepted() -> None:
    """And only a webhook needs one."""
    assert "/x" == EntryPoint(id="w", trigger_type="webhook", trigger_config={"path": "/x"}).trigger_config["path"]


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"cron": "61 * * * *"}, ".cron"),
        ({"cron": "0 0 30 2 *"}, ".cron"),
        ({"cron": "every day"}, ".cron"),
        ({"delay": 1, "timezone": "Mars/Olympus"}, ".timezone"),
        ({"delay": 1, "timezone": 3}, ".timezone"),
        ({"delay": 1, "misfire": "twice"}, ".misfire"),
        ({"delay": 1, "run_immediately": 1}, ".run_immediately"),
        ({"delay": 1, "input_data": 5}, ".input_data"),
        ({"delay": 1, "input_data": {"due_at": 5}}, ".input_data.due_at"),
        ({"delay": 1, "misfires": "once"}, ".misfires"),
        ({"delay": 1e300}, ".delay"),
        ({"interval_seconds": 1e-9}, ".interval_seconds"),
        ({"run_at": "0001-01-01T00:00:00+23:59"}, ".run_at"),
    ],
)
def test_what_else_a_timer_is_told_is_looked_at_too(more: dict[str, object], name: str) -> None:
    """Bad expressions, zones, policies, inputs."""
    error = refusal(trigger_type="timer", trigger_config=more)
    assert f"EntryPoint.trigger_config{name}" == error.what
    assert error.remedy


def test_what_a_timer_passes_on_must_be_fit_to_travel() -> None:
    """The path of what is not, from the name that the user gave it."""
    with pytest.raises(InvalidInput, match=r"trigger_config\.input_data\.socket"):
        EntryPoint(id="t", trigger_type="timer", trigger_config={"delay": 1, "input_data": {"socket": object()}})


def test_a_misspelled_field_of_a_timer_is_told_the_right_one() -> None:
    """As one of the entry point itself."""
    assert "Did you mean misfire?" == refusal(trigger_type="timer", trigger_config={"delay": 1, "misfre": 1}).remedy


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({}, ".event_types"),
        ({"event_types": []}, ".event_types"),
        ({"event_types": 7}, ".event_types"),
        ({"event_types": [7]}, ".event_types"),
        ({"event_types": [""]}, ".event_types"),
        ({"event_types": ["\ud800"]}, ".event_types"),
        ({"event_types": ["x"], "filter_graph": "\ud800"}, ".filter_graph"),
        ({"event_types": ["x"], "filter_stream": ""}, ".filter_stream"),
        ({"event_types": ["x"], "filter_node": 1}, ".filter_node"),
        ({"event_types": ["x"], "exclude_own_graph": "yes"}, ".exclude_own_graph"),
        ({"event_types": ["x"], "join_session": 1}, ".join_session"),
        ({"event_types": ["x"], "from_seq": -1}, ".from_seq"),
        ({"event_types": ["x"], "from_seq": True}, ".from_seq"),
        ({"event_types": ["x"], "max_depth": 0}, ".max_depth"),
        ({"event_types": ["x"], "filter_steam": "a"}, ".filter_steam"),
    ],
)
def test_an_event_trigger_that_could_not_start_anything_is_refused(config: dict[str, object], name: str) -> None:
    """By the field."""
    assert f"EntryPoint.trigger_config{name}" == refusal(trigger_type="event", trigger_config=config).what


@pytest.mark.parametrize("type", sorted(LIVE_EVENTS))
def test_events_that_are_never_stored_start_nothing(type: str) -> None:
    """They could be missed; the error says so, and what to use in place of a trigger."""
    error = refusal(trigger_type="event", trigger_config={"event_types": ["order", type]})
    assert f"{type} is live only: it is never stored, so it could be missed" == error.reason
    assert "runtime.subscribe()" in error.remedy


@pytest.mark.parametrize("type", ["trigger_loop", "trigger_refused"])
def test_what_triggers_say_of_themselves_starts_nothing(type: str) -> None:
    """It would not end."""
    assert "starts nothing" in refusal(trigger_type="event", trigger_config={"event_types": type}).reason


@pytest.mark.parametrize("types", ["order", ["order"], ("order", "x"), {"order"}])
def test_one_type_of_events_or_several_are_accepted(types: object) -> None:
    """As they are written."""
    EntryPoint(id="e", trigger_type="event", trigger_config={"event_types": types, "from_seq": 0, "max_depth": 1})


def test_a_schedule_is_looked_at_for_timers_only() -> None:
    """trigger_config is the trigger's own otherwise."""
    assert "?" == EntryPoint(id="e", trigger_config={"cron": "?"}).trigger_config["cron"]


def test_placements_are_values() -> None:
    """Two of a kind are equal."""
    assert [Placement.asyncio(), Placement.thread()] == [Placement(kind="asyncio"), Placement(kind="thread")]


def test_a_placement_that_is_not_there_yet_says_so() -> None:
    """When it is asked for, not when the first execution runs."""
    with pytest.raises(InvalidInput, match="not available in this version"):
        Placement.ray(workers=2)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"workers": 0}, "Placement.workers"),
        ({"workers": "2"}, "Placement.workers"),
        ({"warm": -1}, "Placement.warm"),
        ({"memory_mb": 1}, "Placement.memory_mb"),
        ({"recycle_after": 0}, "Placement.recycle_after"),
        ({"start_method": "fork"}, "Placement.start_method"),
        ({"name": ""}, "Placement.name"),
    ],
)
def test_a_bad_option_of_a_process_placement_is_named(options: dict[str, Any], what: str) -> None:
    """When the placement is made."""
    with pytest.raises(InvalidInput) as caught:
        Placement.process(**options)
    assert what == caught.value.what


def test_an_option_of_processes_is_refused_elsewhere() -> None:
    """It would say nothing there; nor would one that there is not."""
    with pytest.raises(InvalidInput) as caught:
        Placement(kind="thread", workers=2)
    assert "Placement.workers" == caught.value.what
    with pytest.raises(InvalidInput) as caught:
        Placement(kind="process", wokers=2)  # type: ignore[call-arg]
    assert "Placement.wokers" == caught.value.what


def test_the_settings_of_a_runtime_have_the_defaults_of_the_contract() -> None:
    """They fit one process on one machine."""
    config = RuntimeConfig()
    assert (15.0, 10_000, 30.0, 5.0, 16 * 2**20, 1_000, 512) == (
        config.lease_seconds,
        config.mailbox_limit,
        config.ask_timeout,
        config.grace_seconds,
        config.max_payload_bytes,
        config.subscriber_queue,
        config.commit_batch_max,
    )
    assert (5, 10.0) == (config.system_intensity.max_restarts, config.system_intensity.within_seconds)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"lease_seconds": 0}, "RuntimeConfig.lease_seconds"),
        ({"mailbox_limit": 0}, "RuntimeConfig.mailbox_limit"),
        ({"grace_seconds": -1}, "RuntimeConfig.grace_seconds"),
        ({"max_payload_bytes": 1.5}, "RuntimeConfig.max_payload_bytes"),
        ({"store_retry": 2}, "RuntimeConfig.store_retry"),
        ({"lease": 2}, "RuntimeConfig.lease"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_by_name(fields: dict[str, Any], what: str) -> None:
    """As with an entry point."""
    with pytest.raises(InvalidInput) as caught:
        RuntimeConfig(**fields)
    assert what == caught.value.what


@pytest.mark.parametrize("kind", [Backoff, RestartPolicy, Intensity, StreamPolicy, RuntimeConfig])
def test_everything_that_has_only_defaults_can_be_made_and_compared(kind: Any) -> None:
    """And is a value: equal and hashable."""
    assert kind() == kind()
    assert hash(kind()) == hash(kind())
