"""Who answers: models by their names, made once for each event loop, and closed with it."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any

from ..calling import AsyncCalling
from .libraries import need_models

if TYPE_CHECKING:
    from pydantic_ai.models import Model

    from ...host import Host

__all__ = ["Models", "openai_compatible"]


class Models:
    """Makes models, and keeps them: what a client sets up takes a tenth of a second, and its connections belong to one
    event loop. Each is closed when its loop ends, as the asynchronous generators are that a loop knows of.
    """

    def __init__(self) -> None:
        self._kept: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Any, _Kept]] = weakref.WeakKeyDictionary()

    async def get(self, host: Host, named: Any) -> Model:
        """A model of this name, by this function, or the one that is given. Raises what making it does."""
        kept = self._kept.setdefault(asyncio.get_running_loop(), {})
        key = named if isinstance(named, str) else id(named)
        if key not in kept:
            kept[key] = _Kept(host, named)
        try:
            return await asyncio.shield(kept[key].model)
        except Exception:
            kept.pop(key, None)  # the next one who asks may have better luck: a key that was missing, say
            raise


class _Kept:
    """One model on one loop."""

    def __init__(self, host: Host, named: Any) -> None:
        self._named = named
        self._end: AsyncGenerator[None, None] | None = None
        self.model: asyncio.Future[Model] = asyncio.ensure_future(self._made(host))
        self.model.add_done_callback(lambda made: made.cancelled() or made.exception())  # whoever waits hears of it

    async def _made(self, host: Host) -> Model:
        model: Model = await AsyncCalling(host).call(self._make, (), None)
        self._end = _open(model)
        await anext(self._end)
        return model

    def _make(self) -> Model:
        from pydantic_ai.models import Model, infer_model  # noqa: PLC0415 - of the extra

        named = self._named
        if isinstance(named, Model):
            return named
        made: Model = infer_model(named) if isinstance(named, str) else named()
        return made


async def _open(model: Model) -> AsyncGenerator[None, None]:
    async with model:
        yield


def openai_compatible(model: str, *, base_url: str, api_key: str = "none") -> Callable[[], Any]:
    """What makes a model of a service that speaks OpenAI's protocol, for `ModelNodes({name: …})`. A stream of it that
    ends without a `finish_reason` counts as cut off.

        ModelNodes({"writer": openai_compatible("qwen3", base_url="http://localhost:8000/v1")})

    Raises:
        ExtraMissing: pydantic-ai is not installed.
    """
    need_models("openai_compatible")

    def made() -> Any:
        from pydantic_ai.models.openai import OpenAIChatModel  # noqa: PLC0415 - of the extra
        from pydantic_ai.profiles.openai import OpenAIModelProfile  # noqa: PLC0415
        from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider  # noqa: PLC0415

        ends = OpenAIModelProfile(openai_chat_streaming_requires_finish_reason=True)  # else half an answer would do
        provider = OpenAICompatibleProvider("openai-compatible", base_url=base_url, api_key=api_key, profile=ends)
        return OpenAIChatModel(model, provider=provider)

    return made
