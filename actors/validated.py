"""The base of what a user configures: frozen, checked when it is made, with an error that names the field."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from propolis.messages import InvalidInput, PropolisError

if TYPE_CHECKING:
    from typing import Self

__all__ = ["NotNegative", "Seconds", "Validated"]

Seconds: TypeAlias = Annotated[float, Field(gt=0)]
"""A length of time in seconds, more than none."""

NotNegative: TypeAlias = Annotated[float, Field(ge=0)]
"""A number of seconds that may be 0."""

_SUBJECT = re.compile(r"^(Input|String) ")
_SHOWN_CHARS = 60


class Validated(BaseModel):
    """Frozen, strict, keyword-only. It may hold classes and callables, so it is no message and never travels.

    Strict means that `"10"`, `True` and `nan` are no numbers.

    Raises:
        InvalidInput: `what` is the class and the field, `reason` and `remedy` say what is wrong with it and, for a
            field that does not exist, which one comes closest.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, /, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise _explain(type(self), error) from None

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with some fields changed, checked as anything else that is made. Raises InvalidInput."""
        return type(self)(**{**dict(self), **(update or {})})


def _explain(cls: type[BaseModel], error: ValidationError) -> PropolisError:
    """The first thing that is wrong, in a sentence; the others by name."""
    first, *others = error.errors(include_url=False)
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, PropolisError):
        return cause  # raised by a validator, which knows best
    name = _name(first["loc"])
    also = sorted({_name(other["loc"]) for other in others} - {name})
    match first["type"]:
        case "extra_forbidden":
            reason, remedy = "there is no such field", _closest(name, cls)
        case "missing":
            reason, remedy = "it is missing", f"Pass {name}=..."
        case "model_type":
            expected = first.get("ctx", {}).get("class_name", "")
            reason, remedy = f"{_shown(first['input'])} is no {expected}", f"Pass {name}={expected}(...)."
        case _:
            reason, remedy = _reason(first["msg"], first["input"]), f"Correct {name} and call again."
    if also:
        remedy += f" Also wrong: {', '.join(also)}."
    return InvalidInput(what=f"{cls.__name__}.{name}" if name else cls.__name__, reason=reason, remedy=remedy)


def _name(location: tuple[int | str, ...]) -> str:
    parts = (part for part in location if part != "[key]")  # pydantic's word for a key that is wrong itself
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).lstrip(".")


def _closest(name: str, cls: type[BaseModel]) -> str:
    fields = sorted(cls.model_fields)
    matches = difflib.get_close_matches(name, fields, n=1, cutoff=0.5)
    return f"Did you mean {matches[0]}?" if matches else f"The fields are {', '.join(fields)}."


def _reason(message: str, value: object) -> str:
    """Pydantic's sentence with the value as its subject."""
    sentence, replaced = _SUBJECT.subn(lambda _: f"{_shown(value)} ", message)
    return sentence if replaced else f"{_shown(value)}: {message.removeprefix('Value error, ')}"


def _shown(value: object) -> str:
    """A scalar as it is, of anything else its type: a mapping may hold a secret."""
    if value is None or isinstance(value, (str, int, float)):
        shown = repr(value)
        return shown if len(shown) <= _SHOWN_CHARS else f"{shown[:_SHOWN_CHARS]}..."
    return value.__name__ if isinstance(value, type) else f"<{type(value).__name__}>"
