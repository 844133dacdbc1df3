"""Executors by name: what another process can import, and what it cannot."""

from __future__ import annotations

import importlib
import os
import sys
import types
from typing import Any

from propolis.messages import ExecutorNotImportable

__all__ = ["file_of", "import_name", "name_of_import"]


def name_of_import(thing: Any, what: str | None = None) -> str:
    """`module:qualname` of a function, a class, or an object at the top level of a module, which another process can
    import.

    Raises:
        ExecutorNotImportable: it is a lambda, a closure, of `__main__`, or not to be found under its own name, or under
            any. `what` names it in the error.
    """
    qualname: Any = getattr(thing, "__qualname__", None)
    module: Any = getattr(thing, "__module__", None)
    shown = what or (f"{module}.{qualname}" if module and qualname else f"{thing!r:.200}")

    def refuse(reason: str) -> ExecutorNotImportable:
        return ExecutorNotImportable(executor=shown, reason=reason)

    if not isinstance(thing, (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType)):
        if (name := _name_of_object(thing)) is not None:
            return name
        raise refuse(f"it is an object of {type(thing).__qualname__}, and no module has it under a name of its own")
    if reason := _why_nameless(qualname, module):
        raise refuse(reason)
    there = sys.modules.get(module)
    if there is None or getattr(there, "__spec__", None) is None:
        raise refuse(f"module {module} was not imported, but made up")
    found: Any = there
    for part in qualname.split("."):
        found = getattr(found, part, None)
    if found is thing or (isinstance(thing, types.MethodType) and found == thing):
        return f"{module}:{qualname}"
    if (name := _name_of_object(thing)) is not None:  # what a decorator made of another one, under a name of its own
        return name
    if isinstance(thing, types.MethodType):
        raise refuse("it is a method of one object, which no other process has")
    raise refuse(f"{qualname} of module {module} is something else: {found!r:.100}")


def _why_nameless(qualname: Any, module: Any) -> str | None:
    if not isinstance(qualname, str) or not isinstance(module, str):
        return "it has no name or no module"
    if "<lambda>" in qualname:
        return "a lambda has no name"
    if "<locals>" in qualname:
        return "it is defined inside a function, which would have to run first"
    if module == "__main__":
        return "the script that was started is another module in every other process"
    return None


def _name_of_object(thing: Any) -> str | None:
    for module, there in list(sys.modules.items()):
        imported = isinstance(there, types.ModuleType) and getattr(there, "__spec__", None) is not None
        if imported and module != "__main__":
            for name, value in list(vars(there).items()):
                if value is thing:
                    return f"{module}:{name}"
    return None


def file_of(name: str) -> str | None:
    """The file of the module in such a name; None for a builtin one."""
    path = getattr(sys.modules.get(name.partition(":")[0]), "__file__", None)
    return None if path is None else os.path.realpath(path)


def import_name(name: str, file: str | None = None) -> Any:
    """What stands under `module:qualname`; `file` is where the module has to be from.

    Raises:
        ExecutorNotImportable: there is nothing, or another module is found under the name.
        BaseException: what the module raises while it is imported.
    """
    module, _, qualname = name.partition(":")
    found: Any = importlib.import_module(module)
    here = getattr(found, "__file__", None)
    if file is not None and (here is None or os.path.realpath(here) != file):
        reason = f"module {module} is {here} in the worker, and {file} in the runtime"
        raise ExecutorNotImportable(executor=name, reason=reason)
    for part in qualname.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            reason = f"module {module} has no {qualname} when the worker imports it"
            raise ExecutorNotImportable(executor=name, reason=reason) from None
    return found
