"""Proxies and `start()`: what pykka's users are used to."""

from __future__ import annotations

import asyncio
from typing import Any

import pykka
import pytest

from propolis.actors import ActorLoop, AsyncioActor, ask

from .actors import Do, Scripted


class Shop(AsyncioActor):
    """An actor with methods, fields and a traversable part."""

    def __init__(self, till: int = 0) -> None:
        super().__init__()
        self.till = till
        self.shelf = pykka.traversable(Shelf())

    def earn(self, amount: int, *, tip: int = 0) -> int:
        """Call me."""
        self.till += amount + tip
        return self.till

    async def earn_slowly(self, amount: int) -> int:
        """Await me."""
        await asyncio.sleep(0)
        return self.earn(amount)

    def fail(self) -> None:
        """A bug."""
        raise ZeroDivisionError


class Shelf:
    """What a proxy may reach into."""

    pykka_traversable = True

    def __init__(self) -> None:
        self.books = 3

    def take(self) -> int:
        """Call me."""
        self.books -= 1
        return self.books


def test_a_proxy_calls_gets_and_sets(loop: ActorLoop) -> None:
    """With live objects as arguments, and the answers as replies."""
    shop = loop.spawn(Shop, till=1).proxy()
    assert 6 == shop.earn(3, tip=2).get(timeout=5)
    assert 6 == shop.till.get(timeout=5)
    shop.till = 10
    assert 12 == shop.earn_slowly(2).get(timeout=5)


def test_a_proxy_reaches_into_what_is_traversable(loop: ActorLoop) -> None:
    """Calls and sets, too."""
    shop = loop.spawn(Shop).proxy()
    assert 2 == shop.shelf.take().get(timeout=5)
    shop.shelf.books = 8
    assert 8 == shop.shelf.books.get(timeout=5)


def test_a_proxied_call_can_be_awaited_and_deferred(loop: ActorLoop) -> None:
    """From any loop; `defer` tells."""
    shop = loop.spawn(Shop).proxy()

    async def main() -> int:
        shop.earn.defer(1)
        return int(await shop.earn(1))

    assert 2 == asyncio.run(main())


def test_a_proxied_call_that_fails_is_raised_and_is_a_crash(loop: ActorLoop) -> None:
    """Without a supervisor the actor ends."""
    ref = loop.spawn(Shop)
    with pytest.raises(ZeroDivisionError):
        ref.proxy().fail().get(timeout=5)
    assert ref.actor_stopped.wait(5)
    with pytest.raises(pykka.ActorDeadError):
        ref.proxy()


def test_start_registers_an_actor_on_the_processs_own_loop() -> None:
    """As pykka's start(); lookups and stop_all() see it."""
    ref = Shop.start(till=5)
    assert [ref] == pykka.ActorRegistry.get_by_class(Shop)
    assert ref is not pykka.ActorRegistry.get_by_urn("urn:none")
    assert ref == pykka.ActorRegistry.get_by_urn(ref.actor_urn)
    assert 5 == ref.proxy().till.get(timeout=5)
    assert [True] == pykka.ActorRegistry.stop_all()
    assert not ref.is_alive()


def test_an_init_that_raises_is_the_callers_and_leaves_nothing_behind(loop: ActorLoop) -> None:
    """Neither a child nor an entry in the registry."""

    class Broken(Shop):
        def __init__(self) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Broken.start()

    def spawn_broken(actor: Any, message: Do) -> int:
        with pytest.raises(ZeroDivisionError):
            actor.spawn(Broken, name="broken")
        return len(actor.children())

    assert 0 == ask(loop.spawn(Scripted, do=spawn_broken), Do()).get(timeout=5)
    assert [] == pykka.ActorRegistry.get_all()


def test_calling_the_class_says_how_to_start_an_actor() -> None:
    """An instance without a mailbox would be good for nothing."""
    with pytest.raises(TypeError, match="start"):
        Shop()
