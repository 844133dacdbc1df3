"""Graphs from files: YAML or JSON with the fields of the specs, and the functions and models that they name."""

from __future__ import annotations

import importlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from propolis.messages import GraphInvalid, GraphProblem, InvalidInput

from ...checkpointing import CheckpointConfig
from ...policies import Backoff, RestartPolicy, StreamPolicy
from ...specs import EntryPoint, Placement
from .spec import EdgeSpec, GraphSpec, NodeSpec, ParallelPolicy
from .unknown import name_of, stand_in
from .yaml import read_yaml

__all__ = ["load_graph", "parse_graph", "resolve_graph"]

T = TypeVar("T")

_WITHIN: Final[dict[str, Callable[..., Any]]] = {
    "backoff": Backoff,
    "checkpoint": CheckpointConfig,
    "circuit": StreamPolicy,
    "parallel": ParallelPolicy,
    "placement": Placement,
    "restart": RestartPolicy,
}
"""Fields that hold a policy, which a file writes as a mapping."""


def load_graph(
    path: str | Path, *, functions: Mapping[str, Any] | None = None, allow_import: bool = False
) -> GraphSpec:
    """Read a graph from a file: `.json`, or anything else as YAML.

    Functions and models are named `module:name`. A name is looked up in `functions`; only with `allow_import` is it
    imported, since whoever writes the file then says what this process runs. With neither, all of them stay names (see
    `resolve_graph`), which is enough to check and draw the graph, but for what the fields of its models would tell.

    Raises:
        OSError: the file cannot be read.
        GraphInvalid: what it says is no graph, with everything that is wrong.
        InvalidInput: it is YAML, and PyYAML is not installed.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        data = _read_json(text) if path.suffix == ".json" else read_yaml(text)
    except ValueError as error:
        if isinstance(error, InvalidInput):
            raise
        raise GraphInvalid(graph_id=path.name, problems=(GraphProblem("unreadable", path.name, str(error)),)) from None
    return parse_graph(data, functions=functions, allow_import=allow_import, name=path.name)


def parse_graph(
    data: Any, *, functions: Mapping[str, Any] | None = None, allow_import: bool = False, name: str = "graph"
) -> GraphSpec:
    """As `load_graph`, for what is in the file: dicts, lists and plain values."""
    if not isinstance(data, Mapping):
        raise GraphInvalid(graph_id=name, problems=(GraphProblem("bad_field", name, "it is no mapping of fields"),))
    parsing = _Parsing(_Names(functions or {}, allow_import) if functions or allow_import else None)
    fields = {str(key): value for key, value in data.items()}
    fields["nodes"] = parsing.parts("nodes", fields.get("nodes", []), NodeSpec)
    fields["edges"] = parsing.parts("edges", fields.get("edges", []), EdgeSpec)
    points = parsing.parts("async_entry_points", fields.get("async_entry_points", []), EntryPoint)
    graph = None
    if not parsing.problems:  # else every edge to a node that could not be made would be one more
        graph = parsing.made(name, GraphSpec, {**fields, "async_entry_points": points})
    if graph is None:
        raise GraphInvalid(graph_id=str(fields.get("id", name)), problems=tuple(parsing.problems))
    return resolve_graph(graph, functions, allow_import=allow_import) if functions or allow_import else graph


def resolve_graph(
    graph: GraphSpec, functions: Mapping[str, Any] | None = None, *, allow_import: bool = False
) -> GraphSpec:
    """The graph with its functions and models in the place of their names.

    Raises:
        GraphInvalid: with every name that is nothing; or with what is wrong now that the fields of models are known.
    """
    names, problems, nodes = _Names(functions or {}, allow_import), [], []
    for node in graph.nodes:
        found = {}
        for what, named in (("function", node.function), *((f"tool {each}", each) for each in node.tools)):
            found[what] = named
            if isinstance(named, str):
                try:
                    found[what] = names.function(named)
                except LookupError as error:
                    text = f"its {what.partition(' ')[0]} {error.args[0]}"
                    problems.append(GraphProblem("not_resolved", f"node {node.id!r}", text))
        function, models = found.pop("function"), {}
        for field, model in (("input_model", node.input_model), ("output_model", node.output_model)):
            if (named := name_of(model)) is not None:
                try:
                    models[field] = names.model(named)
                except LookupError as error:
                    problems.append(GraphProblem("not_resolved", f"node {node.id!r}", f"its {field} {error.args[0]}"))
        nodes.append(node.model_copy(update={"function": function, "tools": tuple(found.values()), **models}))
    if problems:
        raise GraphInvalid(graph_id=graph.id, problems=tuple(problems))
    return GraphSpec(**{**dict(graph), "nodes": nodes})


class _Names:
    """What names stand for."""

    def __init__(self, known: Mapping[str, Any], allow_import: bool) -> None:
        self._known = known
        self._allow_import = allow_import

    def find(self, name: str) -> Any:
        """Raises LookupError with a sentence that goes on behind what it is."""
        if name in self._known:
            return self._known[name]
        if not self._allow_import:
            raise LookupError(f"{name!r} is not among the functions, and importing it was not allowed")
        module, _, qualname = name.partition(":")
        try:
            found: Any = importlib.import_module(module)
            for part in qualname.split("."):
                found = getattr(found, part)
        except Exception as error:  # noqa: BLE001 - a module may raise anything while it is imported
            raise LookupError(f"{name!r} cannot be imported: {type(error).__name__}: {error}") from None
        return found

    def function(self, name: str) -> Any:
        """As `find`, of something that can be called."""
        found = self.find(name)
        if not callable(found):
            raise LookupError(f"{name!r} is no function: {found!r:.100}")  # noqa: TRY004 - of a name, as the other one
        return found

    def model(self, name: str) -> type[BaseModel]:
        """As `find`, of a pydantic model."""
        found = self.find(name)
        if not (isinstance(found, type) and issubclass(found, BaseModel)):
            raise LookupError(f"{name!r} is no pydantic model")  # noqa: TRY004 - as above
        return found


class _Parsing:
    """Makes the parts of a graph, and gathers what is wrong with them. Without `names`, models stay names."""

    def __init__(self, names: _Names | None) -> None:
        self._names = names
        self.problems: list[GraphProblem] = []

    def parts(self, what: str, found: Any, kind: type[T]) -> list[T]:
        """Those of a list that can be made."""
        if not isinstance(found, list):
            self.problems.append(GraphProblem("bad_field", what, "it is no list"))
            return []
        made = []
        for number, fields in enumerate(found):
            where = f"{what}[{number}]"
            if not isinstance(fields, Mapping):
                self.problems.append(GraphProblem("bad_field", where, "it is no mapping of fields"))
                continue
            where += f" {fields['id']!r}" if "id" in fields else ""
            part = self.made(where, kind, {str(key): value for key, value in fields.items()})
            made += [] if part is None else [part]
        return made

    def made(self, where: str, kind: type[T], fields: dict[str, Any]) -> T | None:
        """The part; or None, and a problem."""
        try:
            for name, make in _WITHIN.items():
                if isinstance(fields.get(name), Mapping):
                    fields[name] = make(**fields[name])
            for name in ("input_model", "output_model"):
                if isinstance(fields.get(name), str):
                    fields[name] = self._model(where, name, fields[name])
            return kind(**fields)
        except GraphInvalid as error:
            self.problems += error.problems
        except (InvalidInput, TypeError) as error:
            self.problems.append(GraphProblem("bad_field", where, str(error)))
        return None

    def _model(self, where: str, field: str, name: str) -> type[BaseModel] | None:
        try:
            return stand_in(name) if self._names is None else self._names.model(name)
        except LookupError as error:
            self.problems.append(GraphProblem("not_resolved", where, f"its {field} {error.args[0]}"))
        return None


def _read_json(text: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            (twice, _), *_ = Counter(key for key, _ in pairs).most_common(1)
            raise ValueError(f"there are two {twice!r} in one object")
        return found

    try:
        return json.loads(text, object_pairs_hook=unique)
    except RecursionError:
        raise ValueError("it nests too deep") from None
