"""JSON schemas of answers: whether one can be used, and whether an answer satisfies it. Pure; any thread.

A schema reaches nothing outside of itself: what it refers to has to be in it. Its regular expressions are run by the
engine that pydantic has by default, in a time that grows with the answer and no faster. Python's own may take for ever
over a few characters that somebody answers, and hold the interpreter's lock meanwhile.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import SchemaError, SchemaValidator, core_schema

from propolis.messages import InvalidInput

__all__ = ["check_answer", "check_form", "form_of"]

_DATA = frozenset({"const", "default", "enum", "examples"})
"""What follows these is data, in which a `$ref` is none."""

# jsonschema is imported by the functions that want it: few programs ask, and it takes its time.


def form_of(schema: object) -> dict[str, Any] | None:
    """What a caller gave as a schema, as a JSON schema.

    Raises:
        InvalidInput: it is neither one nor a pydantic model.
    """
    if schema is None:
        return None
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return schema.model_json_schema()
    if not isinstance(schema, Mapping):
        reason = f"{schema!r:.200} is no JSON schema"
        raise InvalidInput(what="schema", reason=reason, remedy="Pass a dict, or a pydantic model.")
    return dict(schema)


def check_form(form: Mapping[str, Any]) -> None:
    """Refuse what is no JSON schema, refers to what is not in it, or has a pattern that cannot be run.

    Raises:
        InvalidInput: with the words of the schema of schemas.
    """
    from jsonschema.exceptions import SchemaError as NoSchema  # noqa: PLC0415

    if not isinstance(form.get("$schema", ""), str):
        raise InvalidInput(what="schema.$schema", reason=f"{form['$schema']!r:.200} is no URI")
    try:
        _validator_for(form).check_schema(form)
    except NoSchema as error:
        raise InvalidInput(what="schema", reason=f"it is no JSON schema: {error.message:.500}") from None
    except RecursionError:
        raise InvalidInput(what="schema", reason="it nests too deep") from None
    for reference in _dangling(form):
        reason = f"it refers to {reference!r:.200}, which is not in it"
        raise InvalidInput(what="schema", reason=reason, remedy="Put that into the schema itself, under $defs.")
    for part in _parts(form):
        if part is not form and isinstance(part.get("$schema"), str):  # jsonschema would go on with its own patterns
            reason = f"it changes to {part['$schema']!r:.200} in the middle"
            raise InvalidInput(what="schema", reason=reason, remedy="Name one $schema, at its top.")
        _check_patterns(part)


def check_answer(schema: Mapping[str, Any], value: Any, what: str = "answer") -> None:
    """Refuse what does not satisfy a question's schema.

    Raises:
        InvalidInput: with the schema's words.
    """
    from jsonschema import ValidationError  # noqa: PLC0415
    from referencing import Registry  # noqa: PLC0415 - comes with jsonschema
    from referencing.exceptions import Unresolvable  # noqa: PLC0415

    registry: Registry[Any] = Registry()  # which fetches nothing; the default one opens URLs
    try:
        _validator_for(schema)(schema, registry=registry).validate(value)
    except ValidationError as error:
        where = "".join(f"[{part!r}]" for part in error.absolute_path)
        remedy = "Answer as the question's schema says."
        raise InvalidInput(what=f"{what}{where}", reason=error.message[:500], remedy=remedy) from None
    except Unresolvable as error:
        reason = f"the question's schema refers to {error.ref!r:.200}, which is not in it"
        raise InvalidInput(what=what, reason=reason, remedy="Correct the schema where the question is asked.") from None
    except RecursionError:
        reason = "the question's schema has no end for it, or it nests too deep"
        raise InvalidInput(what=what, reason=reason, remedy="Answer with less, or correct the schema.") from None


def _validator_for(schema: Mapping[str, Any]) -> Any:
    from jsonschema import Draft202012Validator  # noqa: PLC0415
    from jsonschema.validators import validator_for  # noqa: PLC0415

    return _with_our_patterns(validator_for(schema, default=Draft202012Validator))


@functools.cache
def _with_our_patterns(dialect: Any) -> Any:
    from jsonschema.validators import extend  # noqa: PLC0415

    keywords = {"pattern": _pattern, "patternProperties": _pattern_properties, "additionalProperties": _additional}
    return extend(dialect, keywords)  # type: ignore[no-untyped-call]


# -- patterns --------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=256)
def _matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a pattern is found in a text. Raises InvalidInput when it is no pattern that can be run."""
    try:
        matches = SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex")).isinstance_python
    except SchemaError as error:
        reason = f"the pattern {pattern!r:.200} cannot be run: {' '.join(str(error).split())[-200:]}"
        raise InvalidInput(
            what="schema", reason=reason, remedy="Write it without look-around and references."
        ) from None
    return matches


