"""How the command line ends when something is wrong: one line on stderr, and a status that says which kind."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from propolis import Context, EntryPoint, NonRetryable, Runtime, cli
from propolis.cli.plain import print_table

from .conftest import Recorded

Run = Callable[..., Result]


def assert_one_line(result: Result, status: int, *words: str) -> None:
    """Nothing on stdout, one line on stderr with these words."""
    assert (status, "", 1) == (result.exit_code, result.stdout, len(result.stderr.splitlines())), result.output
    assert result.stderr.startswith("propolis: ")
    for word in words:
        assert word in result.stderr


@pytest.mark.parametrize(
    "args",
    [
        ("nonsense",),
        ("sessions", "nonsense"),
        ("sessions", "list", "--nonsense"),
        ("sessions", "list", "--status", "nonsense"),
        ("sessions", "list", "--limit", "0"),
        ("sessions", "show"),
        ("sessions", "export"),
        ("demo", "--workers", "none"),
        ("demo", "--library", "nowhere"),
        ("demo", "--store", "mysql://localhost/x"),
        ("sessions", "list", "--store", "nonsense"),
        ("sessions", "list", "--store", "memory:"),
    ],
)
def test_bad_use_is_status_2(propolis: Run, args: tuple[str, ...]) -> None:
    """Whoever called it has to call it otherwise."""
    assert_one_line(propolis(*args), 2)


def test_a_usage_error_names_the_help_to_read(propolis: Run) -> None:
    """Of the very command."""
    assert_one_line(propolis("sessions", "show"), 2, "Missing argument", "See propolis sessions show --help.")


@pytest.mark.parametrize("command", [("list",), ("show", "x"), ("export", "--to", "out")])
def test_a_store_that_is_not_there_is_status_1_and_is_not_made(propolis: Run, command: tuple[str, ...]) -> None:
    """Reading must not leave an empty store behind, nor a folder for the export."""
    assert_one_line(propolis("sessions", *command, "--store", "sqlite:///none.db"), 1, "none.db")
    assert [] == list(Path.cwd().iterdir())


@pytest.mark.parametrize("command", [("show",), ("export", "--to", "out")])
def test_an_unknown_session_is_status_1(propolis: Run, recorded: Recorded, command: tuple[str, ...]) -> None:
    """And named."""
    result = propolis("sessions", *command, "session_nope", "--store", recorded.url)
    assert_one_line(result, 1, "session_nope")
    assert [] == list(Path.cwd().iterdir())


@pytest.mark.parametrize(
    "command",
    [
        ("sessions", "show", "\udcff"),
        ("sessions", "logs", "\udcff"),
        ("sessions", "list", "--stream", "\udcff"),
        ("sessions", "export", "--to", "out", "\udcff"),
        ("sessions", "cancel", "\udcff"),
        ("why", "\udcff"),
        ("state", "--key", "\udcff"),
    ],
    ids=lambda command: " ".join(command[:-1]),
)
def test_bytes_that_are_no_text_are_bad_use(propolis: Run, recorded: Recorded, command: tuple[str, ...]) -> None:
    """As from a terminal with another encoding. They are shown, and not written to it."""
    assert_one_line(propolis(*command, "--store", recorded.url), 2, "\\udcff", "not valid Unicode")
    assert [] == list(Path.cwd().iterdir())


def test_a_file_that_is_no_store_is_status_1(propolis: Run) -> None:
    """Whether it is no database at all, or somebody else's."""
    Path("text.db").write_text("Dear diary, " * 100)
    other = sqlite3.connect("other.db")
    other.execute("CREATE TABLE diary (day)")
    other.close()
    for name in ("text.db", "other.db"):
        assert_one_line(propolis("sessions", "list", "--store", f"sqlite:///{name}"), 1, name)


def test_a_file_with_an_odd_name_is_found(propolis: Run) -> None:
    """What a URL holds is the name of a file, and nothing in it means anything else."""
    url = "sqlite:///odd ?name#1%.db"
    with Runtime(url):
        pass
    assert 0 == propolis("sessions", "list", "--store", url).exit_code


def test_an_export_into_a_place_that_cannot_be_written_is_status_1(propolis: Run, recorded: Recorded) -> None:
    """Here a file stands where a folder has to be."""
    Path("out").mkdir()
    Path("out", "sessions").write_text("in the way")
    assert_one_line(propolis("sessions", "export", "--to", "out", "--store", recorded.url), 1, "sessions")


def test_help_is_shown_without_a_command(propolis: Run) -> None:
    """Looking around is no error."""
    for args in ((), ("sessions",), ("--help",), ("sessions", "-h")):
        result = propolis(*args)
        assert 0 == result.exit_code
        assert result.stdout.startswith("Usage: propolis")


EVIL = "a\x1b[2J\x07\x08\r\x7f\x9b1m\u202egpj.exe\u2066\u200f\u061cz"
ACTED_UPON = {*map(chr, range(32)), *map(chr, range(0x7F, 0xA0)), *"\u202e\u2066\u200f\u061c"} - {"\n", "\t"}


def test_nothing_that_a_terminal_would_act_upon_comes_out(propolis: Run, tmp_path: Path) -> None:
    """Whatever a store holds or an argument brings. JSON still says what it was."""
    url = f"sqlite:///{tmp_path}/evil.db"

    async def work(ctx: Context, data: Any) -> Any:
        ctx.log.warning(EVIL)
        await ctx.emit("custom", {"said": EVIL})
        await ctx.memory.write(f"key {EVIL}", EVIL, scope="global")
        if data is None:
            raise NonRetryable(EVIL)
        return await ctx.ask_human(EVIL, schema={"title": EVIL})

    with Runtime(url) as runtime:
        stream = runtime.open_stream(EntryPoint(id="jobs", isolation_level="shared"), work).get()
        failed = stream.run(None).get().session_id
        asking = stream.execute(EVIL).get()
        while not stream.open_questions().get():
            pass
        (question,) = stream.open_questions().get()
    commands: list[tuple[str, ...]] = [
        ("sessions", "list"),
        ("sessions", "show", failed),
        ("sessions", "logs", failed, "--level", "3"),
        ("sessions", "show", asking),
        ("sessions", "show", EVIL),
        ("sessions", "export", EVIL, "--to", "out"),
        ("questions",),
        ("answer", EVIL, "1"),
        ("state",),
        ("state", "--key", EVIL),
        ("why", asking),
        ("why", EVIL),
        ("top", "--once"),
        ("doctor",),
        ("sessions", EVIL),
        ("sessions", "list", f"--{EVIL}"),
    ]
    for command in commands:
        result = propolis(*command, "--store", url)
        assert (result.output + result.stderr).strip(), command
        assert not ACTED_UPON & set(result.output + result.stderr), command
    assert EVIL == json.loads(propolis("questions", "--store", url, "--json").stdout)[0]["prompt"]
    assert "\\u202egpj.exe" in propolis("questions", "--store", url).stdout
    assert f"Answered {question.id}." in propolis("answer", question.id, EVIL, "--store", url).stdout


def test_everything_that_the_command_line_says_goes_through_one_place() -> None:
    """Which is `plain.echo`; bytes of a picture are for a file."""
    said = {path.name: path.read_text().count("click.echo(") for path in Path(cli.__file__).parent.glob("*.py")}
    assert {"plain.py": 1, "graph.py": 1} == {name: count for name, count in said.items() if count}


def test_a_table_goes_nowhere_when_standard_output_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `propolis … >&-` has it: Python then gives None for it."""
    monkeypatch.setattr(sys, "stdout", None)
    print_table(["NAME"], [["ada"]])
