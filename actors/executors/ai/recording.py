"""pydantic-ai's agents over recorded steps: every request to a model is one, and every call of a tool.

The loop of an agent is deterministic but for these two, so an agent that is run again gets to where it was without
asking anybody. Imported only where pydantic-ai is installed (`libraries.need_models`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final

from pydantic_ai import Agent, ModelRetry, UsageLimits
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
)
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings

from propolis.messages import InvalidInput, ModelAnswerInvalid, Payload, PropolisError, clean, line_of

from ..calling import AsyncCalling
from ..context import Context
from ..protocol import is_coroutine_function
from ..signals import Parked
from .budget import Budget
from .faults import translated
from .providers import Models

__all__ = ["Asking", "agent_of", "history_of", "limits_of", "messages_of"]

REQUEST: Final = "model"
"""The name of the steps that are requests. Those of tools are `tool:NAME:ID`, with the id of the model's call."""

ModelMessagesTypeAdapter.validate_python([])  # made at its first use, which takes a while: not on an event loop


class Asking:
    """One run of an agent, for one try of a node. `spend`: count tokens, for the result."""

    def __init__(
        self,
        ctx: Context,
        node_id: str,
        models: Models,
        *,
        budget: int | None = None,
        stream: bool = True,
        spend: Callable[[int], None],
    ) -> None:
        self.ctx = ctx
        self.node_id = node_id
        self._models = models
        self.budget = Budget(ctx, node_id, budget)
        self.stream = stream
        self.spend = spend

    async def run(self, agent: Agent[Any, Any], named: Any, prompt: Any, **options: Any) -> Any:
        """Run the agent with a model, by its name or otherwise: its result, as pydantic-ai gives it.

        Raises:
            ModelRateLimited, ModelUnavailable, ModelAnswerInvalid, ModelRefused: the provider, or what it answered.
            TokensExhausted: the budget is spent, and nobody gave more.
            Exception: whatever a tool raises.
        """
        attempt, name = self.ctx._attempt, named if isinstance(named, str) else ""
        try:
            model = await self._models.get(attempt.host, named)
            name, recorded = model.model_name, _RecordedModel(model, self)
            options = {"deps": self.ctx, "capabilities": [_RecordedTools(asking=self)], **options}
            result = await agent.run(prompt, model=recorded, **options)
        except BaseException as error:
            if attempt.waits:  # whatever the library makes of what unwinds it
                raise Parked from None
            if not isinstance(error, Exception):
                raise
            ours = translated(error, self.node_id, name)
            if ours is None:
                raise
            if isinstance(ours, ModelAnswerInvalid):  # else another try would be given the same answers again
                for key in attempt.replay.drawn("step", REQUEST):
                    unusable = ModelAnswerInvalid(node_id=self.node_id, model=name, reason=ours.reason)
                    attempt.raised[id(unusable)] = (unusable, key)
                    unusable.__cause__ = ours.__cause__
                    ours.__cause__ = unusable
                raise ours from ours.__cause__
            raise ours from error
        await self.budget.close()
        return result

    def unusable(self, model: str, reason: str) -> ModelAnswerInvalid:
        """What was answered is none of use."""
        return ModelAnswerInvalid(node_id=self.node_id, model=model, reason=reason)

    async def told(self, event: Any) -> None:
        """Publish what has come of an answer so far, live."""
        part = event.part if isinstance(event, PartStartEvent) else None
        delta = event.delta if isinstance(event, PartDeltaEvent) else None
        if isinstance(part, TextPart):
            await self._tell("llm_text_delta", part.content)
        elif isinstance(delta, TextPartDelta):
            await self._tell("llm_text_delta", delta.content_delta)
        elif isinstance(part, ThinkingPart):
            await self._tell("llm_reasoning_delta", part.content)
        elif isinstance(delta, ThinkingPartDelta):
            await self._tell("llm_reasoning_delta", delta.content_delta)

    async def _tell(self, type: str, text: str | None) -> None:
        if text:
            await self.ctx.emit(type, {"text": clean(text)}, node_id=self.node_id)


