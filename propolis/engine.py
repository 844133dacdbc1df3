"""What a Runtime is made of from one start to the next stop: threads, placements, the root actor; and how it ends."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from propolis.actors import (
    ActorLoop,
    AsyncioPlacement,
    Host,
    ProcessPlacement,
    Reply,
    RuntimeActor,
    RuntimeConfig,
    Services,
    Store,
    StoreThreads,
    ThreadPlacement,
    is_coroutine_function,
    open_store,
)
from propolis.messages import Failure, RuntimeStopped

from .calls import call_method, then

if TYPE_CHECKING:
    from .otel import Tracing

__all__ = ["Engine"]

TRACING_SECONDS = 5.0
"""How long the end waits for the last spans."""

logger = logging.getLogger("propolis")


class Engine:
    """What lives from one start to the next stop.

    It knows nothing of the Runtime, nor of its streams: the thread of the actors holds it, and a Runtime that a program
    has lost would never be found lost. `failed` is to hold none either.
    """

    def __init__(
        self,
        store: str | Callable[[Host], Store],
        config: RuntimeConfig,
        host: Host,
        failed: Callable[[Engine, Failure | None], None],
        tracing: Tracing | None = None,
    ) -> None:
        self.host = host
        self.ready: Reply[Services] = Reply()
        self.tracing = tracing
        self.loop = ActorLoop(host, mailbox_limit=config.mailbox_limit).start()
        self.threads = StoreThreads(
            host, lambda: open_store(store, host=host) if isinstance(store, str) else store(host)
        )
        self.asyncio_placement = AsyncioPlacement(
            host, config.max_payload_bytes, self.loop, config.blocked_loop_seconds
        )
        self.thread_placement = ThreadPlacement(host, config.max_payload_bytes)
        self.process_placement = ProcessPlacement(host, config.max_payload_bytes, config.grace_seconds)
        self.root = self.loop.spawn(
            RuntimeActor,
            config,
            self.threads,
            self.asyncio_placement,
            self.thread_placement,
            self.process_placement,
            self.ready,
            name="runtime",
            register=True,
        )
        # on the loop, where a root that ends at once cannot slip through, and this thread's lock is not taken twice
        self.loop.post(self.root.actor_inbox.watch, lambda failure: failed(self, failure))

        self.usable: Reply[Any] = self.ready
        """Ready, and nothing that happens from now on is missed by who is to see it."""
        if tracing is not None:
            self.usable = then(self.ready, lambda services: self._trace(tracing, services))

    def _trace(self, tracing: Tracing, services: Services) -> Reply[Any]:
        """On the actor loop."""
        tracing.begin(self.threads)
        return call_method(services.events, "subscribe", tracing.queue, what="The runtime")

    @property
    def services(self) -> Services:
        return self.ready.result()

    def runner_for(self, handler: Any) -> Any:
        is_async = is_coroutine_function(handler)
        return self.asyncio_placement.run if is_async else self.thread_placement.run

    def close(self, *, cancel: bool, grace: float) -> tuple[str, ...]:
        """End everything, in order: streams, actors, user code, store, loop. Blocks; on a thread of its own."""
        stragglers: tuple[str, ...] = ()
        released = False
        try:
            stragglers = call_method(self.root, "shutdown", cancel, grace, what="The runtime").get()
            released = True
        except RuntimeStopped:
            pass  # the root is gone already: it failed, or somebody stopped it through pykka
        except Exception:
            logger.exception("The runtime could not stop in an orderly way; what it owned is released all the same")
        self.root.stop()
        if not released and self._is_ready():
            self._release(self.ready.result().owner)
        self.process_placement.close(timeout=1.0)
        self.asyncio_placement.close(timeout=1.0)
        self.thread_placement.close(timeout=0.2)
        if self.tracing is not None and self._is_ready():
            self.tracing.finish(TRACING_SECONDS)
        self.threads.close()
        self.loop.stop()
        return stragglers

    def _is_ready(self) -> bool:
        try:
            self.ready.result()
        except (KeyError, Exception):  # noqa: BLE001
            return False
        return True

    def _release(self, owner: str) -> None:
        """For a root that had no time to: doing it twice changes nothing."""
        try:
            self.threads.write(lambda store: store.release(owner)).get()
        except Exception:  # noqa: BLE001 - the store is away; the next runtime sees that this process has ended
            return
