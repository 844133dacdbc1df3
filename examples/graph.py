"""A support desk as a graph: two look-ups side by side, a draft that is improved in a loop, a pause for approval."""

from __future__ import annotations

import asyncio
from typing import Any

from propolis import EdgeSpec, EntryPoint, GraphExecutor, GraphSpec, NodeSpec, Runtime

Inputs = dict[str, Any]


async def read_ticket(ctx: Any, inputs: Inputs) -> Inputs:
    """A node gets what it reads of the shared data, and returns what it writes."""
    return {"customer": inputs["text"].split(":")[0], "wants_money": "refund" in inputs["text"]}


async def find_orders(ctx: Any, inputs: Inputs) -> list[int]:
    """One branch."""
    return [120, 80] if inputs["customer"] == "Ada" else []


def find_history(ctx: Any, inputs: Inputs) -> str:
    """The other one, blocking: it runs on a thread, beside the first."""
    return "a customer since 2019"


async def draft(ctx: Any, inputs: Inputs) -> Inputs:
    """Longer every time it is asked for."""
    sentences = [*inputs.get("sentences", []), "We are sorry." if inputs.get("sentences") else "Thank you."]
    return {"sentences": sentences}


async def approve(ctx: Any, inputs: Inputs) -> None:
    """Behind this node the execution is paused; whoever resumes it says what was decided."""


async def send(ctx: Any, inputs: Inputs) -> str:
    """The end."""
    paid = f" {inputs['orders'][0]} EUR are on their way." if inputs.get("approved") else ""
    return f"Dear {inputs['customer']}, {inputs['history']}: {' '.join(inputs['sentences'])}{paid}"


DESK = GraphSpec(
    id="desk",
    entry_node="read",
    pause_nodes=["approve"],
    nodes=[
        NodeSpec(id="read", function=read_ticket, input_keys=["text"], output_keys=["customer", "wants_money"]),
        NodeSpec(id="orders", function=find_orders, input_keys=["customer"], output_keys=["orders"]),
        NodeSpec(id="history", function=find_history, input_keys=["customer"], output_keys=["history"]),
        NodeSpec(
            id="draft",
            function=draft,
            input_keys=["sentences"],
            output_keys=["sentences"],
            optional_keys=["sentences"],
            max_visits=3,
        ),
        NodeSpec(id="approve", function=approve, output_keys=["approved"], optional_keys=["approved"]),
        NodeSpec(
            id="send",
            function=send,
            input_keys=["customer", "orders", "history", "sentences", "approved"],
            output_keys=["answer"],
            optional_keys=["approved"],
        ),
    ],
    edges=[
        EdgeSpec(source="read", target="orders"),
        EdgeSpec(source="read", target="history"),
        EdgeSpec(source="orders", target="draft"),
        EdgeSpec(source="history", target="draft"),
        EdgeSpec(source="draft", target="draft", expression="len(sentences) < 2", priority=2),
        EdgeSpec(source="draft", target="approve", expression="wants_money and sum(orders) > 100", priority=1),
        EdgeSpec(source="draft", target="send"),
        EdgeSpec(source="approve", target="send"),
    ],
)


async def main() -> None:
    """Two tickets: one that is answered at once, and one that somebody has to approve."""
    async with Runtime() as runtime:
        stream = await runtime.open_stream(EntryPoint(id="tickets"), GraphExecutor(DESK))
        result = await stream.run({"text": "Bob: where is my parcel?"})
        print(result.output["answer"])
        print(" > ".join(result.path))

        paused = await stream.run({"text": "Ada: I want a refund."})
        print(f"{paused.status} at {paused.paused_at!r}")
        execution_id = await stream.resume(paused.session_id, memory={"approved": True})
        result = await stream.wait_for_completion(execution_id)
        assert result is not None
        print(result.output["answer"])


if __name__ == "__main__":
    asyncio.run(main())
