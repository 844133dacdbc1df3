"""Language models and other libraries' agents: `pip install 'propolis[ai]'`, `'propolis[langgraph]'`."""

from propolis.actors import AgentExecutor, LangGraphExecutor, ModelNodes, openai_compatible

__all__ = ["AgentExecutor", "LangGraphExecutor", "ModelNodes", "openai_compatible"]
