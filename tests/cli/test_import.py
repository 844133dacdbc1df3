"""`propolis sessions import`: what `export` wrote goes into another store, and can be resumed there."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from propolis import Context, EntryPoint, Placement, Runtime, SyncContext
from propolis.actors import Host, open_store
from propolis.messages import Event, EventFilter, SessionCopy, decode_as, encode

from ..runtime.support import PATIENCE, until
from .conftest import Recorded, work

Run = Callable[..., Result]


def files(folder: str) -> dict[str, bytes]:
    """Everything below it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def url_of(name: str) -> str:
    """A store in the current folder."""
    return f"sqlite:///{Path(name).absolute()}"


def report(result: Result) -> dict[str, Any]:
    """With --json."""
    parsed: dict[str, Any] = json.loads(result.stdout)
    return parsed


def document(**changes: Any) -> dict[str, Any]:
    """The least that another tool writes."""
    whole = {
        "schema_version": "1.1",
        "session_id": "s1",
        "stream_id": "jobs",
        "entry_point": "jobs",
        "status": "paused",
        "timestamps": {"started_at": "2026-01-02T03:04:05"},
        "memory": {"seen": [1]},
        "input_data": {"do": "pause"},
    }
    return {**whole, **changes}


def write(session_id: str, content: Any) -> Path:
    """Into the folder `in`."""
    path = Path("in", "sessions", session_id, "state.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


# -- there and back --------------------------------------------------------------------------------------------------


def test_export_import_export_gives_the_same(propolis: Run, recorded: Recorded) -> None:
    """Byte for byte, of what had ended: documents and the copies beside them."""
    assert 0 == propolis("sessions", "export", "--to", "out", "--store", recorded.url).exit_code
    there = propolis("sessions", "import", "out", "--store", url_of("new.db"))
    assert (0, "") == (there.exit_code, there.stderr)
    assert "3 sessions imported" in there.stdout
    assert "1 completed, 1 failed, 1 paused" in there.stdout
    assert 0 == propolis("sessions", "export", "--to", "again", "--store", url_of("new.db")).exit_code
    assert files("out") == files("again")
    assert 6 == len(files("out"))
    assert 0 == propolis("doctor", "--store", url_of("new.db")).exit_code


def test_the_document_alone_gives_the_same_document(propolis: Run, recorded: Recorded) -> None:
    """As far as JSON can say it: what another tool wrote has no copy beside it."""
    propolis("sessions", "export", "--to", "out", "--store", recorded.url)
    for path in Path("out").rglob("session.msgpack"):
        path.unlink()
    assert 0 == propolis("sessions", "import", "out", "--store", url_of("new.db")).exit_code
    propolis("sessions", "export", "--to", "again", "--store", url_of("new.db"))
    for session_id in (recorded.completed, recorded.failed, recorded.paused):
        one, other = (
            json.loads(Path(name, "sessions", session_id, "state.json").read_text()) for name in ("out", "again")
        )
        assert one == other


def test_importing_twice_changes_nothing(propolis: Run, recorded: Recorded) -> None:
    """Each is there, and says so."""
    propolis("sessions", "export", "--to", "out", "--store", recorded.url)
    propolis("sessions", "import", "out", "--store", url_of("new.db"))
    again = propolis("sessions", "import", "out", "--store", url_of("new.db"), "--json")
    assert (1, ["exists"] * 3) == (again.exit_code, [each["reason"] for each in report(again)["refused"]])
    with _opened("new.db") as store:
        assert 3 == len(store.list_sessions())


def _opened(name: str) -> Any:
    return contextlib.closing(open_store(url_of(name), host=Host()))


# -- resumed ---------------------------------------------------------------------------------------------------------


CALLS: list[str] = []


def call(what: str) -> Decimal:
    """A step's function: what it gives JSON cannot say."""
    CALLS.append(what)
    return Decimal("1.10")


async def order(ctx: Context, data: Any) -> Any:
    """Steps before and behind a checkpoint, and a question."""
    first = await ctx.step("first", call, "first")
    await ctx.checkpoint("middle", memory={"first": first})
    second = await ctx.step("second", call, "second")
    answer = await ctx.ask_human("Go on?")
    return [await ctx.memory.read("first"), second, answer]


def order_plainly(ctx: SyncContext, data: Any) -> Any:
    """The same."""
    first = ctx.step("first", call, "first")
    ctx.checkpoint("middle", memory={"first": first})
    second = ctx.step("second", call, "second")
    answer = ctx.ask_human("Go on?")
    return [ctx.memory.read("first"), second, answer]


@pytest.mark.parametrize(
    ("placement", "executor"),
    [
        (Placement.asyncio(), order),
        (Placement.thread(), order_plainly),
        (Placement.process(workers=1, warm=0, start_method="forkserver"), order_plainly),
    ],
    ids=["asyncio", "thread", "process"],
)
def test_a_session_that_had_not_ended_is_resumed_where_it_stood(
    propolis: Run, tmp_path: Path, placement: Placement, executor: Any
) -> None:
    """With its steps, so nothing is called twice; the question is asked once more, and answered."""
    CALLS.clear()
    point = EntryPoint(id="orders", placement=placement)
    with Runtime(url_of("old.db")) as runtime:
        stream = runtime.open_stream(point, executor).get(timeout=PATIENCE)
        session_id = stream.execute({"n": 1}).get(timeout=PATIENCE)
        (asked,) = until(lambda: stream.open_questions().get(timeout=PATIENCE))
        propolis("sessions", "export", "--to", "out", "--store", url_of("old.db"))  # while that runtime owns it
    said = propolis("sessions", "import", "out", "--store", url_of("new.db"), "--json")
    (taken,) = report(said)["imported"]
    assert ("paused", 1, 3, 1) == (taken["status"], taken["paused_by_import"], taken["steps"], taken["checkpoints"])
    before = list(CALLS)
    with Runtime(url_of("new.db")) as runtime:
        stream = runtime.open_stream(point, executor).get(timeout=PATIENCE)
        assert () == stream.active_execution_ids
        assert () == stream.open_questions().get(timeout=PATIENCE)
        record = runtime.session(session_id).get(timeout=PATIENCE)
        assert record is not None
        assert ("paused", {"first": Decimal("1.10")}, None) == (record.status, record.memory, record.owner)
        assert ["middle"] == [point.node for point in runtime.checkpoints(session_id).get(timeout=PATIENCE)]
        execution_id = stream.resume(session_id).get(timeout=PATIENCE)
        (question,) = until(lambda: stream.open_questions().get(timeout=PATIENCE))
        assert (asked.id, execution_id) == (question.id, question.execution_id)
        stream.answer(question.id, "yes").get(timeout=PATIENCE)
        result = stream.wait_for_completion(execution_id, PATIENCE).get(timeout=PATIENCE)
    assert result is not None
    assert [Decimal("1.10"), Decimal("1.10"), "yes"] == result.output
    assert before == CALLS


def test_a_runtime_at_work_neither_takes_over_nor_reacts_to_what_is_imported(
    propolis: Run, recorded: Recorded, tmp_path: Path
) -> None:
    """It has the stream open, and reacts to ends: those do not come with a session, so nothing fires."""
    propolis("sessions", "export", "--to", "out", "--store", recorded.url)
    heard: list[str] = []

    async def react(ctx: Context, data: Any) -> None:
        heard.append(data["event"]["execution_id"])

    trigger = {"event_types": ["execution_failed", "execution_paused"], "filter_stream": "jobs"}
    with Runtime(url_of("new.db")) as runtime:
        stream = runtime.open_stream(EntryPoint(id="jobs"), work).get(timeout=PATIENCE)
        alarm = EntryPoint(id="alarm", trigger_type="event", trigger_config=trigger)
        runtime.open_stream(alarm, react).get(timeout=PATIENCE)
        assert 0 == propolis("sessions", "import", "out", "--store", url_of("new.db")).exit_code
        own = stream.run({"do": "fail"}).get(timeout=PATIENCE)
        until(lambda: heard)
        assert ([own.execution_id], ()) == (heard, stream.active_execution_ids)
        imported = [event.seq for event in _events("new.db") if event.type == "execution_imported"]
        assert (3, 3) == (len(imported), len(set(imported)))
        resumed = stream.resume(recorded.paused, input_data={"do": "give", "give": 3}).get(timeout=PATIENCE)
        assert 3 == stream.wait_for_completion(resumed).get(timeout=PATIENCE).output  # type: ignore[union-attr]
        memory = runtime.session(recorded.paused).get(timeout=PATIENCE).memory  # type: ignore[union-attr]
        assert {"at": datetime(2026, 1, 2, tzinfo=UTC), "raw": b"\0\1", "set": {2, 1}} == memory["seen"]
        lines = [entry.what for entry in runtime.logs(recorded.paused, level=1)]
        assert ["imported", "resumed", "started", "completed"] == lines


def _events(name: str) -> tuple[Event, ...]:
    with _opened(name) as store:
        found: tuple[Event, ...] = store.events_after(0, EventFilter())
    return found


# -- what does not fit -----------------------------------------------------------------------------------------------


BAD: dict[str, tuple[str, Any]] = {
    "a-json": ("bad_json", "{not json"),
    "b-list": ("bad_json", "[]"),
    "c-nan": ("bad_json", '{"memory": NaN}'),
    "d-deep": ("bad_json", "[" * 100_000),
    "e-missing": ("missing", {"session_id": "e-missing"}),
    "f-status": ("invalid", document(session_id="f-status", status="asleep")),
    "g-other": ("bad_id", document(session_id="another")),
    "h-path": ("bad_id", document(session_id="../../h-path")),
    "i-memory": ("invalid", document(session_id="i-memory", memory=[1])),
    "j-time": ("invalid", document(session_id="j-time", timestamps={"started_at": "yesterday"})),
    "k-figure": ("invalid", document(session_id="k-figure", metrics={"attempts": -1})),
    "l-number": ("invalid", document(session_id="l-number", memory={"n": 2**70})),
    "m-stream": ("bad_id", document(session_id="m-stream", stream_id="a/b")),
    "n-version": ("invalid", document(session_id="n-version", schema_version="9.0")),
    "o-type": ("invalid", document(session_id="o-type", correlation_id=7)),
    "p-unicode": ("invalid", document(session_id="p-unicode", memory={"\ud800": 1})),
    "q-large": ("too_large", document(session_id="q-large", memory={"x": "y" * (1 << 20)})),
}


def test_what_does_not_fit_is_reported_and_stops_nothing_else(propolis: Run) -> None:
    """Each by its reason, in one line; what is good on both sides of it goes in."""
    for session_id, (_, content) in BAD.items():
        write(session_id, content)
    write("0-good", document(session_id="0-good"))
    write("z-good", document(session_id="z-good", status="active"))
    said = propolis("sessions", "import", "in", "--store", url_of("new.db"), "--json", "--max-mb", "1")
    assert 1 == said.exit_code
    refused = {each["session_id"]: each["reason"] for each in report(said)["refused"]}
    assert {session_id: reason for session_id, (reason, _) in BAD.items()} == refused
    assert ["0-good", "z-good"] == [each["session_id"] for each in report(said)["imported"]]
    plain = propolis("sessions", "import", "in", "--store", url_of("other.db"), "--max-mb", "1")
    assert (1, 2 + len(BAD) - 1) == (plain.exit_code, len(plain.stderr.splitlines()))
    assert 0 == propolis("doctor", "--store", url_of("new.db")).exit_code


def test_links_devices_and_strange_names_are_not_followed(propolis: Run, tmp_path: Path) -> None:
    """Nothing outside of the folder is read, nothing waits for a pipe."""
    secret = write("real", document(session_id="real"))
    base = Path("in", "sessions")
    (base / "link").symlink_to(secret.parent.absolute(), target_is_directory=True)
    (base / "file").mkdir()
    (base / "file" / "state.json").symlink_to(secret.absolute())
    (base / "pipe").mkdir()
    os.mkfifo(base / "pipe" / "state.json")
    (base / "empty").mkdir()
    (base / "plain").write_text("a file")
    (base / "..x").mkdir()
    (base / "folder" / "state.json").mkdir(parents=True)
    said = propolis("sessions", "import", "in", "--store", url_of("new.db"), "--json")
    refused = {each["session_id"]: each["reason"] for each in report(said)["refused"]}
    names = ("link", "file", "pipe", "empty", "plain", "folder")
    assert dict.fromkeys(names, "bad_file") | {"..x": "bad_id"} == refused
    assert ["real"] == [each["session_id"] for each in report(said)["imported"]]
    Path("elsewhere").mkdir()
    Path("elsewhere", "sessions").symlink_to(base.absolute(), target_is_directory=True)
    result = propolis("sessions", "import", "elsewhere", "--store", url_of("new.db"))
    assert (1, 1) == (result.exit_code, len(result.stderr.splitlines()))
    assert 2 == propolis("sessions", "import", "nowhere", "--store", url_of("new.db")).exit_code


def test_a_document_that_was_changed_after_its_export_is_refused(propolis: Run, recorded: Recorded) -> None:
    """The copy beside it says something else, and which of the two is meant only a person knows."""
    propolis("sessions", "export", recorded.paused, "--to", "out", "--store", recorded.url)
    path = Path("out", "sessions", recorded.paused, "state.json")
    changed = json.loads(path.read_text())
    changed["memory"] = {"mine": 1}
    path.write_text(json.dumps(changed))
    said = propolis("sessions", "import", "out", "--store", url_of("new.db"), "--json")
    assert [(recorded.paused, "changed")] == [(e["session_id"], e["reason"]) for e in report(said)["refused"]]
    path.with_name("session.msgpack").unlink()
    assert 0 == propolis("sessions", "import", "out", "--store", url_of("new.db")).exit_code
    with _opened("new.db") as store:
        assert {"mine": 1} == store.get_session(recorded.paused).memory


def forged(copy: SessionCopy, how: str) -> bytes:
    """A copy that no store has written."""
    execution = copy.executions[0]
    match how:
        case "bytes":
            return encode(copy)[:-3]
        case "other session":
            spec = execution.spec.model_copy(update={"session_id": "another"})
            return encode(copy.model_copy(update={"executions": (execution.model_copy(update={"spec": spec}),)}))
        case "twice":
            return encode(copy.model_copy(update={"executions": (execution, execution)}))
        case "none":
            return encode(copy.model_copy(update={"executions": ()}))
        case "no result":
            state = execution.state.model_copy(update={"result": None})
            return encode(copy.model_copy(update={"executions": (execution.model_copy(update={"state": state}),)}))
        case "too great":
            state = execution.state.model_copy(update={"epoch": 2**64 - 1})
            return encode(copy.model_copy(update={"executions": (execution.model_copy(update={"state": state}),)}))
        case _:
            assert copy.row is not None
            row = copy.row.model_copy(update={"owner_execution_id": "another"})
            return encode(copy.model_copy(update={"row": row}))


@pytest.mark.parametrize("how", ["bytes", "other session", "twice", "none", "no result", "too great", "owner"])
def test_a_copy_that_does_not_hold_together_is_refused(propolis: Run, recorded: Recorded, how: str) -> None:
    """Whatever it says, the store stays one that the doctor finds well."""
    propolis("sessions", "export", recorded.paused, "--to", "out", "--store", recorded.url)
    path = Path("out", "sessions", recorded.paused, "session.msgpack")
    path.write_bytes(forged(decode_as(SessionCopy, path.read_bytes()), how))
    said = propolis("sessions", "import", "out", "--store", url_of("new.db"), "--json")
    assert (1, []) == (said.exit_code, report(said)["imported"])
    assert {"invalid", "bad_file"} >= {each["reason"] for each in report(said)["refused"]}
    assert () == _events("new.db")
    assert 0 == propolis("doctor", "--store", url_of("new.db")).exit_code


def test_a_key_that_is_taken_keeps_a_session_out(propolis: Run) -> None:
    """It would be the answer to a request that another execution has answered."""

    async def nothing(ctx: Context, _: Any) -> None:
        """Nothing."""

    for name in ("one", "two"):
        with Runtime(url_of(f"{name}.db")) as runtime:
            stream = runtime.open_stream(EntryPoint(id="jobs"), nothing).get(timeout=PATIENCE)
            stream.run(idempotency_key="k").get(timeout=PATIENCE)
    propolis("sessions", "export", "--to", "out", "--store", url_of("one.db"))
    said = propolis("sessions", "import", "out", "--store", url_of("two.db"), "--json")
    (refused,) = report(said)["refused"]
    assert ("exists", True) == (refused["reason"], "idempotency key" in refused["detail"])
