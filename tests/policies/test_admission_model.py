"""The admission of a stream against a model that is a few lists, searched and sorted at every call."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from propolis.actors.specs import OnFull
from propolis.actors.streams.admission import Admission, Admit, Block, Drop, Freed, Offered, Reject

PRIORITIES = st.integers(-2, 2)


class Waiting:
    """An execution in the model's queue."""

    def __init__(self, execution: str, priority: int, returning: bool) -> None:
        self.id, self.priority, self.returning = execution, priority, returning


class AdmissionMachine(RuleBasedStateMachine):
    """Every call goes to both, and both must answer alike."""

    @initialize(
        slots=st.integers(1, 3),
        room=st.none() | st.integers(0, 3),
        on_full=st.sampled_from(["reject", "block", "drop_oldest"]),
    )
    def open(self, slots: int, room: int | None, on_full: OnFull) -> None:
        self.real = Admission(max_concurrent=slots, max_pending=room, on_full=on_full)
        self.slots, self.room, self.on_full = slots, room, on_full
        self.running: list[str] = []
        self.queue: list[Waiting] = []  # in the order of coming
        self.blocked: list[str] = []
        self.aside: list[str] = []
        self.dropping: set[str] = set()
        self.priority: dict[str, int] = {}
        self.made = 0

    def new(self, priority: int) -> str:
        self.made += 1
        self.priority[f"e{self.made}"] = priority
        return f"e{self.made}"

    # The model

    def has_slot(self) -> bool:
        return len(self.running) < self.slots

    def has_room(self) -> bool:
        return self.room is None or len(self.queue) < self.room

    def enter(self, execution: str, returning: bool = False) -> Admit:
        if self.has_slot():
            self.running.append(execution)
            return Admit(start_now=True)
        self.queue.append(Waiting(execution, self.priority[execution], returning))
        return Admit(start_now=False)

    def expected_offer(self, execution: str) -> Offered:
        if self.has_slot() or self.has_room():
            return self.enter(execution)
        if self.on_full == "block":
            self.blocked.append(execution)
            return Block()
        fresh = [waiting for waiting in self.queue if not waiting.returning]
        lowest = min((waiting.priority for waiting in fresh), default=None)
        if self.on_full == "drop_oldest" and lowest is not None and lowest <= self.priority[execution]:
            self.enter(execution)
            self.dropping.add(execution)
            return Drop()
        return Reject(self.room or 0)

    def expected_victims(self, execution: str) -> tuple[str, ...]:
        self.dropping.remove(execution)
        victims: list[str] = []
        too_many = self.room is not None and len(self.queue) - len(self.dropping) > self.room
        while too_many and (fresh := [waiting for waiting in self.queue if not waiting.returning]):
            victim = min(fresh, key=lambda waiting: waiting.priority).id  # of several the first
            too_many = victim in self.dropping  # it had no room to give
            self.forget(victim)
            victims.append(victim)
        return tuple(victims)

    def forget(self, execution: str) -> None:
        self.dropping.discard(execution)
        self.queue = [waiting for waiting in self.queue if waiting.id != execution]
        for place in (self.running, self.blocked, self.aside):
            if execution in place:
                place.remove(execution)

    def expected_freed(self) -> Freed:
        start: list[str] = []
        admitted: list[str] = []
        while self.queue and self.has_slot():
            highest = max(waiting.priority for waiting in self.queue)
            candidates = [waiting for waiting in self.queue if waiting.priority == highest]
            chosen = next((waiting for waiting in candidates if waiting.returning), candidates[0])
            self.queue.remove(chosen)
            self.dropping.discard(chosen.id)
            self.running.append(chosen.id)
            start.append(chosen.id)
        while self.blocked and (self.has_slot() or self.has_room()):
            execution = self.blocked.pop(0)
            admitted.append(execution)
            if self.enter(execution).start_now:
                start.append(execution)
        return Freed(tuple(start), tuple(admitted))

    def anybody(self, data: Any) -> str:
        """Any execution there has ever been, and one that never was."""
        return str(data.draw(st.sampled_from(["nobody", *self.priority])))

    # What can happen

    @rule(priority=PRIORITIES)
    def offer(self, priority: int) -> None:
        execution, depth = self.new(priority), self.real.queue_depth
        assert self.expected_offer(execution) == self.real.offer(execution, priority)
        if self.room is not None:
            bound = max(depth, self.room) + (execution in self.dropping)
            assert self.real.queue_depth <= bound, "new work went past the bound"

    @precondition(lambda self: self.dropping)
    @rule(data=st.data())
    def settle(self, data: Any) -> None:
        execution = data.draw(st.sampled_from(sorted(self.dropping)))
        assert self.expected_victims(execution) == self.real.settle(execution)
        assert () == self.real.settle(execution)

    @rule(priority=PRIORITIES)
    def recover(self, priority: int) -> None:
        execution = self.new(priority)
        assert self.enter(execution) == self.real.recover(execution, priority)

    @rule(priority=PRIORITIES)
    def adopt(self, priority: int) -> None:
        execution = self.new(priority)
        self.running.append(execution)
        self.real.adopt(execution, priority)

    @rule(priority=PRIORITIES)
    def set_a_new_one_aside(self, priority: int) -> None:
        execution = self.new(priority)
        self.aside.append(execution)
        assert self.expected_freed() == self.real.set_aside(execution, priority)

    @precondition(lambda self: self.running or self.queue or self.aside)
    @rule(data=st.data())
    def set_aside(self, data: Any) -> None:
        execution = data.draw(st.sampled_from([*self.running, *(waiting.id for waiting in self.queue), *self.aside]))
        self.forget(execution)
        self.aside.append(execution)
        assert self.expected_freed() == self.real.set_aside(execution)

    @precondition(lambda self: self.aside)
    @rule(data=st.data())
    def readmit(self, data: Any) -> None:
        execution = data.draw(st.sampled_from(self.aside))
        self.aside.remove(execution)
        assert self.enter(execution, returning=True) == self.real.readmit(execution)

    @rule(data=st.data())
    def release(self, data: Any) -> None:
        execution = self.anybody(data)
        if execution in self.running:
            self.running.remove(execution)
        assert self.expected_freed() == self.real.release(execution)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def release_one_that_runs(self, data: Any) -> None:
        execution = data.draw(st.sampled_from(self.running))
        self.running.remove(execution)
        assert self.expected_freed() == self.real.release(execution)

    @rule(data=st.data())
    def withdraw(self, data: Any) -> None:
        execution = self.anybody(data)
        self.forget(execution)
        assert self.expected_freed() == self.real.withdraw(execution)

    # What holds always

    @invariant()
    def counts_agree(self) -> None:
        counts = (self.real.running, self.real.queue_depth, self.real.blocked, self.real.aside)
        assert (len(self.running), len(self.queue), len(self.blocked), len(self.aside)) == counts
        assert max(0, self.slots - len(self.running)) == self.real.available_slots

    @invariant()
    def everybody_is_in_the_same_place(self) -> None:
        places = dict.fromkeys(self.running, "running") | dict.fromkeys(self.blocked, "blocked")
        places |= dict.fromkeys(self.aside, "aside") | {waiting.id: "queued" for waiting in self.queue}
        assert all(places.get(one) == self.real.where(one) for one in self.priority)

    @invariant()
    def nobody_waits_for_what_is_there(self) -> None:
        if self.real.available_slots:
            assert (0, 0) == (self.real.queue_depth, self.real.blocked)
        if self.real.blocked:
            assert self.room is not None
            assert self.real.queue_depth >= self.room


AdmissionMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=50)
test_admission_answers_as_its_model_does = AdmissionMachine.TestCase
