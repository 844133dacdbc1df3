"""A program that kills a graph at each of its checkpoints in turn: `folder`. Prints what came of it each time."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import jsonschema  # once, before there are children  # noqa: F401

from propolis import EntryPoint, ExecutionResult, Runtime, Stream
from propolis.actors import CrashPoint, Host
from propolis.testing import crash_at

from ..processes import ready_to_fork
from .graphs import Case, runs


def ended(stream: Stream, execution_id: str) -> ExecutionResult:
    """What became of it; whatever it asks meanwhile is answered."""
    while True:
        for question in stream.open_questions().get():
            stream.answer(question.id, "go").get()
        result = stream.wait_for_completion(execution_id, timeout=0.01).get()
        if result is not None:
            return result


def driven(store: str, folder: Path, host: Host | None) -> dict[str, Any]:
    """Bring the one case to its end, wherever an earlier process has left it."""
    with Runtime(store, host=host) as runtime:
        stream = runtime.open_stream(EntryPoint(id="case"), Case).get()
        execution_id = stream.execute({"folder": str(folder), "subject": "rain"}, idempotency_key="one").get()
        result = ended(stream, execution_id)
        while result.status == "paused":
            later = [each for each in runtime.executions().get() if each.id != execution_id]
            if later:  # it was resumed before the kill
                result = ended(stream, later[0].id)
            else:
                result = ended(stream, stream.resume(result.session_id, memory={"verdict": "yes"}).get())
    return {
        "status": result.status,
        "output": result.output,
        "path": result.path,
        "visits": dict(result.node_visit_counts),
        "runs": runs(folder),
    }


def forked(store: str, folder: Path, host: Host | None) -> int:
    """One process of it, forked before there is a thread; how it ended. What it found is in `found`."""
    child = os.fork()
    if child == 0:
        found = driven(store, folder, host)
        Path(folder, "found").write_text(json.dumps(found))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def case(root: Path, point: CrashPoint | None, skip: int) -> tuple[list[int], dict[str, Any]]:
    """One case, killed at one moment and taken up again: how its processes ended, and what it came to."""
    folder = root / f"{point}-{skip}"
    folder.mkdir()
    store = f"sqlite:///{folder}/case.db"
    ends = [forked(store, folder, None if point is None else crash_at(point, skip=skip))]
    if ends[-1]:
        ends.append(forked(store, folder, None))
    found: dict[str, Any] = json.loads((folder / "found").read_text())
    return ends, found


def main(root: str, step: str) -> None:
    """Unkilled at first, then every `step`th checkpoint, before and after its commit, until there is none left."""
    ready_to_fork()
    for point in (None, "checkpoint.before", "checkpoint.committed"):
        skip, killed = 0, True
        while killed:
            ends, found = case(Path(root), point, skip)
            sys.stdout.write(json.dumps({"point": point, "skip": skip, "ends": ends, **found}) + "\n")
            killed, skip = ends[0] != 0, skip + int(step)


if __name__ == "__main__":
    main(*sys.argv[1:])
