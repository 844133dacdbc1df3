"""An agent of pydantic-ai's as an executor: what it asks and calls is recorded, its conversation the session's."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, cast

from propolis.messages import ExecutionReport, InvalidInput

from ..context import Context
from ..protocol import Preparing
from .libraries import need_models
from .providers import Models

if TYPE_CHECKING:
    from pydantic_ai import Agent

__all__ = ["AgentExecutor"]

CONVERSATION = "__conversation__"
"""Where in the memory of the session it is kept."""


class AgentExecutor(Preparing):
    """Runs an agent: `open_stream(entry_point, AgentExecutor(Agent("openai:gpt-5", tools=[…])))`.

    For worker processes, which import their executor by name, it is a class at the top level of a module:

        class Helper(AgentExecutor):
            agent = Agent(…)

    The input is the prompt, or a dict with one under `prompt`; any other is given as JSON. The output is the agent's.
    `execute(session_id=…)` goes on with the conversation of that session, unless `conversation` is False. Its tools get
    the `Context` as `RunContext.deps`, unless `deps` makes something else of it. `token_budget`: as in `GraphSpec`.

    Raises:
        ExtraMissing: pydantic-ai is not installed.
        InvalidInput: it is no agent.
    """

    agent: ClassVar[Agent[Any, Any] | None] = None

    def __init__(
        self,
        agent: Agent[Any, Any] | None = None,
        *,
        model: Any = None,
        deps: Callable[[Context], Any] | None = None,
        token_budget: int | None = None,
        stream: bool = True,
        conversation: bool = True,
    ) -> None:
        need_models("an AgentExecutor")
        self._agent: Any = agent if agent is not None else cast("Any", self.agent)
        if not callable(getattr(self._agent, "run", None)):
            reason = "there is none" if self._agent is None else f"{self._agent!r:.100} is no agent of pydantic-ai's"
            remedy = "Pass AgentExecutor(Agent(…)), or make a subclass with `agent = Agent(…)`."
            raise InvalidInput(what="AgentExecutor.agent", reason=reason, remedy=remedy)
        self._model = model if model is not None else self._agent.model
        if self._model is None:
            raise InvalidInput(
                what="AgentExecutor.model", reason="neither it nor the agent names one", remedy="Pass one."
            )
        self._models = Models()
        self._deps = deps
        self._budget = token_budget
        self._stream = stream
        self._conversation = conversation

    async def execute(self, ctx: Context, input: Any) -> Any:
        """Run the agent to its end. Raises what `Asking.run` does."""
        recording = need_models("an AgentExecutor")
        spent: list[int] = []
        name = self._agent.name or "agent"
        history = await ctx.memory.read(CONVERSATION, scope="execution") if self._conversation else None
        asking = recording.Asking(ctx, name, self._models, budget=self._budget, stream=self._stream, spend=spent.append)
        try:
            deps = ctx if self._deps is None else self._deps(ctx)
            result = await asking.run(
                self._agent, self._model, _prompt_of(input), deps=deps, message_history=recording.history_of(history)
            )
        finally:
            ctx._attempt.figures = ExecutionReport(path=(name,), steps_executed=1, total_tokens=sum(spent))
        if self._conversation:
            await ctx.memory.write(CONVERSATION, recording.messages_of(result))
        return result.output


def _prompt_of(input: Any) -> str:
    if isinstance(input, dict) and isinstance(input.get("prompt"), str):
        prompt: str = input["prompt"]
        return prompt
    return input if isinstance(input, str) else json.dumps(input, ensure_ascii=False, default=str)
