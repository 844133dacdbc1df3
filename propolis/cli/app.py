"""The command line itself: its commands, and how it ends."""

from __future__ import annotations

import functools
import sys
from importlib import metadata
from typing import Any

import click

from propolis.messages import InvalidInput, PropolisError

from .demo import demo
from .doctor import doctor, why
from .graph import graph
from .plain import echo
from .questions import answer, questions
from .sessions import sessions
from .shared import state
from .top import top

__all__ = ["main"]

NOT_WELL, BAD_USE, INTERRUPTED = 1, 2, 130


class CommandLine(click.Group):
    """A group whose errors are one line on stderr: status 1 for not found or not well, 2 for bad use."""

    def main(self, *args: Any, standalone_mode: bool = True, **options: Any) -> Any:
        """As click's; ends the process unless `standalone_mode` is off."""
        run = functools.partial(super().main, *args, standalone_mode=False, **options)
        if not standalone_mode:
            return run()
        status: Any = None
        try:
            status = run()
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx is not None else "propolis"
            _end(f"{error.format_message()} See {command} --help.", error.exit_code)
        except click.ClickException as error:
            _end(error.format_message(), error.exit_code)
        except PropolisError as error:
            _end(str(error), BAD_USE if isinstance(error, InvalidInput) else NOT_WELL)
        except OSError as error:
            _end(str(error), NOT_WELL)
        except UnicodeEncodeError as error:  # an argument, with bytes of a terminal that are no UTF-8
            _end(f"{error.object!r:.200} is not valid Unicode. Pass text.", BAD_USE)
        except (click.Abort, KeyboardInterrupt):
            _end("Interrupted.", INTERRUPTED)
        sys.exit(status if isinstance(status, int) else 0)


def _end(message: str, status: int) -> None:
    echo(f"propolis: {' '.join(message.split())}", err=True)
    sys.exit(status)


@click.group(cls=CommandLine, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(metadata.version("propolis"), prog_name="propolis")
@click.pass_context
def main(context: click.Context) -> None:
    """Supervised, durable executions of your own code: look at what was recorded, or see a demo."""
    if not context.invoked_subcommand:
        echo(context.get_help())


main.add_command(demo)
main.add_command(doctor)
main.add_command(graph)
main.add_command(sessions)
main.add_command(questions)
main.add_command(answer)
main.add_command(state)
main.add_command(top)
main.add_command(why)
