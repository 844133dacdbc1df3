"""Where a re-run stands among the recorded steps; what the outcome of a step is when it is read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from propolis.actors.executors.outcomes import causes, digest_of, failure_of, outcome_of
from propolis.actors.executors.replay import Replay

from propolis.messages import (
    Payload,
    RecordedStep,
    ReplayMismatch,
    RunHistory,
    SessionNotFound,
    StepFailed,
    StepKey,
)


def recorded(*keys: tuple[int, str, int], checkpoints: int = 0, inherited: bool = False) -> RunHistory:
    """A history of steps with these segments, names and calls."""
    steps = tuple(
        RecordedStep(segment=segment, name=name, call=call, digest=b"d", inherited=inherited)
        for segment, name, call in keys
    )
    return RunHistory(steps=steps, segment=checkpoints)


def test_calls_of_a_name_are_counted_in_their_segment() -> None:
    """And a checkpoint begins a new one."""
    replay = Replay("e", None)
    keys = [replay.next("step", name, b"")[0] for name in ("a", "b", "a")]
    assert (1, False) == replay.pass_checkpoint()
    keys.append(replay.next("step", "a", b"")[0])
    assert [(0, "a", 0), (0, "b", 0), (0, "a", 1), (1, "a", 0)] == [(key[0], key[2], key[3]) for key in keys]


def test_one_that_does_not_look_begins_at_the_beginning_and_passes_its_checkpoints_by() -> None:
    """Every step is found, old checkpoints are not made again, new ones go on counting."""
    replay = Replay("e", recorded((0, "a", 0), (1, "b", 0), checkpoints=1))
    assert replay.next("step", "a", b"d")[1] is not None
    assert (1, True) == replay.pass_checkpoint()
    assert replay.next("step", "b", b"d")[1] is not None
    assert (2, False) == replay.pass_checkpoint()
    assert replay.next("step", "b", b"d")[1] is None


def test_one_that_looks_first_goes_on_behind_the_last_checkpoint() -> None:
    """The steps before it are another segment's."""
    replay = Replay("e", recorded((0, "a", 0), (2, "a", 0), checkpoints=2))
    replay.look()
    key, step = replay.next("step", "a", b"d")
    assert (StepKey(2, "step", "a", 0), True) == (key, step is not None)
    assert (3, False) == replay.pass_checkpoint()


def test_a_look_after_the_first_step_changes_nothing() -> None:
    """It has begun at the beginning."""
    replay = Replay("e", recorded((0, "a", 0), checkpoints=2))
    replay.next("step", "a", b"d")
    replay.look()
    assert 0 == replay.next("step", "b", b"")[0].segment


def test_other_arguments_are_a_mismatch_but_not_for_what_was_inherited() -> None:
    """A run that was branched off with another input makes such a step anew."""
    with pytest.raises(ReplayMismatch, match="'a'"):
        Replay("e", recorded((0, "a", 0))).next("step", "a", b"other")
    assert Replay("e", recorded((0, "a", 0), inherited=True)).next("step", "a", b"other")[1] is None


@given(st.lists(st.sampled_from(["a", "b", "|"]), max_size=30), st.integers(0, 30))
def test_a_blind_re_run_finds_just_what_was_recorded_before(program: list[str], stop: int) -> None:
    """Whatever the program, and wherever it was stopped: no key is drawn twice, and none is missed."""

    def run(history: RunHistory | None, upto: int) -> tuple[list[StepKey], list[bool], int]:
        replay, keys, found, made = Replay("e", history), [], [], 0
        for word in program[:upto]:
            if word == "|":
                made += not replay.pass_checkpoint().replayed
            else:
                key, step = replay.next("step", word, b"")
                keys.append(key)
                found.append(step is not None)
        return keys, found, made

    first, none, made = run(None, stop)
    assert not any(none)
    history = RunHistory(
        steps=tuple(RecordedStep(segment=key.segment, name=key.name, call=key.call) for key in first), segment=made
    )
    again, found, more = run(history, len(program))
    assert len(set(again)) == len(again)
    assert first == again[: len(first)]
    assert [True] * len(first) + [False] * (len(again) - len(first)) == found
    assert program.count("|") == made + more


def test_arguments_that_cannot_be_encoded_count_by_their_type() -> None:
    """A client or a lock may be passed; another kind of it is another argument."""
    assert digest_of((object(), 1)) == digest_of((object(), 1))
    assert digest_of((object(), 1)) != digest_of((object(), 2))
    assert digest_of(("a", "b")) != digest_of(("ab",))
    assert digest_of(({"x", "y"},)) == digest_of(({"y", "x"},))


def read_back(error: Exception) -> BaseException:
    """What a re-run gets for an exception."""
    step = RecordedStep(name="s", status="failed", failure=failure_of(error))
    with pytest.raises(Exception) as caught:  # noqa: PT011 - any
        outcome_of("e", step)
    return caught.value


class _Declined(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code


@pytest.mark.parametrize(
    "error", [KeyError("k"), ValueError("v", 2), TimeoutError("late"), FileNotFoundError(2, "gone"), _Declined(7, "no")]
)
def test_a_recorded_exception_is_of_its_class_with_its_words(error: Exception) -> None:
    """So that the same `except` catches it in a re-run."""
    again = read_back(error)
    assert (type(error), str(error), error.args) == (type(again), str(again), again.args)


def test_an_error_of_ours_comes_back_with_its_fields() -> None:
    """As it does elsewhere."""
    again = read_back(SessionNotFound(session_id="s1"))
    assert isinstance(again, SessionNotFound)
    assert "s1" == again.session_id


def test_an_exception_whose_class_is_gone_is_a_step_failed() -> None:
    """Nothing is imported for it."""
    step = RecordedStep(
        name="s", status="failed", failure=failure_of(ValueError("v")).model_copy(update={"kind": "X9"})
    )
    with pytest.raises(StepFailed, match="X9: v"):
        outcome_of("e", step)


def test_causes_are_followed_through_chains_and_groups() -> None:
    """Each once, also in a circle."""
    one, two, three = ValueError(1), KeyError(2), OSError(3)
    one.__cause__, two.__context__, three.__context__ = two, three, one
    assert {one, two, three} == set(causes(one))
    group = ExceptionGroup("g", [one])
    assert {group, one, two, three} == set(causes(group))


def test_a_value_is_read_back_fresh() -> None:
    """Of the reader's own."""
    step = RecordedStep(name="s", value=Payload.of({"a": [1]}))
    assert outcome_of("e", step) == outcome_of("e", step)
    assert outcome_of("e", step) is not outcome_of("e", step)
