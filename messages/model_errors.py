"""Errors of language models: what came of asking one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .errors import PropolisError

__all__ = [
    "ExtraMissing",
    "ModelAnswerInvalid",
    "ModelRateLimited",
    "ModelRefused",
    "ModelUnavailable",
    "TokensExhausted",
]


@dataclass(eq=False, kw_only=True)
class ExtraMissing(PropolisError, ImportError):
    """A library that Propolis does not bring along is wanted, and not installed."""

    sentence = "{what} needs {library}, which is not installed: pip install 'propolis[{extra}]'."
    what: str
    library: str
    extra: str

    def __post_init__(self) -> None:
        self.name = self.library


@dataclass(eq=False, kw_only=True)
class ModelRateLimited(PropolisError):
    """The provider wants fewer requests. A node that is tried again waits for `retry_after` seconds at least."""

    retryable: ClassVar[bool] = True
    sentence = "Node {node_id!r} asked {model!r} too often: {reason}. Ask less at once, or raise the limit there."
    node_id: str
    model: str
    reason: str
    retry_after: float = 0.0


@dataclass(eq=False, kw_only=True)
class ModelUnavailable(PropolisError):
    """The provider could not be reached, failed, or broke off in its answer."""

    retryable: ClassVar[bool] = True
    sentence = "Node {node_id!r} got no answer of {model!r}: {reason}. It may pass: give the node retries."
    node_id: str
    model: str
    reason: str
    status: int | None = None
    retry_after: float = 0.0


@dataclass(eq=False, kw_only=True)
class ModelAnswerInvalid(PropolisError):
    """What the model answered is no answer, or none that the node can use. Another try asks it anew."""

    retryable: ClassVar[bool] = True
    sentence = "Node {node_id!r} cannot use the answer of {model!r}: {reason}."
    node_id: str
    model: str
    reason: str


@dataclass(eq=False, kw_only=True)
class ModelRefused(PropolisError):
    """The provider will not answer this request, however often it is asked: no key, no such model, no money left."""

    sentence = "Node {node_id!r} was refused by {model!r}: {reason}. Look at the model's name, the key, the request."
    node_id: str
    model: str
    reason: str
    status: int | None = None


@dataclass(eq=False, kw_only=True)
class TokensExhausted(PropolisError):
    """The token budget of a session is spent, and whoever was asked gave no more."""

    sentence = (
        "Node {node_id!r} may ask no model: its session has used {spent} tokens of {budget}, and was given no more. "
        "Raise GraphSpec.token_budget, or answer its question with a number."
    )
    node_id: str
    spent: int
    budget: int
