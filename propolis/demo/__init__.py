"""The demo: an audit of the running Python's own standard library, an execution for every module."""

from .audit import audit, entry_point
from .board import Board, Snapshot
from .catalogue import Module, catalogue, standard_library
from .measure import ModuleMeasures, decode_source, measure_module
from .printing import print_report
from .report import Report, make_report
from .run import Interrupted, run_demo
from .view import LiveView, PlainView, View, picture

__all__ = [
    "Board",
    "Interrupted",
    "LiveView",
    "Module",
    "ModuleMeasures",
    "PlainView",
    "Report",
    "Snapshot",
    "View",
    "audit",
    "catalogue",
    "decode_source",
    "entry_point",
    "make_report",
    "measure_module",
    "picture",
    "print_report",
    "run_demo",
    "standard_library",
]
