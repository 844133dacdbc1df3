"""Plain data from YAML, by PyYAML's safe loader: without aliases, and with every key once."""

from __future__ import annotations

import importlib
from typing import Any

from propolis.messages import InvalidInput

__all__ = ["read_yaml"]


def read_yaml(text: str) -> Any:
    """Dicts, lists and plain values.

    Aliases are refused: what a few lines can make of them has no bound. So is a key that stands twice in a mapping,
    where YAML would take the last one without a word.

    Raises:
        ValueError: it is no YAML, with line and column.
        InvalidInput: PyYAML is not installed.
    """
    try:
        yaml: Any = importlib.import_module("yaml")
    except ImportError:
        raise InvalidInput(
            what="a graph in YAML",
            reason="what reads YAML is not installed",
            remedy="Install it: pip install 'propolis[graph]'; or write the graph in JSON.",
        ) from None

    try:
        return yaml.load(text, _loader(yaml))
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    except RecursionError:
        raise ValueError("it nests too deep") from None
    except (AttributeError, LookupError, TypeError) as error:  # what PyYAML makes of `!!bool maybe`
        raise ValueError(f"a value is not of the kind that its tag says ({type(error).__name__}: {error})") from None


def _loader(yaml: Any) -> type:
    """SafeLoader, without aliases, and with every key once."""

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # found at run time
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.events.AliasEvent):
                event = self.peek_event()
                raise yaml.composer.ComposerError(None, None, "aliases are not taken here", event.start_mark)
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen = set()
            for key, _ in node.value:
                if not isinstance(key.value, str):
                    raise yaml.constructor.ConstructorError(None, None, "a key is no text", key.start_mark)
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is there twice", key.start_mark)
                seen.add(key.value)
            return super().construct_mapping(node, deep)

    return Loader
