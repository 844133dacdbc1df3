"""Fixtures of the models' tests: a provider over real HTTP, the runtime and placements of the graphs' tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("pydantic_ai", reason="needs the extra [ai]")

from propolis import EntryPoint, GraphExecutor, GraphSpec, Runtime, Stream
from propolis.ai import ModelNodes, openai_compatible

from ..graph.conftest import NEVER, PLACEMENTS, gate, placement, runtime
from ..runtime.support import PATIENCE
from .provider import Provider, serving

__all__ = ["PLACEMENTS", "gate", "opened", "placement", "runtime"]


@pytest.fixture
def provider() -> Iterator[Provider]:
    """A provider of language models on 127.0.0.1."""
    with serving() as provider:
        yield provider


def opened(runtime: Runtime, graph: GraphSpec, provider: Provider, **fields: object) -> Stream:
    """A stream of a graph whose model "stub" is the provider's."""
    models = ModelNodes({"stub": openai_compatible("stub-1", base_url=provider.base_url)})
    point = EntryPoint(**{"id": graph.id, "restart": NEVER, **fields})
    return runtime.open_stream(point, GraphExecutor(graph, runners={"model": models})).get(timeout=PATIENCE)
