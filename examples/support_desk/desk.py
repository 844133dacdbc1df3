"""The desk: what the nodes of desk.yaml do, and the executor that they make up."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from propolis import Context, Done, GraphExecutor, SyncContext, load_graph
from propolis.ai import ModelNodes

HERE = Path(__file__).parent


class Ticket(BaseModel):
    """What comes in, as a webhook would bring it."""

    id: str
    customer: str
    order: str
    text: str


class Triage(BaseModel):
    """What a letter is about."""

    label: Literal["refund", "delivery", "product", "other"]


class Order(BaseModel):
    """What the shop knows of an order."""

    amount: float
    state: str


class Outbox:
    """Where replies go: a file, a line for each. In a real shop this is the mail server."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, letter: dict[str, Any]) -> dict[str, Any]:
        """Send a letter. It is on the disk when this returns, whole: one write to the end of the file."""
        line = json.dumps(letter, ensure_ascii=False) + "\n"
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(file, line.encode())
            os.fsync(file)
        finally:
            os.close(file)
        return letter

    def letters(self) -> list[dict[str, Any]]:
        """All that were sent."""
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        return [json.loads(line) for line in lines]


class Desk:
    """One shop's desk: its orders, its outbox, its models."""

    def __init__(self, outbox: Outbox, models: dict[str, Any]) -> None:
        self.outbox = outbox
        found = json.loads((HERE / "orders.json").read_text(encoding="utf-8"))
        self.orders = {name: Order(**order) for name, order in found.items()}
        functions = {
            "desk:Ticket": Ticket,
            "desk:Triage": Triage,
            "desk:take_in": self.take_in,
            "desk:order_status": self.order_status,
            "desk:send": self.send,
        }
        graph = load_graph(HERE / "desk.yaml", functions=functions)
        self.executor = GraphExecutor(graph, runners={"model": ModelNodes(models)})

    def take_in(self, ctx: SyncContext, ticket: Ticket) -> float:
        """A node: what the order was worth. A `def`, so it may block: it runs on a thread of its own."""
        order = self.orders.get(ticket.order)
        return 0.0 if order is None else order.amount

    def order_status(self, order: str) -> str:
        """Say where an order is."""  # a tool: models read this, and call it
        return self.orders[order].state if order in self.orders else "unknown to us"

    async def send(self, ctx: Context, inputs: dict[str, Any]) -> str:
        """A node: the end of a ticket, and what must not happen twice.

        A step that is recorded never runs again. But between the line in the outbox and its record the process may die,
        and then nobody knows: that is the doubt which `was_sent` decides, before the step would run once more.
        """
        letter = {"ticket": inputs["id"], "to": inputs["customer"], "text": inputs["reply"] + _refund(inputs)}
        await ctx.step("send", self.outbox.append, letter, on_doubt=self.was_sent)
        return inputs["id"]

    def was_sent(self, letter: dict[str, Any]) -> Done[dict[str, Any]] | None:
        """Whether the letter is in the outbox. A mail server would be asked for the ticket's number."""
        sent = (each for each in self.outbox.letters() if each["ticket"] == letter["ticket"])
        return next((Done(each) for each in sent), None)


def _refund(inputs: dict[str, Any]) -> str:
    if "approved" not in inputs:
        return ""
    if inputs["approved"]:
        return f"\n\nWe have sent {inputs['amount']:.2f} EUR back to you."
    return "\n\nWe are sorry that we cannot give you your money back this time."


def read_tickets(path: Path) -> list[Ticket]:
    """What has come in."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Ticket.model_validate_json(line) for line in lines]
