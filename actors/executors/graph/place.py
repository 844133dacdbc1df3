"""A node, looked at once: what goes into it, what comes out of it, what is behind it, and what is said of that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from propolis.messages import EventDraft, InvalidInput, NodeInputMissing, NodeOutputInvalid, Payload

from ..access import Access
from ..protocol import is_coroutine_function
from .choosing import names_in
from .spec import EdgeSpec, NodeSpec

__all__ = ["Place"]


class Place:
    """What a visit of a node looks up. Immutable; any thread."""

    def __init__(self, node: NodeSpec, edges: tuple[EdgeSpec, ...], *, is_end: bool, pauses: bool) -> None:
        self.id = node.id
        self.node = node
        self.is_end = is_end
        self.pauses = pauses
        self.is_async = is_coroutine_function(node.function)
        self.edges = edges
        """Out of it, in the order that they were written in."""
        self.undecided = tuple(edge for edge in edges if edge.condition == "model_decides")
        self.names = frozenset(names_in(edges))
        """What the expressions of its edges need a value for."""
        self.inputs, self.outputs = node.inputs, node.outputs
        self.key_set: dict[str, EventDraft] = {
            key: ("output_key_set", self.id, Payload.of({"key": key}).data) for key in self.outputs
        }
        """By key, what is said when it has been written."""
        self._required_inputs, self._required_outputs = node.required_inputs, node.required_outputs
        self._origins = {key: key for key in self.inputs}
        self._writes = frozenset((*self.outputs, *node.memory_keys))
        self._reads = self._writes | frozenset(self.inputs)
        self._access = Access(self.id, self._reads, self._writes)

    def origins(self, via: Iterable[EdgeSpec]) -> dict[str, str]:
        """For each input, the key that it is read from: its own, or what an edge that was taken says."""
        origins = self._origins
        for edge in via:
            if edge.input_mapping:
                origins = origins | {key: origin for key, origin in edge.input_mapping.items() if key in origins}
        return origins

    def access(self, origins: Mapping[str, str]) -> Access:
        """What its function may use of `ctx.memory`: what it declares, and where its inputs are read from."""
        if origins is self._origins:
            return self._access
        return Access(self.id, self._reads | frozenset(origins.values()), self._writes)

    def take(self, values: dict[str, Any]) -> Any:
        """What the node gets: a dict, or its input model.

        Raises:
            NodeInputMissing: something that it cannot run without is not there.
            InvalidInput: the values do not fit its model.
        """
        missing = tuple(key for key in self._required_inputs if key not in values)
        if missing:
            raise NodeInputMissing(node_id=self.id, keys=missing)
        if self.node.input_model is None:
            return values
        try:
            return self.node.input_model.model_validate(values)
        except ValidationError as error:
            where, reason = _first(error)
            raise InvalidInput(
                what=f"input {where} of node {self.id!r}", reason=reason, remedy="See the model that it declares."
            ) from None

    def give(self, value: Any) -> dict[str, Any]:
        """What its function returned, by key.

        Raises:
            NodeOutputInvalid: it is not what the node declares.
        """
        keys = self.outputs
        if isinstance(value, BaseModel):
            value = value.model_dump()
        if value is None and not self._required_outputs:
            outputs: dict[str, Any] = {}
        elif len(keys) == 1 and not (isinstance(value, Mapping) and keys[0] in value):
            outputs = {keys[0]: value}
        elif isinstance(value, Mapping):
            outputs = dict(value)
        else:
            wanted = f"a dict with {', '.join(keys)}" if keys else "nothing, for it declares no output keys"
            raise NodeOutputInvalid(node_id=self.id, reason=f"it is to return {wanted}, not {type(value).__name__}")
        if unknown := [key for key in outputs if key not in keys]:
            raise NodeOutputInvalid(node_id=self.id, reason=f"it does not declare {', '.join(map(repr, unknown))}")
        if missing := [key for key in self._required_outputs if key not in outputs]:
            raise NodeOutputInvalid(node_id=self.id, reason=f"it lacks {', '.join(map(repr, missing))}")
        return outputs if self.node.output_model is None else outputs | self._validated(self.node.output_model, outputs)

    def _validated(self, model: type[BaseModel], outputs: Mapping[str, Any]) -> dict[str, Any]:
        given = {key: value for key, value in outputs.items() if key in model.model_fields}
        try:
            return model.model_validate(given).model_dump()
        except ValidationError as error:
            where, reason = _first(error)
            raise NodeOutputInvalid(node_id=self.id, reason=f"{where}: {reason}") from None


def _first(error: ValidationError) -> tuple[str, str]:
    first = error.errors(include_url=False, include_input=False)[0]
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return ".".join(map(str, first["loc"])), first["msg"] + more
