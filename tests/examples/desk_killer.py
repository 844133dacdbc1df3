"""Runs the support desk in one process after the other, and kills each at a drawn moment: `folder tickets seed`.

Prints how they ended, and at which moments. The last one is left alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from examples.support_desk.__main__ import main as run_desk
from examples.support_desk.__main__ import parsed
from examples.support_desk.desk import Outbox

from ..processes import ready_to_fork

KILLS = 4
MOMENTS = ("before the line is written", "behind it", "from outside")


def die_in_the_outbox(moment: str, number: int) -> None:
    """Have this process killed in the step that sends, at the letter of that number."""
    append, count = Outbox.append, iter(range(number - 1, -1, -1))

    def dying(outbox: Outbox, letter: dict[str, Any]) -> dict[str, Any]:
        last = next(count, None) == 0
        if last and moment == MOMENTS[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        sent = append(outbox, letter)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return sent

    Outbox.append = dying  # type: ignore[method-assign]


def main(folder: str, tickets: str, seed: str) -> None:
    """A child for each try, forked before there is a thread: importing everything anew would take most of the time."""
    ready_to_fork()
    draws, outbox, told = random.Random(seed), Outbox(Path(folder, "outbox.jsonl")), []
    for kill in range(KILLS + 1):
        moment = MOMENTS[kill] if kill < len(MOMENTS) else draws.choice(MOMENTS)
        number, before = draws.randint(1, 4), len(outbox.letters())
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            if kill < KILLS and moment != MOMENTS[2]:
                die_in_the_outbox(moment, number)
            asyncio.run(run_desk(parsed(["--folder", folder, "--tickets", tickets])))
            os._exit(0)
        if kill < KILLS and moment == MOMENTS[2]:
            pause = threading.Event()
            while len(outbox.letters()) < before + number:
                assert os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None, "it has ended"
                pause.wait(0.001)
            os.kill(child, signal.SIGKILL)
        told.append((os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), moment, number))
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
