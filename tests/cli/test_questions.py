"""`propolis questions` and `answer`, from another terminal than the program's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import Result

from propolis import Context, EntryPoint, Runtime

from ..runtime.support import PATIENCE, until

Run = Callable[..., Result]


async def asks(ctx: Context, data: Any) -> Any:
    """One question with a schema, one without."""
    number = await ctx.ask_human("How many?", node_id="desk", schema={"type": "integer"})
    return [number, await ctx.ask_human("Anything else?")]


def test_a_question_is_shown_and_answered_while_the_program_runs(propolis: Run, tmp_path: Path) -> None:
    """Refused where the schema refuses it; taken as text where it is no JSON."""
    url = f"sqlite:///{tmp_path}/store.db"
    with Runtime(url) as runtime:
        stream = runtime.open_stream(EntryPoint(id="jobs"), asks).get(timeout=PATIENCE)
        execution_id = stream.execute().get(timeout=PATIENCE)
        until(lambda: stream.open_questions().get(timeout=PATIENCE))
        (asked,) = json.loads(propolis("questions", "--store", url, "--json").stdout)
        assert ("How many?", "desk", execution_id) == (asked["prompt"], asked["node_id"], asked["execution_id"])
        shown = propolis("questions", "--store", url).stdout
        assert asked["id"] in shown
        assert "jobs/desk" in shown
        refused = propolis("answer", asked["id"], "many", "--store", url)
        assert (2, "'many' is not of type 'integer'") == (
            refused.exit_code,
            refused.stderr.split(": ")[2].split(".")[0],
        )
        assert 0 == propolis("answer", asked["id"], "7", "--store", url).exit_code
        other = until(lambda: [q for q in stream.open_questions().get(timeout=PATIENCE) if q.id != asked["id"]])[0]
        assert 1 == propolis("answer", asked["id"], "8", "--store", url).exit_code
        assert 0 == propolis("answer", other.id, "no, thanks", "--store", url).exit_code
        result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert result is not None
    assert [7, "no, thanks"] == result.output
    assert "[]" == propolis("questions", "--store", url, "--json").stdout.strip()


def test_an_unknown_question_is_not_found(propolis: Run, tmp_path: Path) -> None:
    """Status 1, and where to look."""
    url = f"sqlite:///{tmp_path}/store.db"
    with Runtime(url):
        pass
    result = propolis("answer", "none.q0.0.ab", "1", "--store", url)
    assert (1, True) == (result.exit_code, "none.q0.0.ab" in result.stderr)
