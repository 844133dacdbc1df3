"""Models of which only the name is known: enough to look at a graph, not to run it."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, create_model

__all__ = ["UnknownModel", "name_of", "stand_in"]


class UnknownModel(BaseModel):
    """Stands for a model until `resolve_graph` has looked it up: which fields it has nobody knows."""

    named: ClassVar[str] = ""


def stand_in(name: str) -> type[UnknownModel]:
    """For the model of that name."""
    made = create_model("Unknown", __base__=UnknownModel)
    made.named = name
    return made


def name_of(model: type[BaseModel] | None) -> str | None:
    """The name of a model of which no more is known."""
    return model.named if model is not None and issubclass(model, UnknownModel) else None
