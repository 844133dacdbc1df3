"""What was ever sent or stored can be read for ever."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from propolis.messages import OpenExecution, decode, decode_as, encode, registered

from ..processes import unmeasured
from .golden_file import load, reading, save
from .make_golden import with_missing
from .samples import ours

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = load()

HOW = "run `python -m tests.messages.make_golden`, which adds it"


def test_every_message_has_golden_bytes() -> None:
    """A new message, or a new field, is added to the file with the code."""
    assert set() == ours().keys() - GOLDEN.keys(), HOW
    missing = {tag for tag, entries in with_missing(GOLDEN).items() if entries != GOLDEN.get(tag)}
    assert set() == missing, HOW


@pytest.mark.parametrize("tag", GOLDEN)
def test_released_bytes_are_read_as_what_they_were(tag: str) -> None:
    """With the same fields, and written again as the same bytes. Those of an old version are read into a newer."""
    for entry in GOLDEN[tag]:
        message = decode(bytes.fromhex(entry["hex"]))
        if tag in registered():
            assert (tag, entry["fields"]) == (message.tag, reading(message))
            assert entry["hex"] == encode(message).hex()


def test_adding_changes_nothing_that_is_there() -> None:
    """Old entries stay, in their place, also those of tags and fields that are no more."""
    old = {
        "event.v1": [{"hex": "00", "fields": {}}],
        "gone.v1": [{"hex": "01", "fields": {"x": 1}}],
    }
    grown = with_missing(json.loads(json.dumps(old)))
    assert old["gone.v1"] == grown["gone.v1"]
    assert old["event.v1"] == grown["event.v1"][:1]
    assert 3 == len(grown["event.v1"])
    assert grown == with_missing(grown)


def test_the_file_is_written_as_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sorted, so that adding shows as added lines."""
    text = (ROOT / "tests/messages/golden/messages.json").read_text(encoding="utf-8")
    monkeypatch.setattr("tests.messages.golden_file.FILE", tmp_path / "messages.json")
    save(json.loads(text))
    assert text == (tmp_path / "messages.json").read_text(encoding="utf-8")


SCRIPT = """
import hashlib
from propolis.messages import Payload, encode
from tests.messages.samples import full, minimal, ours
data = [encode(make(cls)) for cls in ours().values() for make in (full, minimal)]
words = [f"word {number}" for number in range(100)]
data += [Payload.of(value).data for value in (set(words), frozenset(words), {frozenset(words): {1, "a", None}})]
print(hashlib.sha256(b"".join(data)).hexdigest())
"""


def test_the_same_message_is_the_same_bytes_in_every_process() -> None:
    """Sets and dicts have another order under another hash seed; the bytes do not."""
    environment = {**unmeasured(), "PYTHONHASHSEED": "42"}
    command = [sys.executable, "-c", SCRIPT]
    ran = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    here = io.StringIO()
    with contextlib.redirect_stdout(here):
        exec(SCRIPT, {})
    assert here.getvalue() == ran.stdout


def test_a_write_that_held_a_message_says_the_same_as_before() -> None:
    """Its state stands in it field by field now, its spec as bytes."""
    for entry in GOLDEN["write.advance.v1"]:
        said = {name: value for name, value in entry["fields"].items() if name != "state"}
        assert said | entry["fields"]["state"] == reading(decode(bytes.fromhex(entry["hex"])))
    for entry in GOLDEN["write.open.v1"]:
        opening = decode_as(OpenExecution, bytes.fromhex(entry["hex"]))
        assert entry["fields"]["spec"] == reading(opening.spec)
        assert opening.spec.origin == opening.origin
