"""The machinery: actors on one event loop, supervision, streams and executions, placements, stores."""

from .checkpointing import CheckpointConfig
from .config import RuntimeConfig
from .core import (
    LATER,
    ActorLoop,
    AsyncioActor,
    Cell,
    Envelope,
    Handlers,
    Ref,
    Reply,
    ask,
    default_loop,
    on_actor_loop,
    wait_by,
    wait_for,
)
from .crash_points import CRASH_POINTS, CrashPoint
from .executors import (
    Cancelled,
    Context,
    Done,
    Executor,
    Memory,
    Parked,
    Paused,
    SyncContext,
    SyncMemory,
    Unwind,
    check_answer,
    is_coroutine_function,
)
from .host import Fairness, Host, Job, LoopOwner, Worker
from .peers import is_running, process_started
from .placements import AsyncioPlacement, Launched, Launcher, ProcessPlacement, ThreadPlacement, rss_of
from .records import (
    EventActor,
    HandlerSubscriber,
    QueueSubscriber,
    RefSubscriber,
    SessionActor,
    StoreThreads,
    Subscriber,
)
from .root import OpenedStream, RuntimeActor
from .services import Services
from .specs import Backoff, EntryPoint, Intensity, Placement, RestartPolicy, StreamPolicy
from .stores import Store, open_store
from .streams import Books, ExecutionActor, StreamActor, StreamPlan
from .supervision import Supervisor
from .wakeup import WakeupActor

__all__ = [
    "ActorLoop",
    "AsyncioActor",
    "AsyncioPlacement",
    "Backoff",
    "Books",
    "CRASH_POINTS",
    "Cancelled",
    "Cell",
    "CheckpointConfig",
    "Context",
    "CrashPoint",
    "Done",
    "EntryPoint",
    "Envelope",
    "EventActor",
    "ExecutionActor",
    "Executor",
    "Fairness",
    "HandlerSubscriber",
    "Handlers",
    "Host",
    "Intensity",
    "Job",
    "LATER",
    "Launched",
    "Launcher",
    "LoopOwner",
    "Memory",
    "OpenedStream",
    "Parked",
    "Paused",
    "Placement",
    "ProcessPlacement",
    "QueueSubscriber",
    "Ref",
    "RefSubscriber",
    "Reply",
    "RestartPolicy",
    "RuntimeActor",
    "RuntimeConfig",
    "Services",
    "SessionActor",
    "Store",
    "StoreThreads",
    "StreamActor",
    "StreamPlan",
    "StreamPolicy",
    "Subscriber",
    "Supervisor",
    "SyncContext",
    "SyncMemory",
    "ThreadPlacement",
    "Unwind",
    "WakeupActor",
    "Worker",
    "ask",
    "check_answer",
    "default_loop",
    "is_coroutine_function",
    "is_running",
    "on_actor_loop",
    "open_store",
    "process_started",
    "rss_of",
    "wait_by",
    "wait_for",
]
