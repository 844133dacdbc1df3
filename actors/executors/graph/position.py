"""Where a run of a graph stands. Plain state and its rules: no call, no clock, no store.

A run is a handful of tokens on nodes. A token that leaves a node over several edges becomes several, a fork. Tokens
that meet before the same node become one, a join: a token does not enter a node while another may still come to it, so
a join waits for every branch that is under way to it, and for no branch that has gone elsewhere or has ended.

The path of a run is in the order of the graph, branch by branch, and not in that of the clock: each token knows its
`order`, steps along its branch alternating with numbers of branches.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from propolis.messages import BranchConflict, ExecutionReport, Pairs, StepsExceeded, VisitsExceeded, unchecked

from .chart import Chart
from .spec import EdgeSpec

__all__ = ["Position", "Token"]

_KEPT = ("branch", "node", "order", "via", "past", "forked", "entered", "segment", "done")
"""Of a token, for another attempt."""
_PLAIN = (
    "execution", "input_digest", "since", "visits", "retries", "failures", "partial", "spent_tokens", "writers",
    "branches",
)  # fmt: skip
"""Of a position, what is plain data already."""

Order = tuple[int, ...]

_new_report: Final = unchecked(ExecutionReport)
_NONE: Final[Pairs[int]] = ExecutionReport.model_fields["retry_details"].default
"""What does not travel."""


@dataclass(eq=False, slots=True)
class Token:
    """One place that a run is at."""

    branch: int
    node: str
    order: Order = (0,)
    via: tuple[str, ...] = ()
    """The edges that led here."""
    past: frozenset[int] = frozenset()
    """The branches whose writes lie before it, its own included."""
    forked: bool = False
    """It is on a branch beside others, and so under their time limit."""
    entered: bool = False
    """Its visit has begun, and counts; an attempt that finds it so begins the same visit again."""
    segment: int = 0
    """Behind which checkpoint of the run its visit began."""
    done: bool = False
    """The node is done, and its edges are to be chosen when the pause is over."""
    began: float | None = None
    """When its branch began, on this attempt's clock."""
    announced: bool = False
    """This attempt has said that its visit begins."""
    took_ms: int | None = None
    """How long its visit took."""


