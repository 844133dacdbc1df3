"""LangGraph: the same three nodes in a row with a SqliteSaver, for a closed loop of 100 callers (as langgraph_runs)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph

from benchmarks.contenders.graph_functions import NODES, one_more
from benchmarks.contenders.measure import Measurement, closed_loop_in_threads, run


class State(TypedDict):
    number: int


def node(state: State) -> State:
    return {"number": one_more(state["number"])}


def main(n: int, folder: Path) -> Iterator[Measurement]:
    connection = sqlite3.connect(folder / "langgraph.sqlite", check_same_thread=False)
    connection.execute("PRAGMA synchronous=FULL")
    graph = StateGraph(State)
    for name in "abc":
        graph.add_node(name, node)
    for source, target in pairwise((START, "a", "b", "c", END)):
        graph.add_edge(source, target)
    app = graph.compile(checkpointer=SqliteSaver(connection))

    def call(i: int) -> object:
        return app.invoke({"number": i}, {"configurable": {"thread_id": str(i)}}, durability="sync")

    rate = closed_loop_in_threads(n, call)
    yield Measurement(name="LangGraph graph nodes", value=rate * NODES, unit="/s", n=n, package="langgraph")


if __name__ == "__main__":
    run(main)
