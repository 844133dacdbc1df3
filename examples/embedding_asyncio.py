"""Propolis in an asyncio service: it lives as long as the service, and its calls are awaited in the handlers.

The service here speaks JSON, a line for a request and a line for the answer. In a web framework `lifespan` and the two
handlers look the same.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pydantic import BaseModel

from propolis import Context, EntryPoint, PropolisError, Runtime, Stream


class Ticket(BaseModel):
    """What the executor takes. Input that does not fit is refused before anything is accepted."""

    subject: str
    urgent: bool = False


async def triage(ctx: Context, ticket: Ticket) -> dict[str, str]:
    """The executor."""
    await asyncio.sleep(0.05)
    return {"queue": "hotline" if ticket.urgent else "mail", "subject": ticket.subject}


@asynccontextmanager
async def lifespan() -> AsyncIterator[Stream]:
    """One runtime for the whole service. Leaving interrupts what runs; with a file as store the next start goes on."""
    async with Runtime() as runtime:  # Runtime("sqlite:///tickets.db") to survive the process
        yield await runtime.open_stream(EntryPoint(id="tickets", max_concurrent=20), triage)


async def post_ticket(stream: Stream, request: dict[str, Any]) -> dict[str, Any]:
    """Answer once the ticket is durable, and do not wait for the work. A repeated key gives the same ticket."""
    return {"id": await stream.execute(request["ticket"], idempotency_key=request["key"])}


async def get_ticket(stream: Stream, request: dict[str, Any]) -> dict[str, Any]:
    """Wait a little for the result; None means not yet."""
    result = await stream.wait_for_completion(request["id"], timeout=10)
    return {"status": "pending"} if result is None else {"status": result.status, "output": result.output}


HANDLERS = {"POST": post_ticket, "GET": get_ticket}


async def serve(stream: Stream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection. Errors of ours say what is wrong and what to do, so they can be the answer."""
    while line := await reader.readline():
        request = json.loads(line)
        try:
            answer = await HANDLERS[request["method"]](stream, request)
        except PropolisError as error:
            answer = {"error": error.code, "message": str(error)}
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()
    writer.close()


async def client(port: int) -> None:
    """Somebody who uses the service."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def call(**request: Any) -> dict[str, Any]:
        writer.write(json.dumps(request).encode() + b"\n")
        answer: dict[str, Any] = json.loads(await reader.readline())
        return answer

    ticket = {"subject": "no heating", "urgent": True}
    first = await call(method="POST", key="k-1", ticket=ticket)
    again = await call(method="POST", key="k-1", ticket=ticket)  # the client was not sure: no harm done
    print("posted twice, one ticket:", first == again)
    print(await call(method="GET", id=first["id"]))
    print(await call(method="POST", key="k-2", ticket={"urgent": True}))
    writer.close()
    await writer.wait_closed()


async def main() -> None:
    """Start the service, use it, stop it."""
    async with lifespan() as stream:
        server = await asyncio.start_server(lambda r, w: serve(stream, r, w), "127.0.0.1", 0)
        async with server:
            await client(server.sockets[0].getsockname()[1])


if __name__ == "__main__":
    asyncio.run(main())
