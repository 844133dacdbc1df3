"""Run the desk: `python -m examples.support_desk`, or `make desk`.

It answers every ticket of tickets.jsonl once, however often it is run and whenever it is killed: run it, kill it
(`kill -9`), run it again. What it knows is in the folder: a store, and the outbox.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from propolis import EntryPoint, Runtime, Stream
from propolis.ai import openai_compatible

from .desk import HERE, Desk, Outbox, read_tickets
from .offline import offline_models

WITHOUT_ASKING = 60.0
"""Euros that the clerk pays back without asking anybody."""


async def main(args: argparse.Namespace) -> None:
    """Take in all tickets, answer them, print what became of them."""
    args.folder.mkdir(parents=True, exist_ok=True)
    desk = Desk(Outbox(args.folder / "outbox.jsonl"), models_of(args))
    async with Runtime(f"sqlite:///{args.folder}/desk.db") as runtime:
        stream = await runtime.open_stream(EntryPoint(id="tickets", max_concurrent=8), desk.executor)
        execution_ids = [
            # the key makes a ticket that comes twice, or in another run of this program, the same execution
            await stream.execute(ticket.model_dump(), correlation_id=ticket.id, idempotency_key=ticket.id)
            for ticket in read_tickets(args.tickets)
        ]
        clerk = asyncio.create_task(answer_questions(stream, args.clerk))
        for execution_id in execution_ids:
            result = await stream.wait_for_completion(execution_id)
            assert result is not None
            data = result.session_state
            decided = {True: "paid back", False: "refused", None: ""}[data.get("approved")]
            print(f"{data['id']:5} {result.status:10} {data.get('label', '?'):9} {decided:10} {data['text']:.60}")
            if result.error:
                print(f"      {result.error:.200}")
        clerk.cancel()
    print(f"{len(desk.outbox.letters())} replies are in {desk.outbox.path}")


def models_of(args: argparse.Namespace) -> dict[str, Any]:
    """Who is asked: what we bring along, or a provider."""
    if args.model is None:
        return offline_models()
    if args.base_url is None:
        return dict.fromkeys(("sorter", "writer"), args.model)  # a name of pydantic-ai's, such as openai:gpt-5
    key = os.environ.get("OPENAI_API_KEY", "none")
    return dict.fromkeys(("sorter", "writer"), openai_compatible(args.model, base_url=args.base_url, api_key=key))


async def answer_questions(stream: Stream, clerk: str) -> None:
    """Whoever decides about refunds: a rule, somebody at this terminal, or somebody at another one."""
    while clerk != "elsewhere":
        for question in await stream.open_questions():
            if clerk == "me":
                answer = await asyncio.to_thread(input, f"{question.prompt} [y/n] ")
                await stream.answer(question.id, answer.strip().lower().startswith("y"))
            else:
                amount = float(question.prompt.partition(" wants ")[2].partition(" EUR")[0])
                await stream.answer(question.id, amount <= WITHOUT_ASKING)
        await asyncio.sleep(0.1)


def parsed(argv: list[str] | None = None) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="python -m examples.support_desk", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/support-desk"), help="where store and outbox are")
    parser.add_argument("--tickets", type=Path, default=HERE / "tickets.jsonl", help="what has come in, one a line")
    parser.add_argument("--clerk", choices=("rule", "me", "elsewhere"), default="rule", help="who decides on refunds")
    parser.add_argument("--model", help="a model's name; without one, nobody is asked who is not here")
    parser.add_argument("--base-url", help="of an endpoint that speaks OpenAI's protocol")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(parsed())))
