"""When a timer fires, and what it does about what it has missed: pure, to the microsecond."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from propolis.actors.triggers.cron import Cron
from propolis.actors.triggers.misfire import LATE, SETTLE, Fire, Over, Skip, Wait, look
from propolis.actors.triggers.schedule import Schedule

BEGAN = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=s) for s in (1, 60, 3_600, 86_400))
VIENNA = ZoneInfo("Europe/Vienna")


def following(cron: Cron, moment: datetime, count: int) -> list[datetime]:
    """So many times after a moment."""
    found: list[datetime] = []
    for _ in range(count):
        due = cron.after(found[-1] if found else moment)
        assert due is not None
        found.append(due)
    return found


def local(*times: datetime) -> list[str]:
    """What the clock in Vienna shows."""
    return [f"{time.astimezone(VIENNA):%d %H:%M %Z}" for time in times]


def vienna(text: str, fold: int = 0) -> datetime:
    """A moment by the clock in Vienna."""
    return datetime.fromisoformat(text).replace(tzinfo=VIENNA, fold=fold).astimezone(UTC)


# -- cron ------------------------------------------------------------------------------------------------------------


def test_a_fixed_time_that_does_not_exist_fires_once_at_the_end_of_the_gap() -> None:
    """On 29 March 2026 the clocks go from 02:00 to 03:00; the day after it is 02:30 again."""
    cron = Cron("30 2 * * *", "Europe/Vienna")
    times = following(cron, vienna("2026-03-28 00:00"), 3)
    assert ["28 02:30 CET", "29 03:00 CEST", "30 02:30 CEST"] == local(*times)


def test_two_fixed_times_in_one_gap_fire_as_one() -> None:
    """They meet at its end."""
    cron = Cron("0,30 2 * * *", "Europe/Vienna")
    times = following(cron, vienna("2026-03-28 12:00"), 3)
    assert ["29 03:00 CEST", "30 02:00 CEST", "30 02:30 CEST"] == local(*times)


def test_a_fixed_time_that_comes_twice_fires_in_the_first_hour_only() -> None:
    """On 25 October 2026 the clocks go from 03:00 back to 02:00."""
    cron = Cron("30 2 * * *", "Europe/Vienna")
    times = following(cron, vienna("2026-10-24 00:00"), 3)
    assert ["24 02:30 CEST", "25 02:30 CEST", "26 02:30 CET"] == local(*times)


def test_asked_in_the_second_hour_it_does_not_look_back_into_the_first() -> None:
    """Who begins at the second 02:10 waits for the next day, and is not given the 02:30 of an hour ago."""
    cron = Cron("30 2 * * *", "Europe/Vienna")
    begun = vienna("2026-10-25 02:10", fold=1)
    assert ["26 02:30 CET"] == local(*following(cron, begun, 1))


def test_every_half_hour_is_every_half_hour_of_real_time() -> None:
    """Through the gap and through the hour that comes twice: no firing is lost, none is early."""
    cron = Cron("*/30 * * * *", "Europe/Vienna")
    for day in ("2026-03-29 00:10", "2026-10-25 00:10"):
        times = following(cron, vienna(day), 12)
        assert {timedelta(minutes=30)} == {later - earlier for earlier, later in pairwise(times)}


def test_without_a_zone_it_is_utc() -> None:
    """What the machine's own zone is does not matter."""
    assert [datetime(2026, 3, 29, 2, 30, tzinfo=UTC)] == following(
        Cron("30 2 * * *"), datetime(2026, 3, 29, tzinfo=UTC), 1
    )


EXPRESSIONS = st.sampled_from(
    [
        "* * * * *",
        "*/7 * * * *",
        "30 2 * * *",
        "0 */6 * * *",
        "15 3 1 * *",
        "0 9 * * 1-5",
        "*/20 * * * * *",
        "5 2 L * *",
    ]
)
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(EXPRESSIONS, st.sampled_from(["UTC", "Europe/Vienna", "America/St_Johns", "Australia/Lord_Howe"]), MOMENTS)
def test_times_of_a_cron_grow_and_the_latest_is_one_of_them(expression: str, zone: str, moment: datetime) -> None:
    """Whatever the zone does at that moment."""
    cron = Cron(expression, zone)
    times = following(cron, moment, 4)
    assert sorted(set(times)) == times
    assert times[0] > moment
    assert times[2] == cron.latest(times[2]) == cron.latest(times[3] - timedelta(microseconds=1))
    latest = cron.latest(moment)
    assert latest is not None
    assert latest <= moment
    assert times[0] == cron.after(latest)


