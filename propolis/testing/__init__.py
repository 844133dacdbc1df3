"""For tests, ours and yours: a clock held still, inline actors, probes, failing stores, crashes, leak checks."""

from .clock import ManualHost
from .crashing import crash_at
from .failing import FailingStore, HeldCommit
from .inline import InlineLoop
from .leaks import Leaked, no_leaks
from .probe import Probe
from .replaying import check_replay
from .simulation import CALM, Faults, Simulation, Stuck, Violation

__all__ = [
    "CALM",
    "FailingStore",
    "Faults",
    "HeldCommit",
    "InlineLoop",
    "Leaked",
    "ManualHost",
    "Probe",
    "Simulation",
    "Stuck",
    "Violation",
    "check_replay",
    "crash_at",
    "no_leaks",
]
