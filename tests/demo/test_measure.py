"""The figures of a module, on small sources."""

from __future__ import annotations

import ast
from textwrap import dedent

import pytest

from propolis.demo import ModuleMeasures, decode_source, measure_module


def measured(source: str) -> ModuleMeasures:
    """Measure a piece of source."""
    text = dedent(source)
    return measure_module(ast.parse(text), text)


@pytest.mark.parametrize(
    ("body", "complexity"),
    [
        ("pass", 1),
        ("if a: pass", 2),
        ("if a: pass\nelif b: pass\nelse: pass", 3),
        ("for x in y: pass\nelse: pass", 2),
        ("while a: pass", 2),
        ("try: pass\nexcept A: pass\nexcept B: pass\nfinally: pass", 3),
        ("with a: pass", 1),
        ("a and b and c or d", 4),
        ("a if b else c", 2),
        ("[x for x in y if x if not x]", 4),
        ("match a:\n case 1: pass\n case _: pass", 3),
        ("lambda: a or b", 2),
    ],
)
def test_complexity_counts_the_ways_through(body: str, complexity: int) -> None:
    """1, and 1 for each place where the way forks."""
    assert complexity == measured(body).complexity


def test_a_function_inside_a_function_is_measured_by_itself() -> None:
    """What is in the inner one does not make the outer one harder to read twice."""
    figures = measured(
        """
        class A:
            def outer(self):
                def inner():
                    if a: pass
                    if b: pass
                if c: pass
        """
    )
    assert ("A.outer.inner", 3) == (figures.worst.name, figures.worst.complexity)
    assert (2, 1, 1 + 2 + 3) == (figures.functions, figures.classes, figures.complexity)


def test_elif_stands_beside_its_if_and_not_in_it() -> None:
    """Python parses it as nested; a reader sees one level."""
    assert 1 == measured("if a: pass\nelif b: pass\nelif c: pass").nesting
    assert 2 == measured("if a: pass\nelif b:\n  for x in y: pass").nesting
    assert 2 == measured("if a: pass\nelse:\n  if b: pass\n  c").nesting


def test_nesting_begins_anew_in_a_function() -> None:
    """How deep a function itself stands is not how deep its statements do."""
    assert 2 == measured("if a:\n  if b:\n    def f():\n      while c: pass").nesting


def test_docstrings_are_asked_of_what_is_public() -> None:
    """The module, public classes and their public methods, public functions; not what is inside a function."""
    figures = measured(
        '''
        """Module."""
        class A:
            """Class."""
            def said(self):
                """Method."""
            def unsaid(self): pass
            def _own(self): pass
        def f():
            def g(): pass
        '''
    )
    assert (3, 5) == (figures.documented, figures.documentable)


def test_an_empty_module_is_measured() -> None:
    """There are many empty __init__.py files."""
    figures = measured("")
    assert (0, 0, 1, 0) == (figures.lines, figures.functions, figures.complexity, figures.nesting)
    assert "<module>" == figures.worst.name


def test_a_very_long_chain_of_elifs_is_no_deep_recursion() -> None:
    """Each one is nested in the one before it; the walk keeps its own stack."""
    source = "if a: pass\n" + "elif b: pass\n" * 300
    assert 302 == measured(source).complexity


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"x = 'ok'", "x = 'ok'"),
        ("\ufeffx = 'ü'".encode(), "x = 'ü'"),
        ("# -*- coding: latin-1 -*-\nx = 'ü'".encode("latin-1"), "# -*- coding: latin-1 -*-\nx = 'ü'"),
    ],
)
def test_source_is_decoded_by_what_it_says(data: bytes, expected: str) -> None:
    """A byte order mark, a coding line, else UTF-8."""
    assert expected == decode_source(data)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"# coding: no-such-thing\n", SyntaxError),
        (b"'\xf6'\n", SyntaxError),
        (b"\n" * 10 + b"'\xf6'\n", UnicodeDecodeError),
    ],
)
def test_source_that_cannot_be_decoded_raises(data: bytes, error: type[Exception]) -> None:
    """As reading such files of the standard library's own tests does."""
    with pytest.raises(error):
        decode_source(data)
