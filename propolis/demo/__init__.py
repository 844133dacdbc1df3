"""The demo: an audit of the running Python's own standard library, an execution for every module."""

from .aftermath import Aftermath, Ending, make_aftermath
from .audit import audit, entry_point
from .board import Board, Snapshot
from .catalogue import Module, catalogue, standard_library
from .hostile import Attack, attack, plan_attacks
from .measure import ModuleMeasures, decode_source, measure_module
from .printing import print_report
from .report import Report, make_report
from .run import Interrupted, run_demo
from .view import LiveView, PlainView, View, picture

__all__ = [
    "Aftermath",
    "Attack",
    "Board",
    "Ending",
    "Interrupted",
    "LiveView",
    "Module",
    "ModuleMeasures",
    "PlainView",
    "Report",
    "Snapshot",
    "View",
    "attack",
    "audit",
    "catalogue",
    "decode_source",
    "entry_point",
    "make_aftermath",
    "make_report",
    "measure_module",
    "picture",
    "plan_attacks",
    "print_report",
    "run_demo",
    "standard_library",
]
