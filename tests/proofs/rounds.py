"""A parent that starts a process of the proofs, hears it, kills it, starts it again: `python -m tests.proofs.rounds`.

It has no thread, and each process is a fork of it: what takes most of the time of a new one, its imports, they have.
Arguments: a role, a folder, and a JSON object of what the role takes. The last line that it prints is a JSON object.
"""

from __future__ import annotations

import faulthandler
import json
import os
import random
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from propolis.actors import Host, open_store
from propolis.testing import crash_at

from ..processes import ready_to_fork
from .audit import check, watch
from .workload import Job, Mouth, work

__all__ = ["ROLES"]

PATIENCE = 400.0
"""Seconds that a process has to come to the moment of its death, or to its end."""

LONG = 4.0
"""Seconds that a process of the loop lives at most: a worker process may take longer to start on a busy machine."""


class Life(NamedTuple):
    """How one process went."""

    status: int
    words: list[list[Any]]
    seconds: float


def live(body: Callable[[Mouth], None], until: Callable[[list[list[Any]], float], bool] = lambda *_: False) -> Life:
    """Fork a process that does this; kill it when `until` says so of its words so far, and the seconds it has lived."""
    hears, says = os.pipe()
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(hears)
            faulthandler.dump_traceback_later(0.9 * PATIENCE)
            body(Mouth(says))
            code = 0
        except BaseException:  # noqa: BLE001 - it is said on stderr, and by the code
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(says)
    words: list[list[Any]] = []
    rest = b""
    killed = False
    os.set_blocking(hears, False)
    while True:
        seconds = time.monotonic() - began
        if not killed and (until(words, seconds) or seconds > PATIENCE):
            os.kill(pid, signal.SIGKILL)
            killed = True
        if not select.select([hears], [], [], 0.001)[0]:
            continue
        piece = os.read(hears, 65_536)
        if not piece:
            break
        *lines, rest = (rest + piece).split(b"\n")
        words += map(json.loads, lines)
    os.close(hears)
    _, status = os.waitpid(pid, 0)
    return Life(os.waitstatus_to_exitcode(status), words, time.monotonic() - began)


def prepare(folder: Path) -> None:
    """A store, with the auditor's triggers in it."""
    open_store(f"sqlite:///{folder}/store.db", host=Host()).close()
    watch(folder)


def last(folder: Path, jobs: list[Job], words: list[list[Any]], **how: Any) -> Life:
    """The process that is left alone: it ends what is there."""
    life = live(lambda mouth: work(str(folder), mouth, jobs, **how))
    assert life.status == 0, f"the last process ended with {life.status}, of {len(jobs)} jobs it said {life.words}"
    words += life.words
    return life


# -- crash points ------------------------------------------------------------------------------------------------------


def sweep(folder: Path, *, point: str, skip: int, seed: int) -> dict[str, Any]:
    """Crash at a point; crash there in the recovery from it; crash somewhere in the recovery from that; then finish."""
    prepare(folder)
    draw = random.Random(f"{seed} {point} {skip}")
    jobs = [
        Job("plain", "async", steps=3, counts=True),
        Job("restarted", "thread", steps=2, fails=True, counts=True),
        Job("sleeper", "async", steps=3, sleep=1, checkpoint=2, looks=True),
        Job("unwound", "thread", steps=3, sleep=2, checkpoint=1, emits=True),
        Job("cancelled", "async", steps=400, cancel=True),
    ]
    how: dict[str, Any] = {"triggers": True, "second": True, "linger": point == "beat.before"}
    words: list[list[Any]] = []
    ends = []
    somewhere = draw.randrange(150)
    for at, passed in ((point, skip), (point, 0), ("any", somewhere)):
        life = live(
            lambda mouth, at=at, passed=passed: work(  # type: ignore[misc]
                str(folder), mouth, jobs, host=crash_at(at, skip=passed), **how
            )
        )
        words += life.words
        ends.append(life.status)
    how["linger"] = False
    life = last(folder, jobs, words, **how)
    found = check(folder, words, kills=sum(end == -signal.SIGKILL for end in ends))
    return {"ends": ends, "somewhere": somewhere, "recovery_seconds": _recovery(life), **found}


# -- kill -9 -----------------------------------------------------------------------------------------------------------


