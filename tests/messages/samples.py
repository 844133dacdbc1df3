"""Messages made from their annotations: fixed ones for the golden bytes, and Hypothesis strategies."""

from __future__ import annotations

import types
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Literal, Union, get_args, get_origin

from hypothesis import strategies as st

from propolis.messages import Message, Pairs, Payload, registered

NONE = type(None)
MOMENT = datetime(2024, 2, 29, 12, 34, 56, 789012, tzinfo=UTC)
INTEGERS = st.integers(-(2**63), 2**64 - 1)
FLOATS = st.floats(allow_nan=False)
# In whole seconds: Python's own fromisoformat() reads an offset of less than one as none.
OFFSETS = st.integers(-86_399, 86_399).map(lambda seconds: timezone(timedelta(seconds=seconds)))
# Naive bounds, as st.datetimes() wants them; a year from the ends, where a moment may have no date in UTC.
BOUNDS = (datetime(2, 1, 1), datetime(9998, 1, 1))  # noqa: DTZ001
MOMENTS = st.datetimes(*BOUNDS, timezones=OFFSETS | st.just(UTC))


def ours() -> dict[str, type[Message]]:
    """Every message class that `propolis.messages` registers, by its tag, in order of the tags."""
    found = registered().items()
    return {tag: cls for tag, cls in sorted(found) if cls.__module__.startswith("propolis.messages.")}


# Fixed samples


def minimal(cls: type[Message]) -> Message:
    """A message with nothing but what it must have."""
    required = {name: field.annotation for name, field in cls.model_fields.items() if field.is_required()}
    return cls(**{name: _fixed(name, annotation, minimal) for name, annotation in required.items()})


def full(cls: type[Message]) -> Message:
    """A message with every field given, its nested messages likewise."""
    return cls(**{name: _fixed(name, field.annotation, full) for name, field in cls.model_fields.items()})


def _fixed(name: str, annotation: Any, make: Any) -> Any:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return _fixed(name, next(each for each in arguments if each is not NONE), make)
    if origin is Literal:
        return arguments[0] if make is minimal else arguments[-1]
    if origin is tuple:
        kinds = arguments[:1] * 2 if arguments[-1:] == (...,) else arguments
        return tuple(_fixed(f"{name}_{index}", kind, make) for index, kind in enumerate(kinds))
    if annotation is Pairs or origin is Pairs:
        (kind,) = arguments or (str,)
        return Pairs({key: _fixed(f"{name}_{key}", kind, make) for key in ("a", "b")})
    if issubclass(annotation, Message):
        return make(annotation)
    return {
        str: f"{name} ü",
        int: 1000 + len(name),
        bool: True,
        float: 0.125,
        bytes: b"\x00\xff" + name.encode(),
        datetime: MOMENT,
        Payload: Payload.of({name: [1, None, ("x", {2}), MOMENT, Decimal("1.10")]}),
        NONE: None,
    }[annotation]


# Strategies

_LEAVES: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=20),
    int: INTEGERS,
    bool: st.booleans(),
    float: FLOATS,
    bytes: st.binary(max_size=20),
    datetime: MOMENTS,
    NONE: st.none(),
}


def messages(cls: type[Message]) -> st.SearchStrategy[Message]:
    """Any message of this class: its required fields, and some of the others."""
    required: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for name, field in cls.model_fields.items():
        (required if field.is_required() else optional)[name] = of_annotation(field.annotation)
    return st.fixed_dictionaries(required, optional=optional).map(lambda values: cls(**values))


def of_annotation(annotation: Any) -> st.SearchStrategy[Any]:
    """Any value that a field annotated so takes."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return st.one_of([of_annotation(each) for each in arguments])
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        if arguments[-1:] == (...,):
            return st.lists(of_annotation(arguments[0]), max_size=3).map(tuple)
        return st.tuples(*map(of_annotation, arguments))
    if annotation is Pairs or origin is Pairs:
        (kind,) = arguments or (str,)
        return st.dictionaries(st.text(max_size=5), of_annotation(kind), max_size=3).map(Pairs)
    if annotation is Payload:
        return user_data(max_leaves=4).map(Payload.of)
    if issubclass(annotation, Message):
        return st.deferred(lambda: messages(annotation))
    return _LEAVES[annotation]


_hashable: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | INTEGERS | FLOATS | st.text() | st.binary() | MOMENTS | st.uuids()
    | st.decimals(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.frozensets(inner, max_size=4),
    max_leaves=6,
)  # fmt: skip


def user_data(max_leaves: int = 20) -> st.SearchStrategy[Any]:
    """Any value that a Payload brings back as it was."""
    return st.recursive(
        _hashable | st.sets(_hashable, max_size=4),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.lists(inner, max_size=4).map(tuple)
            | st.dictionaries(st.text(max_size=5) | _hashable, inner, max_size=4)
        ),
        max_leaves=max_leaves,
    )
