"""A graph as a picture: the text of Mermaid, and of Graphviz' dot. Pure."""

from __future__ import annotations

import json

from .spec import EdgeSpec, GraphSpec, NodeSpec

__all__ = ["dot_of", "mermaid_of"]

_MERMAID = {"function": ("[", "]"), "model": ("([", "])"), "router": ("{", "}"), "human": ("[/", "/]")}
_DOT = {"function": "box", "model": "ellipse", "router": "diamond", "human": "parallelogram"}


def mermaid_of(graph: GraphSpec) -> str:
    """As a flowchart of Mermaid: edges for failures dotted, ends with a thick border, pauses with a dashed one."""
    ids = {node.id: f"n{number}" for number, node in enumerate(graph.nodes)}
    lines = ["flowchart TD", f"    entry(( )) --> {ids[graph.entry_node]}"]
    for node in graph.nodes:
        left, right = _MERMAID[node.kind]
        lines.append(f"    {ids[node.id]}{left}{_quoted(_name(node))}{right}")
    for edge in graph.edges:
        arrow = "-.->" if edge.condition == "on_failure" else "-->"
        label = _label(edge)
        lines.append(f"    {ids[edge.source]} {arrow}{f'|{_quoted(label)}|' if label else ''} {ids[edge.target]}")
    for name, style, nodes in (
        ("terminal", "stroke-width:3px", graph.ends),
        ("pause", "stroke-dasharray:5 3", frozenset(graph.pause_nodes)),
    ):
        if nodes:
            members = ",".join(ids[node.id] for node in graph.nodes if node.id in nodes)
            lines += [f"    classDef {name} {style}", f"    class {members} {name}"]
    return "\n".join(lines) + "\n"


def dot_of(graph: GraphSpec) -> str:
    """As a digraph of Graphviz, drawn alike."""
    lines = [f"digraph {json.dumps(graph.id)} {{", "    node [fontname=Helvetica]; edge [fontname=Helvetica];"]
    lines += ['    entry [shape=point, label=""];', f"    entry -> {json.dumps(graph.entry_node)};"]
    for node in graph.nodes:
        styles = [f"shape={_DOT[node.kind]}", f"label={json.dumps(_name(node), ensure_ascii=False)}"]
        styles += ["penwidth=3"] if node.id in graph.ends else []
        styles += ["style=dashed"] if node.id in graph.pause_nodes else []
        lines.append(f"    {json.dumps(node.id)} [{', '.join(styles)}];")
    for edge in graph.edges:
        styles = [f"label={json.dumps(_label(edge), ensure_ascii=False)}"] if _label(edge) else []
        styles += ["style=dotted"] if edge.condition == "on_failure" else []
        lines.append(f"    {json.dumps(edge.source)} -> {json.dumps(edge.target)} [{', '.join(styles)}];")
    return "\n".join([*lines, "}"]) + "\n"


def _name(node: NodeSpec) -> str:
    return node.name or node.id


def _label(edge: EdgeSpec) -> str:
    """When it is taken, unless that is simply behind a success."""
    plain = {"on_success": "", "conditional": "", "model_decides": "model decides"}
    word = plain.get(edge.condition, edge.condition.replace("_", " "))
    return ": ".join(part for part in (word, edge.expression or "") if part)


def _quoted(text: str) -> str:
    """As Mermaid has text: in quotes, with what would end or change it as numbered entities."""
    return '"' + "".join(f"#{ord(letter)};" if letter in '"#&<>\n' else letter for letter in text) + '"'
