"""Propolis in a pykka program: an actor of the host asks a stream by its reference, and gets events as messages."""

from __future__ import annotations

import threading
from typing import Any

import pykka

from propolis import Context, EntryPoint, Runtime
from propolis.messages import Event, Payload, StartExecution, WaitForCompletion


async def bake(ctx: Context, loaf: str) -> str:
    """The executor. One kind of loaf fails, also when it is tried again, which is no concern of the others."""
    if loaf == "brioche":
        raise ValueError("the oven is too hot")
    return f"baked {loaf}"


class Clerk(pykka.ThreadingActor):
    """An actor of the host program: it knows a reference, and nothing of the runtime behind it."""

    def __init__(self, bakery: pykka.ActorRef[Any], expected: int) -> None:
        super().__init__()
        self.bakery = bakery
        self.orders: dict[str, str] = {}
        self.expected = expected
        self.all_done = threading.Event()

    def on_receive(self, message: Any) -> Any:
        """Orders come from the host program, events from Propolis."""
        if not isinstance(message, Event):
            # Blocks this actor's own thread until the order is committed, as any ask of pykka does.
            accepted = self.bakery.ask(StartExecution(input_data=Payload.of(message)), block=True, timeout=5)
            self.orders[accepted.execution_id] = message
            return accepted.execution_id
        assert message.execution_id is not None
        question = WaitForCompletion(execution_id=message.execution_id, timeout=5)
        result = self.bakery.ask(question, block=True)
        print(f"{self.orders[message.execution_id]}: {result.output or result.error}")
        self.expected -= 1
        if self.expected == 0:
            self.all_done.set()
        return None


def main() -> None:
    """Start a runtime next to the host's own actors; each side stops what it started."""
    loaves = ("rye", "brioche", "spelt")
    with Runtime() as runtime:
        stream = runtime.open_stream(EntryPoint(id="bakery", max_concurrent=1), bake).get()
        clerk = Clerk.start(stream.ref, expected=len(loaves))
        all_done = clerk.proxy().all_done.get()
        runtime.subscribe(["execution_completed", "execution_failed"], clerk, stream="bakery").get()

        futures = [clerk.ask(loaf, block=False) for loaf in loaves]
        pykka.get_all(futures, timeout=5)
        if not all_done.wait(timeout=5):
            raise TimeoutError("not everything was baked")
        print(f"the clerk is alive: {clerk.is_alive()}, and so is the stream: {stream.ref.is_alive()}")
        clerk.stop()


if __name__ == "__main__":
    main()
