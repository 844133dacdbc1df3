"""A program that asks many questions, answers them in any order, and is killed meanwhile: `store folder count kills`.

Prints how its processes ended, and what they have found in the end.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

import jsonschema  # once, before there are children  # noqa: F401

from propolis import Context, EntryPoint, Runtime
from propolis.messages import QuestionAnswered, QuestionNotFound

from ..processes import in_forks

SCHEMA = {"type": "integer"}


def write_down(path: str, line: str) -> None:
    """One line, whole."""
    with Path(path).open("a") as file:
        file.write(f"{line}\n")


async def ask(ctx: Context, given: dict[str, Any]) -> list[int]:
    """Asks for the answer to a number, and writes down what it was told."""
    answer: int = await ctx.ask_human(f"{given['n']}", schema=SCHEMA)
    await ctx.step("heard", write_down, given["file"], f"{given['n']} {answer}")
    return [given["n"], answer]


def answer_to(number: int) -> int:
    """The one that is right."""
    return 7 * number + 1


def life(store: str, folder: Path, count: int, dies_after: int, seed: int) -> dict[str, Any]:
    """Ask all, answer all, in an order of this life's own; killed after so many answers were acknowledged."""
    acknowledged = itertools.count(1)
    draw = random.Random(seed)
    with Runtime(store) as runtime:
        stream = runtime.open_stream(EntryPoint(id="ask", max_concurrent=20), ask).get()
        given = [{"n": n, "file": str(folder / "heard")} for n in range(count)]
        ids = [reply.get() for reply in [stream.execute(each, idempotency_key=f"{each['n']}") for each in given]]
        results: dict[str, Any] = {}
        while len(results) < count:
            questions = list(stream.open_questions(limit=count).get())
            draw.shuffle(questions)
            for question in questions:
                try:
                    stream.answer(question.id, answer_to(int(question.prompt))).get()
                except (QuestionAnswered, QuestionNotFound):
                    continue
                write_down(str(folder / "acknowledged"), question.prompt)
                if next(acknowledged) == dies_after:
                    os.kill(os.getpid(), signal.SIGKILL)
            for each in [each for each in ids if each not in results]:
                if result := stream.wait_for_completion(each, timeout=0 if questions else 0.02).get():
                    results[each] = result.output
        return {"outputs": [results[each] for each in ids], "left": len(stream.open_questions().get())}


def main(store: str, folder: str, count: str, kills: str) -> None:
    """A process for each life."""
    share = int(count) // (int(kills) + 1)

    def role(seed: int) -> None:
        found = life(store, Path(folder), int(count), 0 if seed == int(kills) else share, seed)
        Path(folder, "found").write_text(json.dumps(found))

    ends = in_forks(role, int(kills) + 1)
    json.dump({"ends": ends, **json.loads(Path(folder, "found").read_text())}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
