"""Traces: which span of OpenTelemetry an execution, a node, a step is. Pure, and without OpenTelemetry.

The id of a span is made of what it is about. So wherever that runs, and whichever process ends it, everybody knows what
is below what, and nothing has to be carried along but the trace that an execution hangs below: a `traceparent` as W3C
writes it (https://www.w3.org/TR/trace-context/), in its spec. Of an execution that begins a trace of its own, the span
in there is 0.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, NamedTuple

__all__ = ["Trace", "begin_trace", "execution_span", "node_span", "parse_trace", "step_span", "trace_below"]

_FORM: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


class Trace(NamedTuple):
    """A traceparent: the trace, the span in it that something hangs below (0: none), and whether it is sampled."""

    trace_id: int
    span_id: int
    flags: int

    def text(self) -> str:
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{self.flags:02x}"


def parse_trace(traceparent: str) -> Trace | None:
    """None for what is none."""
    match = _FORM.fullmatch(traceparent)
    if match is None or not int(match[1], 16):
        return None
    return Trace(int(match[1], 16), int(match[2], 16), int(match[3], 16))


def begin_trace(execution_id: str) -> str:
    """The traceparent of an execution that nobody's span has asked for: sampled, since nobody has said otherwise."""
    return Trace(_number(16, "trace", execution_id), 0, 1).text()


def trace_below(traceparent: str, execution_id: str) -> str | None:
    """The traceparent of what an execution starts."""
    trace = parse_trace(traceparent)
    return None if trace is None else trace._replace(span_id=execution_span(execution_id)).text()


def execution_span(execution_id: str) -> int:
    """The span of an execution, from its acceptance to its end."""
    return _number(8, "execution", execution_id)


def node_span(execution_id: str, attempt: int, node_id: str, visit: int) -> int:
    """The span of a visit of a graph's node."""
    return _number(8, "node", execution_id, attempt, node_id, visit)


def step_span(execution_id: str, attempt: int, segment: int, name: str, call: int) -> int:
    """The span of a recorded step's function."""
    return _number(8, "step", execution_id, attempt, segment, name, call)


def _number(size: int, *parts: str | int) -> int:
    whole = "\0".join(map(str, parts)).encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(whole, digest_size=size).digest()) or 1