@dataclass(eq=False, slots=True)
class Position:
    """Where a run stands, and what it has behind it."""

    execution: str
    tokens: list[Token]
    input_digest: str = ""
    log: list[tuple[Order, str]] = field(default_factory=list)
    """Every visit of a node."""
    since: int = 0
    """Visits since the start, or the last resume."""
    visits: dict[str, int] = field(default_factory=dict)
    retries: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    partial: bool = False
    spent_tokens: int = 0
    """Of language models."""
    writers: dict[str, int] = field(default_factory=dict)
    """By key, the branch that wrote it last, as long as there are others."""
    branches: int = 1
    ends: list[tuple[Order, str]] = field(default_factory=list)
    """Terminal nodes that were reached."""

    @classmethod
    def at(cls, node: str, execution: str, input_digest: str) -> Position:
        """The start of a run."""
        return cls(execution, [Token(0, node, past=frozenset((0,)))], input_digest)

    # -- going on ----------------------------------------------------------------------------------------------------

    def startable(self, chart: Chart, running: Collection[Token], stuck: Collection[Token]) -> list[Token]:
        """The tokens whose node can be entered now, in order. `stuck`: those that failed, and stay where they are."""
        if len(self.tokens) == 1:  # nobody else to wait for
            token = self.tokens[0]
            return [] if token.done or token in running or token in stuck else [token]
        waiting = [token for token in self._in_order() if not (token.done or token in running or token in stuck)]
        free = [token for token in waiting if token.entered or not self._may_be_met(token, chart)]
        if waiting and not free and not running and not stuck:
            return waiting[:1]  # they wait for each other, round a loop: one goes first
        return free

    def _may_be_met(self, token: Token, chart: Chart) -> bool:
        return any(token.node in chart.behind[other.node] for other in self.tokens if other is not token)

    def _in_order(self) -> list[Token]:
        return sorted(self.tokens, key=lambda token: token.order)

    def enter(self, token: Token, chart: Chart, segment: int) -> int:
        """A visit of the token's node begins, or begins again: which one of that node it is.

        `segment`: the number of checkpoints behind it. The steps that it records are known by that.

        Raises:
            StepsExceeded, VisitsExceeded: there have been enough.
        """
        if token.entered:
            return self.visits[token.node]
        if self.since >= chart.graph.max_steps:
            raise StepsExceeded(graph_id=chart.graph.id, max_steps=chart.graph.max_steps)
        most = chart.nodes[token.node].max_visits
        if most is not None and self.visits.get(token.node, 0) >= most:
            raise VisitsExceeded(node_id=token.node, max_visits=most)
        token.entered, token.segment = True, segment
        self.since += 1
        self.visits[token.node] = self.visits.get(token.node, 0) + 1
        self.log.append((token.order, token.node))
        return self.visits[token.node]

    def written(self, token: Token, outputs: Mapping[str, Any], chart: Chart) -> dict[str, Any]:
        """What of a node's outputs is to be written, as the graph's policy for conflicts has it.

        Raises:
            BranchConflict: a parallel branch has written the same key, and that is an error here.
        """
        policy = chart.graph.parallel.on_conflict
        kept = {}
        for key, value in outputs.items():
            if self.writers.get(key, token.branch) not in token.past:
                if policy == "error":
                    raise BranchConflict(key=key, node_id=token.node)
                if policy == "first_wins":
                    continue
            kept[key] = value
        self.writers.update(dict.fromkeys(kept, token.branch))
        return kept

    def leave(self, token: Token, edges: Iterable[EdgeSpec], now: float) -> None:
        """The token's node is done: it goes on over these edges."""
        edges = tuple(edges)
        self.tokens.remove(token)
        *head, step = token.order
        for number, edge in enumerate(edges):
            if len(edges) == 1:
                gone = Token(token.branch, edge.target, (*head, step + 1), (edge.id,), token.past)
                gone.forked, gone.began = token.forked, token.began
            else:
                branch = self._new_branch()
                gone = Token(branch, edge.target, (*head, step + 1, number, 0), (edge.id,), token.past | {branch})
                gone.forked, gone.began = True, now
            self._arrive(gone)
        self._forget_branches()

    def go_to(self, token: Token, node: str) -> None:
        """The token goes on at a node that no edge leads to: where a resume is to."""
        *head, step = token.order
        self.tokens.remove(token)
        self._arrive(Token(token.branch, node, (*head, step + 1), (), token.past, token.forked))

    def _arrive(self, token: Token) -> None:
        """At its node; when another is there that has not begun either, they become one."""
        here = (other for other in self.tokens if other.node == token.node and not other.entered)
        met = next(here, None)
        if met is None:
            self.tokens.append(token)
            return
        self.tokens.remove(met)
        branch = self._new_branch()
        past = met.past | token.past | {branch}
        order = _behind(met.order, token.order)
        self.tokens.append(Token(branch, token.node, order, (*met.via, *token.via), past))

    def end(self, token: Token) -> None:
        """The token's node is done, and terminal."""
        self.tokens.remove(token)
        self.ends.append((token.order, token.node))

    def drop(self, token: Token, chart: Chart) -> None:
        """The token's branch has failed, and the others go on. Who waits for it at a join has come to that: the time
        that its branch may take is over for it, and not for the join.
        """
        self.tokens.remove(token)
        for other in self.tokens:
            if not other.entered and other.node in chart.behind[token.node]:
                other.forked, other.began = False, None
        self.partial = True
        self._forget_branches()

    def _new_branch(self) -> int:
        self.branches += 1
        return self.branches - 1

    def _forget_branches(self) -> None:
        """With all branches joined, nothing of what they wrote can be in conflict any more."""
        if len(self.tokens) == 1 and set(self.writers.values()) <= self.tokens[0].past:
            self.writers.clear()
            self.tokens[0].past = frozenset((self.tokens[0].branch,))

    def failed(self, node: str) -> None:
        """A visit of this node failed for good."""
        if node not in self.failures:
            self.failures.append(node)

    def retried(self, node: str) -> None:
        """A visit of this node tried once more."""
        self.retries[node] = self.retries.get(node, 0) + 1

    # -- telling -----------------------------------------------------------------------------------------------------

    def end_nodes(self) -> list[str]:
        """The terminal nodes that were reached, in the order of the path."""
        return [node for _, node in sorted(self.ends)]

    def report(self) -> ExecutionReport:
        """The way so far."""
        return _new_report(
            path=tuple(node for _, node in sorted(self.log)),
            steps_executed=len(self.log),
            total_tokens=self.spent_tokens,
            nodes_with_failures=tuple(self.failures),
            retry_details=Pairs(self.retries) if self.retries else _NONE,
            had_partial_failures=self.partial,
            node_visit_counts=Pairs(self.visits),
        )

    def to_data(self) -> dict[str, Any]:
        """As plain data, for the memory of the session: of lists, which take a fraction of the time of tuples."""
        data = {name: getattr(self, name) for name in _PLAIN}
        data["tokens"] = [[_listed(getattr(token, name)) for name in _KEPT] for token in self.tokens]
        data["log"] = [[list(order), node] for order, node in self.log]
        data["ends"] = [[list(order), node] for order, node in self.ends]
        return data

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Position:
        """What `to_data` gave."""
        position = cls(**{name: data[name] for name in _PLAIN}, tokens=[])
        for kept in data["tokens"]:
            fields = dict(zip(_KEPT, kept, strict=True))
            fields |= {"order": tuple(fields["order"]), "via": tuple(fields["via"]), "past": frozenset(fields["past"])}
            position.tokens.append(Token(**fields))
        position.log = [(tuple(order), node) for order, node in data["log"]]
        position.ends = [(tuple(order), node) for order, node in data["ends"]]
        return position


def _listed(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else list(value) if isinstance(value, tuple) else value


def _behind(one: Order, other: Order) -> Order:
    """The place behind two orders, where their branches come together again."""
    common = 0
    while common < min(len(one), len(other)) and one[common] == other[common]:
        common += 1
    if common % 2:  # they part at the number of a branch: what comes is behind the step that forked
        return (*one[: common - 1], one[common - 1] + 1)
    return (*one[:common], max(one[common], other[common]) + 1)
