"""What the demo runs: an ordinary blocking function, an execution of it for every module. Read it as an example.

Nothing in here knows of threads, retries, the store or a restart. What it gets from Propolis comes through `ctx`; how
it is supervised stands on the entry point.
"""

from __future__ import annotations

import ast
from typing import Any

from propolis.actors import EntryPoint, Placement, RestartPolicy, SyncContext

from .catalogue import Module
from .measure import ModuleMeasures, decode_source, measure_module

__all__ = ["STREAM_ID", "audit", "entry_point"]

STREAM_ID = "audit"
WORTH_A_LOOK = 40
"""A function with so many ways through it is worth an event of its own."""


def entry_point(workers: int) -> EntryPoint:
    """How audits are run: so many at a time, each on a thread, and which failures are worth another attempt."""
    return EntryPoint(
        id=STREAM_ID,
        name="Audit of a module",
        max_concurrent=workers,
        max_pending=None,
        placement=Placement.thread(),
        # A file that cannot be decoded or parsed is the same the next time: failed, at once. Anything else, an
        # OSError say, is restarted up to three times.
        restart=RestartPolicy(max_restarts=3, never_on=(SyntaxError, ValueError, RecursionError)),
        timeout=120,
    )


def audit(ctx: SyncContext, module: Module) -> dict[str, Any]:
    """Read, parse, compile and measure one module; summarise what was found.

    After the checkpoint the figures are in the session's memory. Should the process die behind that line, the next
    attempt finds them there and goes on to the summary.
    """
    recorded = ctx.memory.read("measures")
    if recorded is None:
        measures = examine(ctx, module)
        ctx.checkpoint("measured", memory={"measures": measures})
    else:
        measures = ModuleMeasures.model_validate(recorded)
    ctx.progress(0.9, "summarising")
    return summarise(module, measures)


def examine(ctx: SyncContext, module: Module) -> ModuleMeasures:
    """The work itself. Each `ctx.progress` is also where a cancel or a stop of the runtime gets through."""
    ctx.progress(0.0, "reading")
    source = decode_source(module.file.read_bytes())
    ctx.progress(0.2, "parsing")
    tree = ast.parse(source, filename=module.path)
    ctx.progress(0.5, "compiling")
    compile(tree, module.path, "exec", dont_inherit=True)
    ctx.progress(0.7, "measuring")
    measures = measure_module(tree, source)
    worst = measures.worst
    if worst.complexity >= WORTH_A_LOOK:
        ctx.emit("complex_function", {"module": module.path, "function": worst.name, "complexity": worst.complexity})
    return measures


def summarise(module: Module, measures: ModuleMeasures) -> dict[str, Any]:
    """What is kept as the result: plain data."""
    return {
        "module": module.path,
        **measures.model_dump(),
        "docstring_coverage": round(measures.documented / measures.documentable, 3),
    }
