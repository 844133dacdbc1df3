"""The support desk: offline, with a provider, and killed."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("pydantic_ai", reason="needs the extra [ai]")

from ..models.provider import Reply, serving
from ..processes import unmeasured

ROOT = Path(__file__).resolve().parents[2]
TICKETS = [json.loads(line) for line in (ROOT / "examples/support_desk/tickets.jsonl").read_text("utf-8").splitlines()]
PAID, REFUSED = "sent {:.2f} EUR back", "cannot give you your money back"


def some(tmp_path: Path, count: int) -> Path:
    """A file of so many tickets."""
    path = tmp_path / "tickets.jsonl"
    path.write_text("".join(json.dumps(ticket) + "\n" for ticket in TICKETS[:count]), encoding="utf-8")
    return path


def letters(folder: Path, count: int) -> dict[str, str]:
    """By ticket, what was sent; each of so many must be there once."""
    sent = [json.loads(line) for line in (folder / "outbox.jsonl").read_text("utf-8").splitlines()]
    assert Counter(ticket["id"] for ticket in TICKETS[:count]) == Counter(letter["ticket"] for letter in sent)
    return {letter["ticket"]: letter["text"] for letter in sent}


def desk(*args: str) -> str:
    """Run it: what it prints."""
    command = [sys.executable, "-m", "examples.support_desk", *args]
    ran = subprocess.run(command, cwd=ROOT, env=unmeasured(), capture_output=True, text=True, timeout=90, check=False)
    assert (0, "") == (ran.returncode, ran.stderr)
    return ran.stdout


def test_killed_at_drawn_moments_it_sends_each_reply_exactly_once(tmp_path: Path) -> None:
    """SIGKILL between approval and send: before the line is in the outbox, between it and its record, anywhere."""
    seed = str(random.randrange(2**32))
    command = [sys.executable, "-m", "tests.examples.desk_killer", str(tmp_path), str(some(tmp_path, 13)), seed]
    ran = subprocess.run(command, cwd=ROOT, env=unmeasured(), capture_output=True, text=True, timeout=110, check=False)
    assert 0 == ran.returncode, (seed, ran.stderr)
    *killed, last = json.loads(ran.stdout)
    assert ({-signal.SIGKILL}, 0) == ({end for end, *_ in killed}, last[0]), (seed, ran.stdout)
    sent = letters(tmp_path, 13)
    assert PAID.format(39) in sent["T01"]
    assert REFUSED in sent["T13"]
    assert not any(text in sent["T02"] for text in ("EUR back", REFUSED))


def test_any_endpoint_that_speaks_openais_protocol_will_do(tmp_path: Path) -> None:
    """Here one that finds every letter to be about a product, and always writes the same."""
    with serving() as provider:
        sorted_, written = Reply(tool=("final_result", {"label": "product"})), Reply("Dear you, see the leaflet.")
        provider.answer = lambda request: sorted_ if "final_result" in json.dumps(request.get("tools", [])) else written
        told = desk(
            "--folder",
            str(tmp_path),
            "--tickets",
            str(some(tmp_path, 6)),
            "--model",
            "tiny",
            "--base-url",
            provider.base_url,
        )
    assert {"Dear you, see the leaflet. "} == set(letters(tmp_path, 6).values())
    assert 6 == told.count(" product ")
    assert 2 * 6 == len(provider.requests)