def _check_patterns(part: Mapping[str, Any]) -> None:
    properties = part.get("patternProperties")
    patterns = list(properties) if isinstance(properties, Mapping) else []
    if patterns and "unevaluatedProperties" in part:  # jsonschema itself looks for the patterns there
        reason = "it has unevaluatedProperties beside patternProperties"
        raise InvalidInput(what="schema", reason=reason, remedy="Use additionalProperties.")
    for pattern in (*patterns, part.get("pattern")):
        if isinstance(pattern, str):
            _matcher(pattern)


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[Any]:  # noqa: ARG001 - a keyword's
    from jsonschema import ValidationError  # noqa: PLC0415

    if validator.is_type(instance, "string") and not _matcher(pattern)(instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any,
    properties: Mapping[str, Any],
    instance: Any,
    schema: Any,  # noqa: ARG001
) -> Iterator[Any]:
    if validator.is_type(instance, "object"):
        for pattern, subschema in properties.items():
            for key in filter(_matcher(pattern), instance):
                yield from validator.descend(instance[key], subschema, path=key, schema_path=pattern)


def _additional(validator: Any, additional: Any, instance: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
    from jsonschema import ValidationError  # noqa: PLC0415

    if not validator.is_type(instance, "object"):
        return
    known = [_matcher(pattern) for pattern in schema.get("patternProperties", {})]
    properties = schema.get("properties", {})
    extras = [key for key in instance if key not in properties and not any(matches(key) for matches in known)]
    for key in extras if validator.is_type(additional, "object") else ():
        yield from validator.descend(instance[key], additional, path=key)
    if extras and additional is False:
        listed = ", ".join(map(repr, extras))
        yield ValidationError(
            f"Additional properties are not allowed ({listed} {'was' if len(extras) == 1 else 'were'} unexpected)"
        )


# -- parts -----------------------------------------------------------------------------------------------------------


def _parts(form: Any) -> Iterator[Mapping[str, Any]]:
    """Every mapping in it that is no data."""
    if isinstance(form, (list, tuple)):
        for inner in form:
            yield from _parts(inner)
    elif isinstance(form, Mapping):
        yield form
        for name, inner in form.items():
            if name not in _DATA:
                yield from _parts(inner)


def _dangling(form: Mapping[str, Any]) -> Iterator[str]:
    """The references that lead nowhere."""
    from jsonschema_specifications import REGISTRY  # noqa: PLC0415 - as referencing
    from referencing import Resource  # noqa: PLC0415
    from referencing.exceptions import Unresolvable  # noqa: PLC0415
    from referencing.jsonschema import DRAFT202012  # noqa: PLC0415

    def look(part: Any, resolver: Any) -> Iterator[str]:
        if isinstance(part, (list, tuple)):
            for inner in part:
                yield from look(inner, resolver)
        if not isinstance(part, Mapping):
            return
        if isinstance(part.get("$id"), str) and part is not form:
            resolver = resolver.in_subresource(known.create_resource(part))
        if isinstance(reference := part.get("$ref"), str):
            try:
                resolver.lookup(reference)
            except Unresolvable:
                yield reference
        for name, inner in part.items():
            if name not in _DATA:
                yield from look(inner, resolver)

    resource: Resource[Any] = Resource.from_contents(form, default_specification=DRAFT202012)
    known = resource._specification
    registry = REGISTRY.with_resource(resource.id() or "", resource)
    yield from look(form, registry.resolver(resource.id() or ""))
