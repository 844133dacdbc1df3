"""Models without a provider: a classifier that has learned from examples, and a writer of form letters.

They stand behind pydantic-ai's FunctionModel, so the graph asks them as it asks any other model, tools and structured
output included.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

EXAMPLES = {
    "refund": [
        "I want my money back", "please refund my order", "it arrived broken and I ask for a refund",
        "the spout is cracked, I would like to be paid back",
        "send me back what I paid", "I return it, refund me please",
        "it does not work and I want a refund", "take it back and return my money",
    ],
    "delivery": [
        "where is my parcel", "my order has not arrived yet", "when will it be delivered", "the tracking has not moved",
        "I am still waiting for the package", "has it been shipped", "it should have arrived last week",
        "the courier did not come",
    ],
    "product": [
        "how do I clean the teapot", "is it safe for the dishwasher", "how long should the tea steep in it",
        "does the spade fit a child", "how do I sharpen the shears", "which size is the lid", "can I use it on gas",
        "what is the handle made of",
    ],
    "other": [
        "thank you for the lovely card", "do you have a shop in Graz", "I would like to work for you",
        "please change my address", "are you open on Sunday", "I forgot my password", "do you give workshops",
        "I love your garden blog",
    ],
}  # fmt: skip


class Classifier:
    """Naive Bayes over words, with Laplace's smoothing."""

    def __init__(self, examples: dict[str, list[str]]) -> None:
        self._counts = {label: Counter(_words(" ".join(texts))) for label, texts in examples.items()}
        seen = Counter(word for counts in self._counts.values() for word in counts)
        self._known = {word for word, labels in seen.items() if labels <= 2}  # what stands everywhere says nothing

    def label_of(self, text: str) -> str:
        """The most likely one."""
        words = [word for word in _words(text) if word in self._known]
        return max(self._counts, key=lambda label: self._likelihood(label, words))

    def _likelihood(self, label: str, words: list[str]) -> float:
        counts = self._counts[label]
        total = sum(counts[word] for word in self._known) + len(self._known)
        return sum(math.log((counts[word] + 1) / total) for word in words)


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


PHRASES = {
    "refund": "thank you for telling us. I have looked at your order, which is {state}.",
    "delivery": "I have looked for your parcel: it is {state}.",
    "product": "good question. You find it in the leaflet that comes with it, and I enclose another one.",
    "other": "thank you for your letter. We have read it with pleasure, and will do what we can.",
}


def offline_models() -> dict[str, Any]:
    """Those that desk.yaml names."""
    classifier = Classifier(EXAMPLES)

    def sort(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        letter = _asked(messages).partition("\n\n")[2]
        return ModelResponse(parts=[ToolCallPart(info.output_tools[0].name, {"label": classifier.label_of(letter)})])

    def write(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        asked = _asked(messages)
        found = re.search(r"reply to (.+?)\. Their letter is about: (\w+)\. Their order is (\S+),", asked)
        assert found is not None, asked
        customer, label, order = found.groups()
        states = [part.content for part in messages[-1].parts if isinstance(part, ToolReturnPart)]
        if not states:
            return ModelResponse(parts=[ToolCallPart("order_status", {"order": order})])
        text = f"Dear {customer},\n\n{PHRASES[label].format(state=states[0])}"
        return ModelResponse(parts=[TextPart(text)])

    return {"sorter": FunctionModel(sort, model_name="sorter"), "writer": FunctionModel(write, model_name="writer")}


def _asked(messages: list[ModelMessage]) -> str:
    return next(str(part.content) for part in messages[0].parts if isinstance(part, UserPromptPart))