def some_jobs(draw: random.Random, round: int, sessions: list[str], processes: bool) -> list[Job]:
    """What a round wants of its process."""
    jobs = []
    for n in range(draw.randint(3, 8)):
        stream = draw.choice(["async", "async", "thread"])
        if processes and n == 0:
            stream = "process"
        steps = draw.randint(1, 6)
        joined = draw.choice(sessions) if sessions and draw.random() < 0.2 else None
        jobs.append(
            Job(
                key=f"{round}.{n}",
                stream=stream,
                steps=steps,
                looks=draw.random() < 0.5,
                checkpoint=draw.choice([None, draw.randint(1, steps)]),
                sleep=draw.randint(1, steps) if draw.random() < 0.25 else None,
                emits=draw.random() < 0.3,
                fails=draw.random() < 0.2,
                joins=joined,
                cancel=draw.random() < 0.1,
                counts=draw.random() < 0.3,
            )
        )
    return jobs


def after_words(count: int, delay: float) -> Callable[[list[list[Any]], float], bool]:
    """True so many seconds after the process has said so many words; or when it has lived long enough without."""
    reached: list[float] = []

    def enough(words: list[list[Any]], seconds: float) -> bool:
        if len(words) >= count and not reached:
            reached.append(seconds)
        return seconds > LONG or (bool(reached) and seconds >= reached[0] + delay)

    return enough


def kill(folder: Path, *, rounds: int, seed: int, process_every: int = 10) -> dict[str, Any]:
    """Kill at random moments: after so many words, and a little later."""
    prepare(folder)
    draw = random.Random(seed)
    words: list[list[Any]] = []
    wanted: list[Job] = []
    sessions: list[str] = []
    kills, worst, spent = 0, 0.0, []
    names = ["async", "thread"]
    for round in range(rounds):
        processes = bool(process_every) and round % process_every == process_every - 1
        if processes and "process" not in names:
            names.append("process")
        wanted = wanted[-20:] + some_jobs(draw, round, sessions, processes)
        after, delay = draw.randint(0, 2 * len(wanted) + 2), draw.uniform(0.0, 0.03)
        jobs = list(wanted)
        life = live(lambda mouth, jobs=jobs: work(str(folder), mouth, jobs, names=names), after_words(after, delay))  # type: ignore[misc]
        assert life.status in (0, -signal.SIGKILL), f"round {round} of seed {seed} ended with {life.status}"
        kills += life.status == -signal.SIGKILL
        words += life.words
        worst = max(worst, _recovery(life))
        spent.append(life.seconds)
        heard = {word[2]: word[1] for word in life.words if word[0] == "ack"}
        sessions = [id for id in heard if id.startswith("session_")][-10:] or sessions
        ended = {word[1] for word in life.words if word[0] == "end"}
        wanted = [job for job in wanted if job.key not in {heard[id] for id in ended if id in heard}]
    worst = max(worst, _recovery(last(folder, wanted, words, names=names)))
    found = check(folder, words, kills)
    return {"rounds": rounds, "seed": seed, "kills": kills, "worst_recovery_seconds": worst, **found}


def _recovery(life: Life) -> float:
    """Until everything that was left had an owner again."""
    return max((word[1] for word in life.words if word[0] == "opened"), default=0.0)


# -- a thousand executions ---------------------------------------------------------------------------------------------


def many(folder: Path, *, executions: int, steps: int, kills: int, seed: int) -> dict[str, Any]:
    """Kill whenever so many steps have left their line, of all that there are to be."""
    prepare(folder)
    draw = random.Random(seed)
    jobs = [Job(f"{n}", ("async", "thread")[n % 2], steps=steps) for n in range(executions)]
    moments = sorted(draw.sample(range(1, executions * steps - 1), kills))
    words: list[list[Any]] = []
    effects = folder / "effects"
    killed = 0
    worst = 0.0
    began = time.monotonic()
    size = 0
    for moment in moments:

        def enough(said: list[list[Any]], seconds: float, moment: int = moment) -> bool:
            nonlocal size
            if effects.exists() and effects.stat().st_size != size:
                size = effects.stat().st_size
                return effects.read_bytes().count(b"\n") >= moment
            return False

        life = live(lambda mouth: work(str(folder), mouth, jobs), enough)
        assert life.status in (0, -signal.SIGKILL), f"ended with {life.status}"
        killed += life.status == -signal.SIGKILL
        worst = max(worst, _recovery(life))
        words += life.words
    worst = max(worst, _recovery(last(folder, jobs, words)))
    found = check(folder, words, killed)
    assert found["executions"] == executions == found["statuses"]["completed"]
    took = time.monotonic() - began
    return {"kills": killed, "seed": seed, "seconds": took, "worst_recovery_seconds": worst, **found}


ROLES: dict[str, Callable[..., dict[str, Any]]] = {"sweep": sweep, "kill": kill, "many": many}

if __name__ == "__main__":
    ready_to_fork()
    found = ROLES[sys.argv[1]](Path(sys.argv[2]), **json.loads(sys.argv[3]))
    sys.stdout.write(json.dumps(found) + "\n")
