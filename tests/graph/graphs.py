"""Graphs that a worker process can import. Their nodes write a line to a file, and stop where they are told to."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from pathlib import Path
from typing import Any

from propolis import EdgeSpec, GraphExecutor, GraphSpec, NodeSpec, ParallelPolicy


class Crash(Exception):
    """An executor's own, which its policy restarts."""


def trace(folder: str, node: str) -> int:
    """Write down that a node runs: how often it has, by now."""
    with Path(folder, f"{node}.runs").open("a") as file:
        file.write("x")
    return Path(folder, f"{node}.runs").stat().st_size


def runs(folder: Path) -> dict[str, int]:
    """How often each node has run."""
    return {path.stem: path.stat().st_size for path in sorted(folder.glob("*.runs"))}


def stop_here(folder: str, node: str) -> None:
    """Once, where the file `stop` says so: `node how`."""
    order = Path(folder, "stop")
    if order.exists() and order.read_text().startswith(f"{node} "):
        how = order.read_text().split()[1]
        order.unlink()
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "exit":
            os._exit(7)
        raise Crash(node)


BRANCHES = frozenset({"left", "middle", "right", "rescue"})
"""What may run side by side, so that a crash of one is a crash of others too."""


def kill_everywhere(folder: str, node: str, run: int) -> None:
    """With a file `kill`: in the first run of each visit, so that every node is killed as often as it is visited."""
    if Path(folder, "kill").exists() and (run == 1 if node in BRANCHES else run % 2):
        os.kill(os.getpid(), signal.SIGKILL)


def passes(node: str, folder: str) -> int:
    """What every node does first: how often it has run."""
    run = trace(folder, node)
    stop_here(folder, node)
    kill_everywhere(folder, node, run)
    return run


