"""For tests, ours and yours: a clock held still, actors without threads, probes, stores that fail, leak checks."""

from .clock import ManualHost
from .failing import FailingStore, HeldCommit
from .inline import InlineLoop
from .leaks import Leaked, no_leaks
from .probe import Probe

__all__ = [
    "FailingStore",
    "HeldCommit",
    "InlineLoop",
    "Leaked",
    "ManualHost",
    "Probe",
    "no_leaks",
]
