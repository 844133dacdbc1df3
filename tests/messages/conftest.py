"""What a test registers is gone after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from propolis.messages import PropolisError, registered, upcaster


@pytest.fixture(autouse=True)
def registries_as_before() -> Iterator[None]:
    """Put the registries of messages, upcasters and errors back to what they held before the test."""
    registries: list[dict[str, Any]] = [
        registered.__globals__["_registry"],
        upcaster.__globals__["_upcasters"],
        PropolisError.by_code,
    ]
    before = [dict(registry) for registry in registries]
    yield
    for registry, held in zip(registries, before, strict=True):
        registry.clear()
        registry.update(held)
