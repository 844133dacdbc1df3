"""What a provider, or its library, raises: which error of ours it is. Pure. Imported where pydantic-ai is."""

from __future__ import annotations

from typing import Any, Final

from pydantic_ai import exceptions

from propolis.messages import (
    ModelAnswerInvalid,
    ModelRateLimited,
    ModelRefused,
    ModelUnavailable,
    PropolisError,
    line_of,
)

__all__ = ["translated"]

PASSING: Final = frozenset({408, 409, 425, 429})
"""Client errors that may pass by themselves."""


def translated(error: Exception, node_id: str, model: str) -> PropolisError | None:
    """The error to raise in its place; None for one that is no provider's nor the library's, such as a tool's."""
    reason = line_of(error).rstrip(".")
    about: dict[str, Any] = {"node_id": node_id, "model": model, "reason": reason}
    status = getattr(error, "status_code", None)
    after = getattr(error, "retry_after", None) or 0.0
    match error:
        case exceptions.ModelRateLimitError():
            return ModelRateLimited(**about, retry_after=after)
        case exceptions.ModelQuotaExceededError() | exceptions.ModelRequestRejectedError():
            return ModelRefused(**about, status=status)
        case exceptions.ModelHTTPError() if status is not None and status < 500 and status not in PASSING:
            return ModelRefused(**about, status=status)
        case exceptions.ModelAPIError() if isinstance(error.__cause__, ValueError):  # what came is no JSON
            return ModelAnswerInvalid(**about)
        case exceptions.ModelAPIError():
            return ModelUnavailable(**about, status=status, retry_after=after)
        case exceptions.ContentFilterError() | exceptions.UsageLimitExceeded() | exceptions.UserError():
            return ModelRefused(**about)
        case exceptions.UnexpectedModelBehavior() | exceptions.AgentRunError():
            return ModelAnswerInvalid(**about)
    return None
