"""What README.md says is so: its example, what that prints, the files that it names; and the links of all documents."""

from __future__ import annotations

import ast
import re

import pytest

from .test_examples import EXAMPLES, RESTART, ROOT

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    """The fenced blocks in a language, in order."""
    return [body for named, body in BLOCK.findall(TEXT) if named == language]


def test_the_first_example_is_a_file_of_25_lines() -> None:
    """A reader can copy the block, or run the file: they are the same."""
    source = (EXAMPLES / "restart.py").read_text(encoding="utf-8")
    assert source == blocks("python")[0]
    assert 25 == len(source.splitlines())


def test_what_the_example_prints_is_shown_beneath_it() -> None:
    """The lines that the example's own test has seen it print."""
    assert RESTART == blocks("text")[0].splitlines()


def test_every_other_block_of_python_compiles() -> None:
    """They are fragments, but no pseudocode."""
    for block in blocks("python"):
        compile(block, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("path", ["README.md", "ARCHITECTURE.md", "docs"])
def test_every_link_leads_to_a_file(path: str) -> None:
    """Of those within the project, from where each stands."""
    documents = sorted((ROOT / path).glob("*.md")) if path == "docs" else [ROOT / path]
    links = [
        (document.name, link)
        for document in documents
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text(encoding="utf-8"))
    ]
    assert links
    folders = {document.name: document.parent for document in documents}
    assert [] == [(name, link) for name, link in links if not (folders[name] / link).exists()]


def test_every_name_imported_from_propolis_is_there() -> None:
    """Also in the fragments."""
    import propolis
    import propolis.actors
    import propolis.messages
    import propolis.testing

    for module, names in re.findall(r"^\s*from (propolis(?:\.\w+)?) import (.+)$", TEXT, re.MULTILINE):
        place = {m.__name__: m for m in (propolis, propolis.actors, propolis.messages, propolis.testing)}[module]
        assert [] == [name for name in names.split(", ") if not hasattr(place, name)]


def test_every_make_target_named_exists() -> None:
    """`make demo` and `make test` are the first things that a reader types."""
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"^(?:    )?make (\w+)", TEXT, re.MULTILINE)) | set(re.findall(r"`make (\w+)", TEXT))
    assert {"demo", "test"} <= named <= targets
