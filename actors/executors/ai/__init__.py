"""Language models, and agents of others' libraries, as nodes and as executors. Their libraries are extras."""

from .agent import AgentExecutor
from .langgraph import LangGraphExecutor
from .nodes import ModelNodes
from .providers import openai_compatible

__all__ = ["AgentExecutor", "LangGraphExecutor", "ModelNodes", "openai_compatible"]
