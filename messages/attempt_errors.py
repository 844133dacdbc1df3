"""Errors of the error family that nobody raises in an executor: they say what befell its attempt from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .errors import PropolisError

__all__ = ["LoopBlocked"]


@dataclass(eq=False, kw_only=True)
class LoopBlocked(PropolisError):
    """An `async` executor blocked its event loop for so long that the loop was replaced."""

    retryable: ClassVar[bool] = True
    sentence = (
        "Execution {execution_id!r} blocked its event loop for {seconds:g} s in {function} ({file}, line {line}). "
        "Await what takes long, do it in a thread, or run the executor with Placement.thread()."
    )
    execution_id: str
    seconds: float
    function: str
    file: str
    line: int
