"""What a user writes: executors, and the context that they get."""

from .attempt import Attempt, Beginning
from .blocking import BlockingRun
from .context import Context, Memory, SyncContext, SyncMemory
from .outcomes import Done
from .protocol import Executor, ExecutorPlan, is_coroutine_function, plan_executor
from .signals import Cancelled, Parked, Paused, Unwind

__all__ = [
    "Attempt",
    "Beginning",
    "BlockingRun",
    "Cancelled",
    "Context",
    "Done",
    "Executor",
    "ExecutorPlan",
    "Memory",
    "Parked",
    "Paused",
    "SyncContext",
    "SyncMemory",
    "Unwind",
    "is_coroutine_function",
    "plan_executor",
]