class _RecordedModel(WrapperModel):
    """Every request is a step, and within the budget. Streams, where the model can, and gives the whole answer."""

    def __init__(self, wrapped: Model, asking: Asking) -> None:
        super().__init__(wrapped)
        self._asking = asking

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        asking = self._asking

        async def ask(name: str) -> Any:
            try:
                response = await self._answer(messages, model_settings, model_request_parameters)
            except Exception as error:
                ours = error if isinstance(error, PropolisError) else translated(error, asking.node_id, name)
                if ours is None and isinstance(error, (ValueError, LookupError)):  # not what should be there
                    ours = asking.unusable(name, line_of(error))
                raise error if ours is None or ours is error else ours from error
            plain = ModelMessagesTypeAdapter.dump_python([response], mode="json")
            try:
                Payload.of(plain, "answer")
            except InvalidInput as error:  # it holds half of a character, say
                raise asking.unusable(name, error.reason) from error
            return plain

        await asking.budget.admit()
        recorded = await asking.ctx.step(REQUEST, ask, self.model_name)
        (response,) = ModelMessagesTypeAdapter.validate_python(recorded)
        assert isinstance(response, ModelResponse)
        asking.spend(response.usage.total_tokens)
        await asking.budget.spend(response.usage.total_tokens)
        return response

    async def _answer(
        self, messages: list[ModelMessage], settings: ModelSettings | None, parameters: ModelRequestParameters
    ) -> ModelResponse:
        if not self._asking.stream or not _streams(self.wrapped):
            return await self.wrapped.request(messages, settings, parameters)
        async with self.wrapped.request_stream(messages, settings, parameters) as stream:
            async for event in stream:
                await self._asking.told(event)
        return stream.get()


def _streams(model: Model) -> bool:
    while isinstance(model, WrapperModel):
        model = model.wrapped
    return not isinstance(model, FunctionModel) or model.stream_function is not None


@dataclass
class _RecordedTools(AbstractCapability[Any]):
    """Every call of a tool is a step, and told before and after."""

    asking: Asking

    async def wrap_tool_execute(self, ctx: Any, *, call: Any, tool_def: Any, args: Any, handler: Any) -> Any:
        asking = self.asking
        about = {"tool": call.tool_name, "call_id": call.tool_call_id}

        async def execute(*_: Any) -> Any:
            try:
                return {"value": await handler(args)}
            except ModelRetry as retry:
                return {"retry": retry.message}

        told = call.args_as_dict()
        try:
            Payload.of(told, "args")
        except InvalidInput as error:  # the model may say it in another way
            raise ModelRetry(f"{error.what}: {error.reason}") from None
        await asking.ctx.emit("tool_call_started", {**about, "args": told}, node_id=asking.node_id)
        try:
            found = await asking.ctx.step(f"tool:{call.tool_name}:{call.tool_call_id}", execute, call.tool_name, args)
        except Exception as error:
            said = line_of(error)
            data = {**about, "success": False, "error": said}
            await asking.ctx.emit("tool_call_completed", data, node_id=asking.node_id)
            raise
        data = {**about, "success": "value" in found}
        await asking.ctx.emit("tool_call_completed", data, node_id=asking.node_id)
        if "retry" in found:
            raise ModelRetry(found["retry"])
        return found["value"]


def agent_of(
    output_type: Any, instructions: str, tools: tuple[Callable[..., Any], ...], *, ctx: Context, retries: int
) -> Agent[Any, Any]:
    """An agent for one try of a node."""
    return Agent(
        output_type=output_type,
        instructions=instructions or None,
        tools=[_on_a_thread(ctx, tool) for tool in tools],
        deps_type=Context,
        retries=retries,
    )


def _on_a_thread(ctx: Context, tool: Callable[..., Any]) -> Callable[..., Any]:
    """A `def` as an `async def` that runs it on a thread of the host's."""
    if is_coroutine_function(tool) or not inspect.isfunction(tool):
        return tool

    @wraps(tool)
    async def call(*args: Any, **kwargs: Any) -> Any:
        calling = AsyncCalling(ctx._attempt.host)
        value = await calling.call(lambda: tool(*args, **kwargs), (), None)
        await calling.settle()
        return value

    return call


def limits_of(requests: int) -> UsageLimits:
    """So many requests, at most, in one run of an agent."""
    return UsageLimits(request_limit=requests)


def messages_of(result: Any) -> list[Any]:
    """The whole conversation as plain data."""
    plain: list[Any] = ModelMessagesTypeAdapter.dump_python(result.all_messages(), mode="json")
    return plain


def history_of(plain: Any) -> list[ModelMessage] | None:
    """What `messages_of` gave."""
    return ModelMessagesTypeAdapter.validate_python(plain) if plain else None
