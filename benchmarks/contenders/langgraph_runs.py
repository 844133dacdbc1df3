"""LangGraph: a graph of one node with a SqliteSaver, for a closed loop of 100 callers.

`SqliteSaver` from threads with `durability="sync"`: tried beside `AsyncSqliteSaver` and the default durability, this
is the faster one. `durability="exit"` is faster again, but has nothing on disk before the run is over.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph

from benchmarks.contenders.measure import Measurement, closed_loop_in_threads, run


class State(TypedDict):
    number: int


def node(state: State) -> State:
    return {"number": state["number"] + 1}


def main(n: int, folder: Path) -> Iterator[Measurement]:
    connection = sqlite3.connect(folder / "langgraph.sqlite", check_same_thread=False)
    connection.execute("PRAGMA synchronous=FULL")
    graph = StateGraph(State)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    graph.add_edge("node", END)
    app = graph.compile(checkpointer=SqliteSaver(connection))

    def call(i: int) -> object:
        return app.invoke({"number": i}, {"configurable": {"thread_id": str(i)}}, durability="sync")

    rate = closed_loop_in_threads(n, call)
    yield Measurement(name="LangGraph runs", value=rate, unit="/s", n=n, package="langgraph")


if __name__ == "__main__":
    run(main)
