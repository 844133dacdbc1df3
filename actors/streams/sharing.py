"""The part of an ExecutionActor that passes on what its executor wants of memory that executions share."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from propolis.messages import (
    Advanced,
    ChangeState,
    DropStateTurns,
    GetState,
    LeaveStateTurn,
    ReadState,
    Request,
    StateWritten,
    TakeStateTurn,
    WriteState,
    encoder,
)

from ..core import LATER, Handlers, Reply
from .endings import given
from .recording import Recording

__all__ = ["Sharing"]

_encode_change: Final = encoder(ChangeState)


class Sharing(Recording):
    """Says whose they are: an executor speaks of its stream's memory and everybody's, under its epoch."""

    _took_turns = False
    """This attempt has asked for turns, which end with it."""

    def read_state(self, message: ReadState) -> object:
        """Ask the StateActor."""
        self.check_epoch(message.epoch)
        question = GetState(scopes=message.scopes, stream_id=self._spec.stream_id, key=message.key)
        return self._ask_state(question, self.keep_asked())

    def take_state_turn(self, message: TakeStateTurn) -> object:
        """Ask the StateActor for a turn."""
        self.check_epoch(message.epoch)
        self._took_turns = True
        mine = {"stream_id": self._spec.stream_id, "execution_id": self._spec.execution_id}
        return self._ask_state(message.model_copy(update=mine), self.keep_asked())

    def leave_state_turn(self, message: LeaveStateTurn) -> None:
        """Nothing came of it."""
        if self._took_turns:
            self._plan.state.deliver(message.model_copy(update={"execution_id": self._spec.execution_id}))

    def _ask_state(self, question: Request[Any], reply: Reply[Any] | None) -> object:
        if reply is not None:
            self.request(self._plan.state, question, reply.set, reply.offer_error)
        return LATER

    def write_state(self, message: WriteState) -> object:
        """Have it committed together with its step, then answer (D3)."""
        self.check_epoch(message.epoch)
        spec, reply = self._spec, self.keep_asked()
        change = _encode_change(
            scope=message.scope,
            changes=message.changes,
            strict=message.strict,
            at=self.host.now(),
            stream_id=spec.stream_id,
            execution_id=spec.execution_id,
            expected_epoch=message.epoch,
            session_id=spec.session_id,
            correlation_id=spec.correlation_id,
            run=spec.run_id,
            step=message.step,
            keep=self._plan.config.state_history_max,
            **given(graph_id=self._plan.entry_point.graph_id, node_id=message.node_id, turn=message.turn),
        )

        def done(written: StateWritten) -> None:
            self.host.reach("state.committed")
            if reply is not None:
                reply.set(written.model_copy(update={"events": ()}))

        def failed(error: BaseException) -> None:
            self.refused(error, reply)

        def send(_: Advanced | None = None) -> None:
            self.request(self._plan.state, change, done, failed)

        if self._life.state.lost_attempts:
            self.gets_on()
            self.advance(message.epoch, self.host.now(), (), send, failed)
        else:
            send()
        return LATER

    def drop_turns(self, *, surely: bool = False) -> None:
        """The attempt is over. `surely`: an instance before this one may have asked for some."""
        if self._took_turns or surely:
            self._took_turns = False
            self._plan.state.deliver(DropStateTurns(execution_id=self._spec.execution_id))

    handlers: ClassVar[Handlers] = {
        **Recording.handlers,
        ReadState: read_state,
        TakeStateTurn: take_state_turn,
        LeaveStateTurn: leave_state_turn,
        WriteState: write_state,
    }
