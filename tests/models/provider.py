"""A provider of language models as far as a client sees it: OpenAI's protocol over HTTP, and everything that fails."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Provider", "Reply", "serving"]

TOKENS = 10
"""That each answer is said to have cost: 7 for what was asked, 3 for what was answered."""


@dataclass
class Reply:
    """What one request is answered with."""

    text: str = ""
    tool: tuple[str, dict[str, Any]] | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: str | None = None
    """In place of an answer."""
    cut: bool = False
    """Break off in the middle."""
    endless: bool = False
    """Of a stream: end it as if that were all, in the middle."""
    held: threading.Event | None = None
    """Say nothing until it is set."""


class Provider:
    """Answers with what is in `replies`, in order; the last one again and again."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.requests: list[dict[str, Any]] = []
        self.came = threading.Semaphore(0)
        self.base_url = ""
        self.answer: Callable[[dict[str, Any]], Reply] = self._next

    def note(self, request: dict[str, Any]) -> Reply:
        """Take note of a request: what it is answered with."""
        self.requests.append(request)
        self.came.release()
        return self.answer(request)

    def _next(self, request: dict[str, Any]) -> Reply:
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@contextmanager
def serving() -> Iterator[Provider]:
    """A provider on a port of its own."""
    provider = Provider()

    class Handler(_Handler):
        answers = provider

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False  # closing it waits for its connections
    provider.base_url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), name="provider")
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    answers: Provider

    def do_POST(self) -> None:
        """A request for a completion, the only one there is."""
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        reply = self.answers.note(request)
        if reply.held is not None:
            reply.held.wait()
        try:
            self._answer(request, reply)
        except (BrokenPipeError, ConnectionResetError):
            return  # whoever asked no longer waits

    def _answer(self, request: dict[str, Any], reply: Reply) -> None:
        if reply.raw is not None or reply.status != 200:
            body = reply.raw if reply.raw is not None else json.dumps({"error": {"message": "not now"}})
            self._send(reply, "application/json", body.encode())
        elif request.get("stream"):
            chunks = [f"data: {json.dumps(chunk)}\n\n" for chunk in _chunks(request, reply)]
            text = "".join(chunks[:2]) if reply.cut or reply.endless else "".join(chunks) + "data: [DONE]\n\n"
            self._send(reply, "text/event-stream", text.encode())
        else:
            self._send(reply, "application/json", json.dumps(_completion(request, reply)).encode())

    def _send(self, reply: Reply, kind: str, body: bytes) -> None:
        self.send_response(reply.status)
        promised = len(body) + (100 if reply.cut else 0)  # a connection that ends before that was cut
        for name, value in {"content-type": kind, "content-length": str(promised), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if reply.cut and kind == "application/json" else body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def _message(reply: Reply) -> dict[str, Any]:
    if reply.tool is None:
        return {"role": "assistant", "content": reply.text}
    name, arguments = reply.tool
    call = {"id": f"call_{name}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


_USAGE = {"prompt_tokens": TOKENS - 3, "completion_tokens": 3, "total_tokens": TOKENS}


def _completion(request: dict[str, Any], reply: Reply) -> dict[str, Any]:
    choice = {"index": 0, "message": _message(reply), "finish_reason": "stop" if reply.tool is None else "tool_calls"}
    about = {"id": "c1", "object": "chat.completion", "created": 1, "model": request["model"]}
    return {**about, "choices": [choice], "usage": _USAGE}


def _chunks(request: dict[str, Any], reply: Reply) -> Iterator[dict[str, Any]]:
    about = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": request["model"]}

    def chunk(delta: dict[str, Any], end: str | None = None) -> dict[str, Any]:
        return {**about, "choices": [{"index": 0, "delta": delta, "finish_reason": end}]}

    message = _message(reply)
    if reply.tool is not None:
        calls = [{"index": 0, **call} for call in message["tool_calls"]]
        yield chunk({"role": "assistant", "tool_calls": calls})
    else:
        yield chunk({"role": "assistant", "content": ""})
        for word in reply.text.split(" "):
            yield chunk({"content": word + " "})
    yield chunk({}, "stop" if reply.tool is None else "tool_calls")
    yield {**about, "choices": [], "usage": _USAGE}
