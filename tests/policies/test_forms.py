"""JSON schemas of answers: what can be asked with one, and what satisfies it."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from propolis.actors.executors.forms import check_answer, check_form

from propolis.messages import InvalidInput

INTEGER = {"type": "integer"}
DRAFT_7 = "http://json-schema.org/draft-07/schema#"


def nested(depth: int, key: str) -> dict[str, Any]:
    """A schema of so many objects within each other."""
    schema: dict[str, Any] = INTEGER
    for _ in range(depth):
        schema = {"properties": {key: schema}}
    return schema


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "no such"}, "no JSON schema"),
        ({"$schema": 5}, "no URI"),
        ({"$ref": "http://127.0.0.1:9/a.json"}, "a.json"),
        ({"properties": {"a": {"items": [{"$ref": "#/$defs/a"}]}}}, r"#/\$defs/a"),
        ({"allOf": [{"$ref": "#nowhere"}]}, "#nowhere"),
        ({"$id": "http://a/b.json", "$ref": "c.json"}, "c.json"),
        (nested(3_000, "a"), "nests too deep"),
        ({"pattern": "["}, "'\\['"),
        ({"items": {"pattern": "(?=a)"}}, "look-around"),
        ({"properties": {"a": {"patternProperties": {r"(a)\1": {}}}}}, "references"),
        ({"patternProperties": {"a": {}}, "unevaluatedProperties": False}, "additionalProperties"),
        ({"$defs": {"a": {"$schema": DRAFT_7, "pattern": "a"}}, "$ref": "#/$defs/a"}, "at its top"),
    ],
)
def test_a_schema_that_could_never_be_answered_is_refused(schema: dict[str, Any], words: str) -> None:
    """When it is asked with, and not when somebody answers."""
    with pytest.raises(InvalidInput, match=words):
        check_form(schema)


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"$defs": {"n": INTEGER}, "$ref": "#/$defs/n"}, 1, "x"),
        ({"$defs": {"n": {"$anchor": "n", **INTEGER}}, "$ref": "#n"}, 1, "x"),
        ({"$id": "http://a/b.json", "$defs": {"n": {"$id": "c.json", **INTEGER}}, "$ref": "c.json"}, 1, "x"),
        ({"$schema": DRAFT_7, "definitions": {"n": INTEGER}, "$ref": "#/definitions/n"}, 1, "x"),
        ({"$ref": DRAFT_7}, {"type": "string"}, {"type": 5}),
        ({"$schema": "urn:nobody-knows", **INTEGER}, 1, "x"),
        ({"properties": {"$ref": {"type": "string"}}}, {"$ref": "a"}, {"$ref": 5}),
        ({"enum": [{"$ref": "#/data"}]}, {"$ref": "#/data"}, 1),
        ({"items": {"$ref": "#"}, "type": "array"}, [[], [[]]], [5]),
    ],
)
def test_what_a_schema_refers_to_within_itself_counts(schema: dict[str, Any], good: Any, bad: Any) -> None:
    """By pointer, anchor and id, in every draft; the schemas of schemas are known. Nobody is warned of anything."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_form(schema)
        check_answer(schema, good)
        with pytest.raises(InvalidInput, match=r"^answer"):
            check_answer(schema, bad)


LONG = "a" * 50 + "!"
"""Python's own engine would be at it until the end of days."""


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"pattern": "^(a+)+$"}, "aaa", LONG * 1_000),
        ({"$schema": DRAFT_7, "items": {"pattern": "^(a+)+$"}}, ["a", 5], [LONG]),
        ({"patternProperties": {"^(a+)+$": INTEGER}}, {"aa": 1, LONG: "x"}, {"aa": "x"}),
        ({"patternProperties": {"^(a+)+$": INTEGER}, "additionalProperties": False}, {"aa": 1}, {LONG: 1}),
        ({"properties": {"pattern": {}}, "additionalProperties": INTEGER}, {"pattern": "[", "b": 1}, {"b": "x"}),
        ({"additionalProperties": {"pattern": "^b"}}, {"a": "b"}, {"a": "a"}),
        ({"enum": [{"pattern": "["}]}, {"pattern": "["}, 1),
    ],
)
def test_a_pattern_takes_no_longer_than_the_answer_is(schema: dict[str, Any], good: Any, bad: Any) -> None:
    """Of values and of keys, in every draft."""
    check_form(schema)
    check_answer(schema, good)
    with pytest.raises(InvalidInput, match=r"^answer"):
        check_answer(schema, bad)


@pytest.mark.parametrize("schema", [{"$ref": "#"}, {"$ref": "http://127.0.0.1:9/a.json"}, {"$ref": "#/nowhere"}])
def test_an_answer_that_cannot_be_checked_is_refused_by_name(schema: dict[str, Any]) -> None:
    """Also with a schema that an earlier version let in: nothing is fetched."""
    with pytest.raises(InvalidInput, match="the question's schema"):
        check_answer(schema, 1)
