"""Options that every command has in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ["json_option", "limit_option", "store_option"]

F = TypeVar("F", bound=Callable[..., Any])

store_option = click.option(
    "--store",
    default="sqlite:///propolis.db",
    envvar="PROPOLIS_STORE",
    show_envvar=True,
    show_default=True,
    metavar="URL",
    help="The store, as `Runtime` takes it: sqlite:///name.db, or sqlite:////folder/name.db.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def limit_option(what: str, default: int | None = None) -> Callable[[F], F]:
    """`--limit N`."""
    return click.option(
        "--limit", type=click.IntRange(min=1), default=default, show_default=default is not None, metavar="N", help=what
    )
