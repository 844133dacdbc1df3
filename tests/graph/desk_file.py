"""A graph in YAML, and the module that its functions are in."""

from __future__ import annotations

DESK = """
id: desk
version: "1"
entry_node: triage
terminal_nodes: [reply, refund]
pause_nodes: [approve]
max_steps: 50
parallel: {on_failure: continue_others, branch_timeout: 30}
async_entry_points:
  - {id: hook, entry_node: triage, trigger_type: webhook, trigger_config: {path: /tickets}, max_concurrent: 4,
     checkpoint: {keep: 3}, circuit: {max_failures: 2}, restart: {max_restarts: 1, backoff: {initial: 1}}}
nodes:
  - id: triage
    function: desk:triage
    input_keys: [text]
    output_keys: [label, amount]
    optional_keys: [amount]
    retries: 2
    backoff: {initial: 0.5, maximum: 4}
  - {id: reply, function: desk:reply, input_keys: [text], output_keys: [reply]}
  - {id: approve, function: desk:approve, output_keys: [approved], optional_keys: [approved]}
  - {id: refund, function: desk:refund, input_keys: [amount], output_keys: [paid]}
edges:
  - {source: triage, target: approve, condition: conditional, expression: label == 'refund', priority: 1}
  - {source: triage, target: reply}
  - {source: approve, target: refund, expression: approved}
  - {source: approve, target: reply, priority: -1}
"""

MODULE = """
from pydantic import BaseModel

class Label(BaseModel):
    label: str

def triage(ctx, inputs):
    return {"label": "refund" if "money" in inputs["text"] else "question"}

async def reply(ctx, inputs):
    return "dear customer"

def approve(ctx, inputs):
    return None

def refund(ctx, inputs):
    return inputs["amount"]

class Holder:
    function = staticmethod(reply)

NUMBER = 7
"""