@pytest.mark.parametrize(
    ("expression", "zone"),
    [
        ("* * * *", "UTC"),
        ("60 * * * *", "UTC"),
        ("* * * * MOO", "UTC"),
        ("@daily", "UTC"),
        ("0 0 30 2 *", "UTC"),
        ("* * * * *", "Mars/Olympus"),
        ("* * * * *", ""),
        ("* * * * *", "../etc/passwd"),
        ("* * * * *", "\0"),
    ],
)
def test_what_is_no_expression_or_no_zone_is_refused(expression: str, zone: str) -> None:
    """Also one that is well formed and never fires."""
    with pytest.raises(ValueError, match=r".+"):
        Cron(expression, zone)


# -- schedules -------------------------------------------------------------------------------------------------------


def every(seconds: float, **more: Any) -> Schedule:
    """An interval."""
    return Schedule.of({"interval_seconds": seconds, **more})


def test_an_interval_counts_from_its_beginning_and_does_not_drift() -> None:
    """The thousandth is where it belongs, however late those before it were."""
    schedule = every(0.1)
    due = schedule.first(BEGAN)
    for _ in range(999):
        assert due is not None
        due = schedule.after(due, BEGAN)
    assert BEGAN + timedelta(seconds=100) == due


def test_run_immediately_is_a_firing_at_the_beginning_and_the_rest_as_without() -> None:
    """For each kind."""
    at = BEGAN + HOUR
    for config, then in (
        ({"interval_seconds": 60}, BEGAN + MINUTE),
        ({"cron": "0 13 * * *"}, datetime(2026, 3, 1, 13, tzinfo=UTC)),
        ({"delay": 5}, BEGAN + 5 * SECOND),
        ({"run_at": at}, at),
    ):
        schedule = Schedule.of({**config, "run_immediately": True})
        assert (BEGAN, then) == (schedule.first(BEGAN), schedule.after(BEGAN, BEGAN))
        assert then == Schedule.of(config).first(BEGAN)


def test_a_single_firing_is_the_only_one() -> None:
    """Delay and run_at."""
    for config in ({"delay": 5}, {"run_at": (BEGAN + HOUR).isoformat()}):
        schedule = Schedule.of(config)
        first = schedule.first(BEGAN)
        assert first is not None
        assert schedule.after(first, BEGAN) is None


def test_the_shape_tells_schedules_apart_and_nothing_else() -> None:
    """Another input or policy is no other schedule; another zone is."""
    same = [{"cron": "0  9 * * *"}, {"cron": "0 9 * * *", "timezone": "UTC", "misfire": "all", "input_data": {"x": 1}}]
    assert 1 == len({Schedule.of(config).shape for config in same})
    others = [
        {"cron": "0 9 * * *", "timezone": "Europe/Vienna"},
        {"cron": "0 9 * * *", "run_immediately": True},
        {"interval_seconds": 60},
        {"interval_seconds": 60.5},
        {"delay": 60},
        {"run_at": BEGAN},
    ]
    assert len(others) + 1 == len({Schedule.of(config).shape for config in (*others, same[0])})
    assert every(60).shape == every(60.0).shape


# -- looking ---------------------------------------------------------------------------------------------------------


def test_before_its_time_it_waits_and_at_its_time_it_fires() -> None:
    """Whatever the policy."""
    due = BEGAN + MINUTE
    for misfire in ("once", "all", "skip"):
        assert Wait(due) == look(every(60), misfire, due, BEGAN, BEGAN, due - SECOND)
        assert Fire(due) == look(every(60), misfire, due, BEGAN, BEGAN, due)
        assert Fire(due) == look(every(60), misfire, due, BEGAN, BEGAN, due + LATE / 2)


