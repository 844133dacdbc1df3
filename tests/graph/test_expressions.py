"""The language of edges: what it can say, and what it cannot be made to do."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from propolis.actors.executors.graph.expressions import MAX_CHARS, BadExpression, parse

from propolis import EdgeSpec, GraphExecutor, GraphSpec, NodeSpec
from propolis.messages import ExtraMissing

DATA = {
    "score": 0.75,
    "label": "refund",
    "tags": ["new", "eu"],
    "order": {"total": 120, "items": 3, "lines": [{"sku": "a-1"}]},
    "missing": None,
    "text": "x" * 60_000,
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("score > 0.5", True),
        ("score > 0.5 and label == 'refund'", True),
        ("label == 'reply' or 'eu' in tags", True),
        ("not missing", True),
        ("missing is None", True),
        ("order.total / order.items >= 40", True),
        ("order['lines'][0].sku", "a-1"),
        ("order.items", 3),
        ("0.5 < score <= 0.75", True),
        ("'high' if order.total > 100 else 'low'", "high"),
        ("len(tags) + 1", 3),
        ("label in ['refund', 'reply']", True),
        ("startswith(label, 're') and endswith(upper(label), 'D')", True),
        ("round(score * 10) % 3", 2),
        ("max(order.total, 7) - min([1, 2])", 119),
        ("sum([1, 2, 3]) // 2", 3),
        ("-score", -0.75),
        ("'a' + 'b'", "ab"),
        ("tags[:1]", ["new"]),
        ("int('7') + float('0.5')", 7.5),
    ],
)
def test_it_says_what_python_says(text: str, value: Any) -> None:
    """On plain data; `a.b` is `a["b"]`, also where a dict has a method of that name."""
    assert value == parse(text).evaluate(DATA)


def test_its_names_are_known_before_it_is_evaluated() -> None:
    """Functions are none of them."""
    assert {"order", "tags", "x"} == parse("len(order.lines) > x or 'len' in tags").names


@pytest.mark.parametrize(
    "text",
    [
        "9**9**9",
        "1 << 999999999",
        "label.__class__",
        "().__class__.__bases__[0].__subclasses__()",
        "order.keys()",
        "label.format(1)",
        "f'{score:999999999}'",
        "[x for x in tags]",
        "{x: 1 for x in tags}",
        "lambda: 1",
        "(x := 1)",
        "__import__('os')",
        "open('/etc/passwd')",
        "getattr(label, 'upper')",
        "round(score, -999999999)",
        "sum(tags, [])",
        "len(obj=tags)",
        "len(*tags)",
        "{'a': 1}",
        "~1",
        "b'bytes'",
        "1j",
        "...",
        "await x",
        "1; 2",
        "x = 1",
        "import os",
        "",
        "   ",
        "score >",
        "'open",
        "\x00",
        "-" * 900 + "1",
        "(" * 400 + ")" * 400,
        "[" * 90 + "]" * 90,
        "1" + " + 1" * MAX_CHARS,
    ],
)
def test_what_is_not_part_of_it_is_refused_before_anything_runs(text: str) -> None:
    """With a sentence."""
    with pytest.raises(BadExpression, match=r"\w+"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("'a' * 999999999", TypeError),
        ("[0] * 999999999", TypeError),
        ("'%999999999d' % 1", TypeError),
        ("text + text", ValueError),
        ("text + 1", TypeError),
        ("order.nothing", KeyError),
        ("label.upper", TypeError),
        ("score.real", TypeError),
        ("tags['x']", TypeError),
        ("tags[9]", IndexError),
        ("1 / 0", ZeroDivisionError),
        ("score < label", TypeError),
        ("int('x')", ValueError),
        ("sum(['a'])", TypeError),
        ("startswith(score, 'a')", TypeError),
    ],
)
def test_what_cannot_be_evaluated_is_an_error_and_no_work(text: str, error: type[Exception]) -> None:
    """Whoever asks names the edge."""
    with pytest.raises(error):
        parse(text).evaluate(DATA)


@given(st.text(max_size=60))
@example("a" * 60)
def test_any_text_is_an_expression_or_is_refused(text: str) -> None:
    """And nothing else is raised, at parsing."""
    try:
        names = parse(text).names
    except BadExpression:
        return
    assert all(name.isidentifier() for name in names)


BETWEEN = ("+", "-", "*", "/", "//", "%", "<", "<=", "==", "!=", "in", "is", "and", "or")
CALLS = ("len", "abs", "min", "max", "sum", "str", "int", "float", "round", "lower", "bool")
PIECES = st.recursive(
    st.sampled_from(["a", "n", "s", "t", "1", "2.5", "'x'", "True", "None", "999999999999"]),
    lambda inner: st.one_of(
        st.tuples(
            inner,
            st.sampled_from(BETWEEN),
            inner,
        ).map(" ".join),
        inner.map(lambda text: f"not ({text})"),
        inner.map(lambda text: f"-({text})"),
        inner.map(lambda text: f"[{text}, {text}]"),
        st.tuples(st.sampled_from(CALLS), inner).map(lambda parts: f"{parts[0]}({parts[1]})"),
        inner.map(lambda text: f"({text})[0]"),
        inner.map(lambda text: f"({text}).k"),
    ),
    max_leaves=8,
)


@given(PIECES)
def test_whatever_it_is_made_of_the_value_is_plain_data_of_a_bounded_size(text: str) -> None:
    """No object of the program gets out: no function, no method, no type."""
    names = {"a": {"k": [1, {"k": 2}]}, "n": 10**15, "s": "text", "t": [1, "b", None]}
    try:
        value = parse(text).evaluate(names)
    except BadExpression:
        return
    except Exception as error:  # noqa: BLE001 - of the operations; the runner names the edge
        assert not isinstance(error, (AttributeError, NameError, ImportError))  # noqa: PT017
        return
    assert is_plain(value)
    assert len(str(value)) < 100_000


def is_plain(value: Any) -> bool:
    """Whether it is data through and through."""
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    if isinstance(value, dict):
        return all(map(is_plain, value.values()))
    return value is None or isinstance(value, (bool, int, float, str))


def test_without_the_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra; a graph without expressions does not want it, and neither does checking one. Running one that has
    them does, and says so before anything is accepted.
    """
    monkeypatch.setitem(sys.modules, "simpleeval", None)
    parse.cache_clear()
    expression = parse("1 < 2")
    with pytest.raises(ExtraMissing, match=r"pip install 'propolis\[graph\]'"):
        expression.evaluate({})
    nodes = [NodeSpec(id=id, function=dict) for id in ("one", "two")]
    edges = [EdgeSpec(source="one", target="two")]
    assert GraphExecutor(GraphSpec(id="plain", entry_node="one", nodes=nodes, edges=edges))
    edges = [EdgeSpec(id="there", source="one", target="two", expression="1 < 2")]
    graph = GraphSpec(id="graph", entry_node="one", nodes=nodes, edges=edges)
    with pytest.raises(ExtraMissing, match=r"Edge 'there', .* pip install 'propolis\[graph\]'"):
        GraphExecutor(graph)
    parse.cache_clear()
