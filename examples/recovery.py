"""A process dies in the middle of its work; the next one goes on from the last checkpoint.

This file starts itself as a second process, kills that with SIGKILL while it works, and takes over what it left.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from propolis import EntryPoint, Runtime, SyncContext

POINT = EntryPoint(id="import")


def import_rows(ctx: SyncContext, rows: int) -> str:
    """A blocking executor: a plain `def`, which gets a thread while it runs."""
    done: int = ctx.memory.read("done", 0)
    print(f"attempt {ctx.attempt} imports rows {done + 1} to {rows}", flush=True)
    for row in range(done + 1, rows + 1):
        if row == 4 and ctx.attempt == 1:
            print("killed here", flush=True)
            time.sleep(60)  # long enough to be killed in
        ctx.checkpoint(memory={"done": row})
    return f"{rows} rows"


def victim(store: str) -> None:
    """The process that is going to be killed."""
    with Runtime(store) as runtime:
        runtime.open_stream(POINT, import_rows).get().run(6, idempotency_key="monday").get()


def main() -> None:
    """Start the victim, kill it, finish its work."""
    with tempfile.TemporaryDirectory() as folder:
        store = f"sqlite:///{Path(folder, 'import.db')}"
        command = [sys.executable, __file__, store]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - this very file
            assert process.stdout is not None
            for line in process.stdout:
                print(f"  victim: {line.rstrip()}")
                if line.startswith("killed"):
                    process.kill()

        with Runtime(store) as runtime:
            # Opening the stream takes over what is unfinished: nothing has to be submitted again.
            stream = runtime.open_stream(POINT, import_rows).get()
            (execution_id,) = stream.active_execution_ids
            result = stream.wait_for_completion(execution_id, timeout=10).get()
            assert result is not None
            print(f"{result.status}: {result.output}")

            # The key still belongs to that execution: asking again gives its result and runs nothing.
            again = stream.run(6, idempotency_key="monday").get()
            print(f"asked again: the same execution, {again.execution_id == execution_id}")
            record = runtime.session(result.session_id).get()
            assert record is not None
            print(f"restarts {record.restarts}, attempts in all {record.attempt}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        victim(sys.argv[1])
    else:
        main()
