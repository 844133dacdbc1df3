"""How often an actor of the system may crash before its supervisor gives up: a sliding window, as OTP's supervisor.

Erlang/OTP, "supervisor behaviour": if more than MaxR restarts occur in the last MaxT seconds, the supervisor
terminates. The window includes a crash that is exactly MaxT seconds old.
"""

from __future__ import annotations

from typing import NamedTuple

from ..specs import Intensity
from .policy import Escalate, Restart

__all__ = ["Crashed", "decide_system"]


class Crashed(NamedTuple):
    """What to do, and the crashes that still count, this one included: pass them in the next time."""

    decision: Restart | Escalate
    crashes: tuple[float, ...]


def decide_system(intensity: Intensity, crashes: tuple[float, ...], now: float) -> Crashed:
    """Restart, or escalate, after a crash at `now`. Pure.

    `crashes` are the times of earlier ones, oldest first, on the same monotonic clock as `now`.
    """
    window = (*(then for then in crashes if now - then <= intensity.within_seconds), now)
    if len(window) > intensity.max_restarts:
        reason = f"{len(window)} crashes within {intensity.within_seconds:g} s, {intensity.max_restarts} are allowed"
        return Crashed(Escalate(reason), window)
    return Crashed(Restart(intensity.backoff.delay(len(window), 0.5)), window)
