"""What goes into a node and what comes out of it: shared data to its inputs, what it returned to its outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from propolis.messages import InvalidInput, NodeInputMissing, NodeOutputInvalid

from ..access import Access
from .spec import EdgeSpec, NodeSpec

__all__ = ["access_of", "inputs_of", "origins_of", "outputs_of"]


def origins_of(node: NodeSpec, via: Iterable[EdgeSpec]) -> dict[str, str]:
    """For each input, the key that it is read from: its own, or what an edge that was taken says."""
    origins = {key: key for key in node.inputs}
    for edge in via:
        origins.update({key: origin for key, origin in edge.input_mapping.items() if key in origins})
    return origins


def access_of(node: NodeSpec, origins: Mapping[str, str]) -> Access:
    """What its function may use of `ctx.memory`: what it declares, and where its inputs are read from."""
    writes = frozenset((*node.outputs, *node.memory_keys))
    return Access(node.id, writes | frozenset(node.inputs) | frozenset(origins.values()), writes)


def inputs_of(node: NodeSpec, values: Mapping[str, Any]) -> Any:
    """What the node gets: a dict, or its input model.

    Raises:
        NodeInputMissing: something that it cannot run without is not there.
        InvalidInput: the values do not fit its model.
    """
    missing = tuple(key for key in node.required_inputs if key not in values)
    if missing:
        raise NodeInputMissing(node_id=node.id, keys=missing)
    if node.input_model is None:
        return dict(values)
    try:
        return node.input_model.model_validate(dict(values))
    except ValidationError as error:
        where, reason = _first(error)
        raise InvalidInput(
            what=f"input {where} of node {node.id!r}", reason=reason, remedy="See the model that it declares."
        ) from None


def outputs_of(node: NodeSpec, value: Any) -> dict[str, Any]:
    """What a node's function returned, by key.

    Raises:
        NodeOutputInvalid: it is not what the node declares.
    """
    keys = node.outputs
    if isinstance(value, BaseModel):
        value = value.model_dump()
    if value is None and not node.required_outputs:
        outputs: dict[str, Any] = {}
    elif len(keys) == 1 and not (isinstance(value, Mapping) and keys[0] in value):
        outputs = {keys[0]: value}
    elif isinstance(value, Mapping):
        outputs = dict(value)
    else:
        wanted = f"a dict with {', '.join(keys)}" if keys else "nothing, for it declares no output keys"
        raise NodeOutputInvalid(node_id=node.id, reason=f"it is to return {wanted}, not {type(value).__name__}")
    if unknown := [key for key in outputs if key not in keys]:
        raise NodeOutputInvalid(node_id=node.id, reason=f"it does not declare {', '.join(map(repr, unknown))}")
    if missing := [key for key in node.required_outputs if key not in outputs]:
        raise NodeOutputInvalid(node_id=node.id, reason=f"it lacks {', '.join(map(repr, missing))}")
    return outputs if node.output_model is None else outputs | _validated(node, node.output_model, outputs)


def _validated(node: NodeSpec, model: type[BaseModel], outputs: Mapping[str, Any]) -> dict[str, Any]:
    given = {key: value for key, value in outputs.items() if key in model.model_fields}
    try:
        return model.model_validate(given).model_dump()
    except ValidationError as error:
        where, reason = _first(error)
        raise NodeOutputInvalid(node_id=node.id, reason=f"{where}: {reason}") from None


def _first(error: ValidationError) -> tuple[str, str]:
    first = error.errors(include_url=False, include_input=False)[0]
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return ".".join(map(str, first["loc"])), first["msg"] + more
