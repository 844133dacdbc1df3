"""Answering: what a handler gave back goes to whoever asked, encoded if the question was."""

from __future__ import annotations

from typing import Any

from propolis.messages import Encoded, Message, MessageError, decode, encode, is_scalar

__all__ = ["answer", "answer_error", "send_reply"]


def send_reply(reply_to: Any, result: Any, *, encoded: bool) -> None:
    """Answer with a handler's result; encoded if it answers an encoded message. Raises MessageError."""
    if not encoded or is_scalar(result):
        reply_to.set(result)
        return
    foreign = False
    if isinstance(result, Encoded):
        data, foreign = result.data, not result.ours
    elif isinstance(result, Message):
        data = encode(result)
    elif isinstance(result, tuple) and all(map(is_scalar, result)):
        reply_to.set(result)
        return
    else:
        raise MessageError(reason="not_a_message", detail=f"a handler replied with {type(result)}")
    if hasattr(reply_to, "set_bytes"):
        reply_to.set_bytes(data, foreign=foreign)
    else:
        reply_to.set(decode(data))


def answer(reply_to: Any, value: Any) -> None:
    """Answer with a value as it is, if anybody asked."""
    if reply_to is not None:
        reply_to.set(value)


def answer_error(reply_to: Any, error: BaseException) -> None:
    """Answer with an exception unless there is an answer already, or nobody who asked."""
    if reply_to is None:
        return
    if hasattr(reply_to, "offer_error"):
        reply_to.offer_error(error)
    else:
        reply_to.set_exception((type(error), error, None))
