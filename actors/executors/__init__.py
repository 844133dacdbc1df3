"""What a user writes: executors, and the context that they get."""

from .attempt import Attempt, Beginning
from .blocking import BlockingRun
from .calling import AsyncCalling
from .context import Context, SyncContext
from .forms import check_answer
from .outcomes import Done
from .protocol import Executor, ExecutorPlan, announced, is_coroutine_function, plan_executor, prepared
from .remembering import Memory, SyncMemory
from .signals import Cancelled, Parked, Paused, Unwind
from .whose import belongs_to, ids_here

__all__ = [
    "AsyncCalling",
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
    "announced",
    "belongs_to",
    "check_answer",
    "ids_here",
    "is_coroutine_function",
    "plan_executor",
    "prepared",
]