async def plan(ctx: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    passes("plan", inputs["folder"])
    return {"topic": inputs["subject"].upper()}


async def left(ctx: Any, inputs: dict[str, Any]) -> str:
    passes("left", inputs["folder"])
    await asyncio.sleep(0)
    return f"left of {inputs['topic']}"


def middle(ctx: Any, inputs: dict[str, Any]) -> str:
    passes("middle", inputs["folder"])
    assert threading.current_thread().name == "propolis-step"
    ctx.emit("custom", {"from": "a thread"})
    return f"middle of {inputs['topic']}"


async def right(ctx: Any, inputs: dict[str, Any]) -> str:
    passes("right", inputs["folder"])
    raise LookupError(f"no right of {inputs['topic']}")


async def rescue(ctx: Any, inputs: dict[str, Any]) -> str:
    passes("rescue", inputs["folder"])
    return f"rescued from {inputs['error']['kind']}"


async def gather(ctx: Any, inputs: dict[str, Any]) -> list[str]:
    passes("gather", inputs["folder"])
    return [inputs["l"], inputs["m"], inputs["r"]]


def draft(ctx: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    passes("draft", inputs["folder"])
    return {"drafts": inputs.get("drafts", 0) + 1}


async def review(ctx: Any, inputs: dict[str, Any]) -> str:
    passes("review", inputs["folder"])
    return "again" if inputs["drafts"] < 2 else "good"


async def approve(ctx: Any, inputs: dict[str, Any]) -> None:
    passes("approve", inputs["folder"])


async def send(ctx: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    passes("send", inputs["folder"])
    return {"sent": inputs["parts"], "drafts": inputs["drafts"]}


async def refuse(ctx: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    passes("refuse", inputs["folder"])
    return {"refused": True}


def node(function: Any, reads: str = "", writes: str = "", **fields: Any) -> NodeSpec:
    """A node of the function's name, which reads the folder too."""
    return NodeSpec(
        id=function.__name__,
        function=function,
        input_keys=("folder", *reads.split()),
        output_keys=writes.split(),
        **fields,
    )


def edge(way: str, **fields: Any) -> EdgeSpec:
    """An edge of `"a>b"`."""
    source, target = way.split(">")
    return EdgeSpec(source=source, target=target, **fields)


DESK = GraphSpec(
    id="desk",
    version="3",
    entry_node="plan",
    pause_nodes=["approve"],
    terminal_nodes=["send", "refuse"],
    nodes=[
        node(plan, "subject", "topic"),
        node(left, "topic", "l"),
        node(middle, "topic", "m"),
        node(right, "topic", "never"),
        node(rescue, "error", "r"),
        node(gather, "l m r", "parts"),
        node(draft, "drafts", "drafts", optional_keys=["drafts"], max_visits=3),
        node(review, "drafts", kind="router", routes={"again": "draft", "good": "approve"}),
        node(approve, "", "verdict", optional_keys=["verdict"]),
        node(send, "parts drafts", "sent drafts"),
        node(refuse, "", "refused"),
    ],
    edges=[
        edge("plan>left"),
        edge("plan>middle"),
        edge("plan>right"),
        edge("right>rescue", condition="on_failure", expression="error.kind == 'LookupError'"),
        edge("left>gather"),
        edge("middle>gather"),
        edge("rescue>gather"),
        edge("gather>draft"),
        edge("draft>review"),
        edge("review>draft"),
        edge("review>approve"),
        edge("approve>send", condition="conditional", expression="verdict == 'yes'"),
        edge("approve>refuse", priority=-1),
    ],
    async_entry_points=[],
    entry_points={"verdicts": "approve"},
    parallel=ParallelPolicy(on_conflict="error"),
)


class Desk(GraphExecutor):
    """The graph with a bit of everything."""

    graph = DESK


class Case(GraphExecutor):
    """The same, and behind its pause a person has a word too."""

    graph = DESK.model_copy(
        update={
            "id": "case",
            "nodes": [
                *DESK.nodes,
                NodeSpec(
                    id="confirm",
                    kind="human",
                    prompt="Send $parts?",
                    input_keys=["parts"],
                    output_keys=["word"],
                    settings={"schema": {"enum": ["go", "stop"]}},
                ),
            ],
            "edges": [
                *(each for each in DESK.edges if each.target != "send"),
                edge("approve>confirm", condition="conditional", expression="verdict == 'yes'"),
                edge("confirm>send", expression="word == 'go'"),
                edge("confirm>refuse", priority=-1),
            ],
        }
    )


PATH = ("plan", "left", "middle", "right", "rescue", "gather", "draft", "review", "draft", "review", "approve")
"""Of a desk, up to its pause."""
PARTS = ["left of RAIN", "middle of RAIN", "rescued from LookupError"]


async def charge(ctx: Any, inputs: dict[str, Any]) -> int:
    """Takes money once; then another branch has its checkpoint; then, the first time, it fails."""
    taken: int = await ctx.step("charge", trace, inputs["folder"], "taking")
    while not await ctx.memory.read("shown", False):  # noqa: ASYNC110 - it is only there to be read
        await asyncio.sleep(0.001)
    passes("charge", inputs["folder"])
    return taken


def show(ctx: Any, inputs: dict[str, Any]) -> bool:
    """The other branch; on a thread, with a step of the same name."""
    ctx.step("charge", trace, inputs["folder"], "showing")
    return True


async def nap(ctx: Any, inputs: dict[str, Any]) -> int:
    """Sleeps longer than a process need wait for it."""
    await ctx.sleep(0.15)
    return passes("nap", inputs["folder"])


def weigh(ctx: Any, inputs: dict[str, Any]) -> str:
    """The way beside the question: two nodes of it, on a thread."""
    passes("weigh", inputs["folder"])
    return "heavy"


async def pack(ctx: Any, inputs: dict[str, Any]) -> str:
    passes("pack", inputs["folder"])
    return f"packed {inputs['weight']}"


async def ship(ctx: Any, inputs: dict[str, Any]) -> str:
    passes("ship", inputs["folder"])
    return f"{inputs['parcel']}, {inputs['verdict']}"


class Refund(GraphExecutor):
    """A question to a person, with other work beside it, and a join behind both."""

    graph = GraphSpec(
        id="refund",
        entry_node="plan",
        nodes=[
            node(plan, "subject", "topic"),
            NodeSpec(
                id="decide",
                kind="human",
                prompt="Refund $topic for ${topic}?",
                input_keys=["topic"],
                output_keys=["verdict"],
                settings={"schema": {"type": "string", "enum": ["yes", "no"]}},
            ),
            node(weigh, "", "weight"),
            node(pack, "weight", "parcel"),
            node(ship, "parcel verdict", "shipped"),
        ],
        edges=[
            edge("plan>decide"),
            edge("plan>weigh"),
            edge("weigh>pack"),
            edge("pack>ship"),
            edge("decide>ship", expression="verdict == 'yes'"),
        ],
    )


class Shop(GraphExecutor):
    """Steps in branches, and a sleep behind their join."""

    graph = GraphSpec(
        id="shop",
        entry_node="plan",
        nodes=[
            node(plan, "subject", "topic"),
            node(charge, "", "taken", memory_keys=["shown"]),
            node(show, "", "shown"),
            node(nap, "", "naps"),
        ],
        edges=[edge("plan>charge"), edge("plan>show"), edge("charge>nap"), edge("show>nap")],
    )
