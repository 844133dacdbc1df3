"""A whole runtime, or several, in one thread at a time, in an order drawn from a seed."""

from .checks import Row, Violation
from .faults import CALM, Faults
from .simulation import ActorCrash, Simulation
from .world import Stuck

__all__ = ["ActorCrash", "CALM", "Faults", "Row", "Simulation", "Stuck", "Violation"]