def test_after_the_last_firing_it_is_over() -> None:
    """No time is next."""
    assert Over() == look(Schedule.of({"delay": 0}), "once", None, BEGAN, BEGAN, BEGAN + DAY)


def test_after_downtime_each_policy_does_what_it_says() -> None:
    """Closed for an hour, opened again ten seconds after the last time that it missed."""
    due, opened = BEGAN + MINUTE, BEGAN + HOUR + 10 * SECOND
    last = BEGAN + HOUR
    now = opened + SECOND
    assert Fire(due) == look(every(60), "all", due, BEGAN, opened, now)
    assert Skip(due, last - MINUTE, last) == look(every(60), "once", due, BEGAN, opened, now)
    assert Fire(last) == look(every(60), "once", last, BEGAN, opened, now)
    assert Skip(due, last, last + MINUTE) == look(every(60), "skip", due, BEGAN, opened, now)


def test_what_came_due_while_it_was_open_is_not_missed_by_a_busy_moment() -> None:
    """Three late ones are three, also for `once`; a minute is the limit."""
    due = BEGAN + 10 * SECOND
    now = due + 25 * SECOND
    for step in range(3):
        assert Fire(due + step * 10 * SECOND) == look(every(10), "once", due + step * 10 * SECOND, BEGAN, BEGAN, now)
    late = due + 5 * MINUTE
    last = BEGAN + ((late - LATE - BEGAN) // (10 * SECOND)) * 10 * SECOND
    assert Skip(due, last - 10 * SECOND, last) == look(every(10), "once", due, BEGAN, BEGAN, late)


def test_a_single_firing_that_was_missed_is_caught_up_once_or_left_out() -> None:
    """There is nothing after it."""
    schedule = Schedule.of({"run_at": BEGAN})
    for misfire in ("once", "all"):
        assert Fire(BEGAN) == look(schedule, misfire, BEGAN, BEGAN, BEGAN + DAY, BEGAN + DAY)
    assert Skip(BEGAN, BEGAN, None) == look(schedule, "skip", BEGAN, BEGAN, BEGAN + DAY, BEGAN + DAY)


def test_nothing_is_left_out_while_another_runtime_may_be_at_it() -> None:
    """Opened just behind a time that somebody else waits for as well."""
    due = BEGAN + MINUTE
    opened = due + SETTLE / 4
    assert Wait(due + SETTLE) == look(every(60), "skip", due, BEGAN, opened, opened)
    assert Skip(due, due, due + MINUTE) == look(every(60), "skip", due, BEGAN, opened, due + SETTLE)


@given(
    st.sampled_from(["once", "all", "skip"]),
    st.integers(0, 5_000),
    st.lists(st.integers(-90, 400), min_size=1, max_size=30),
)
def test_whatever_the_clock_does_no_time_fires_twice_and_all_fires_every_one(
    misfire: Any, opened: int, jumps: list[int]
) -> None:
    """It goes on from where the row stands. `once` and `skip` leave out only what they say that they do."""
    schedule = every(7)
    due, now, open_at = schedule.first(BEGAN), BEGAN, BEGAN + opened * SECOND / 10
    fired: list[datetime] = []
    skipped: list[datetime] = []
    for jump in jumps:
        now += jump * SECOND
        while not isinstance(decision := look(schedule, misfire, due, BEGAN, open_at, now), (Wait, Over)):
            assert due is not None
            if isinstance(decision, Fire):
                assert decision.due == due <= now
                fired.append(due)
                due = schedule.after(due, BEGAN)
            else:
                assert decision.first == due
                step = due
                while step <= decision.last:
                    skipped.append(step)
                    step += 7 * SECOND
                due = decision.next
    assert sorted(set(fired)) == fired
    passed = sorted([*fired, *skipped])
    assert [BEGAN + (n + 1) * 7 * SECOND for n in range(len(passed))] == passed
    if misfire == "all":
        assert [] == skipped
