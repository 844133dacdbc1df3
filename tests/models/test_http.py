"""Model nodes over real HTTP: what is asked, what comes of the answer, and of everything that may go wrong."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from propolis import Backoff, Placement, Runtime
from propolis.messages import Event, ExecutionResult, Failure

from ..runtime.support import PATIENCE, until
from .conftest import opened
from .graphs import Verdict, asking, deciding
from .provider import Provider, Reply

NO_CHOICES = '{"id": "c1", "object": "chat.completion", "created": 1, "model": "stub-1", "choices": []}'
FAST = Backoff(initial=0.001, maximum=0.002)


def failure_of(result: ExecutionResult) -> Failure:
    """What it failed with."""
    assert result.failure is not None, result
    return result.failure


def said(request: dict[str, Any]) -> list[tuple[str, str]]:
    """Who says what in a request."""
    return [(message["role"], message["content"]) for message in request["messages"]]


@pytest.mark.parametrize("placement", [Placement.asyncio(), Placement.thread()], ids=["asyncio", "thread"])
def test_the_prompt_has_its_inputs_and_the_answer_is_the_output(
    runtime: Runtime, provider: Provider, placement: Placement
) -> None:
    """On either kind of event loop; what the prompt does not name follows it, and the graph's identity comes first."""
    provider.replies = [Reply("good day")]
    graph = asking(input_keys=["name", "mood"], identity_prompt="You are a clerk.")
    stream = opened(runtime, graph, provider, placement=placement)
    result = stream.run({"name": "Ada", "mood": "glad"}).get(timeout=PATIENCE)
    assert ({"text": "good day "}, 10) == (result.output, result.total_tokens), result
    (request,) = provider.requests
    assert [("system", "You are a clerk."), ("user", "Answer Ada\n\nmood: glad")] == said(request)
    assert ("stub-1", True) == (request["model"], request["stream"])


def test_text_is_told_live_while_it_comes(runtime: Runtime, provider: Provider) -> None:
    """Of the node, and not stored: it has no number."""
    provider.replies = [Reply("one two three")]
    seen: list[Event] = []
    runtime.subscribe(["llm_text_delta"], seen.append).get(timeout=PATIENCE)
    opened(runtime, asking(), provider).run({"name": "Ada"}).get(timeout=PATIENCE)
    until(lambda: len(seen) == 3)
    assert [("ask", "one ", None), ("ask", "two ", None), ("ask", "three ", None)] == [
        (event.node_id, event.data["text"], event.seq) for event in seen
    ]


def test_without_streaming_the_answer_is_the_same(runtime: Runtime, provider: Provider) -> None:
    """And whatever else is set gets to the provider."""
    provider.replies = [Reply("good day")]
    graph = asking(settings={"stream": False, "temperature": 0.5}, loop_config={"temperature": 1, "max_tokens": 9})
    assert {"text": "good day"} == opened(runtime, graph, provider).run({"name": "Ada"}).get(timeout=PATIENCE).output
    (request,) = provider.requests
    assert (0.5, 9) == (request["temperature"], request.get("max_completion_tokens", request.get("max_tokens")))


def test_a_model_of_the_users_is_what_the_answer_has_to_be(runtime: Runtime, provider: Provider) -> None:
    """One that is not is shown to the model, once; its second answer counts."""
    provider.replies = [
        Reply(tool=("final_result", {"label": "weather"})),
        Reply(tool=("final_result", {"label": "refund", "urgent": True})),
    ]
    graph = asking(output_keys=[], output_model=Verdict)
    result = opened(runtime, graph, provider).run({"name": "Ada"}).get(timeout=PATIENCE)
    assert ({"label": "refund", "urgent": True}, 20) == (result.output, result.total_tokens)
    assert "label" in str(provider.requests[1]["messages"][-1])


def test_an_answer_that_never_fits_is_a_failure_and_another_try_asks_anew(runtime: Runtime, provider: Provider) -> None:
    """What has been recorded of the bad ones is forgotten, or another try would be given them again."""
    bad, good = Reply(tool=("final_result", {"label": "?"})), Reply(tool=("final_result", {"label": "question"}))
    provider.replies = [bad, bad, good]
    graph = asking(output_keys=[], output_model=Verdict, retries=1, backoff=FAST)
    result = opened(runtime, graph, provider).run({"name": "Ada"}).get(timeout=PATIENCE)
    assert ("question", 1, 3) == (result.output["label"], result.total_retries, len(provider.requests))

    provider.replies = [bad]
    failed = opened(runtime, asking(output_keys=[], output_model=Verdict), provider, id="b").run({"name": "B"})
    failure = failure_of(failed.get(timeout=PATIENCE))
    assert ("model_answer_invalid", True) == (failure.code, failure.retryable)
    assert "Node 'ask'" in failure.message


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(status=429, headers={"retry-after-ms": "200"}), "model_rate_limited"),
        (Reply(status=500), "model_unavailable"),
        (Reply(status=503), "model_unavailable"),
        (Reply("a cut answer", cut=True), "model_unavailable"),
        (Reply(raw="<html>gateway</html>"), "model_answer_invalid"),
        (Reply(raw='{"id": 1}'), "model_answer_invalid"),
        (Reply(raw=""), "model_answer_invalid"),
        (Reply(raw=NO_CHOICES), "model_answer_invalid"),
        (Reply("half of a character: \ud83d"), "model_answer_invalid"),
        (
            Reply(raw='data: {"id": "c1", "cho\n\n', headers={"content-type": "text/event-stream"}),
            "model_answer_invalid",
        ),
        (Reply(status=401), "model_refused"),
        (Reply(status=404), "model_refused"),
    ],
    ids=[
        "429",
        "500",
        "503",
        "cut",
        "html",
        "another object",
        "empty",
        "no choices",
        "half of a character",
        "half of a chunk",
        "401",
        "404",
    ],
)
def test_a_fault_of_the_provider_is_a_failure_that_names_the_node(
    runtime: Runtime, provider: Provider, reply: Reply, code: str
) -> None:
    """A typed one; the client's own retries are off, so the provider was asked once."""
    provider.replies = [reply]
    result = opened(runtime, asking(), provider).run({"name": "A"}).get(timeout=PATIENCE)
    failure = failure_of(result)
    assert (code, 1) == (failure.code, len(provider.requests)), failure
    assert "Node 'ask'" in failure.message
    assert (code != "model_refused") == failure.retryable
    assert failure.details is not None
    assert "ask" == failure.details.value()["node_id"]


def test_a_stream_that_ends_too_early_is_no_answer(runtime: Runtime, provider: Provider) -> None:
    """Though the connection was closed in an orderly way: half of a text is worse than none."""
    provider.replies = [Reply("an answer that has no end", endless=True)]
    result = opened(runtime, asking(), provider).run({"name": "A"}).get(timeout=PATIENCE)
    assert "model_unavailable" == failure_of(result).code


def test_a_fault_that_passes_is_tried_again_by_the_nodes_retries(runtime: Runtime, provider: Provider) -> None:
    """And not before the provider wants to be asked again."""
    provider.replies = [Reply(status=429, headers={"retry-after-ms": "200"}), Reply(status=500), Reply("at last")]
    seen: list[Event] = []
    runtime.subscribe(["node_retry"], seen.append).get(timeout=PATIENCE)
    result = opened(runtime, asking(retries=2, backoff=FAST), provider).run({"name": "A"}).get(timeout=PATIENCE)
    assert ({"text": "at last "}, 2, 3) == (result.output, result.total_retries, len(provider.requests))
    until(lambda: len(seen) == 2)
    first, second = (event.data["after"] for event in seen)
    assert first >= 0.2 > second


def test_a_refusal_is_not_tried_again(runtime: Runtime, provider: Provider) -> None:
    """However many tries there are."""
    provider.replies = [Reply(status=401)]
    opened(runtime, asking(retries=5, backoff=FAST), provider).run({"name": "A"}).get(timeout=PATIENCE)
    assert 1 == len(provider.requests)


def test_a_provider_that_takes_too_long_is_the_nodes_timeout(runtime: Runtime, provider: Provider) -> None:
    """Whether it is slow to begin, or not there at all."""
    held = threading.Event()
    provider.replies = [Reply("late", held=held)]
    try:
        result = opened(runtime, asking(timeout=0.3), provider).run({"name": "A"}).get(timeout=PATIENCE)
    finally:
        held.set()
    failure = failure_of(result)
    assert ("node_timed_out", True) == (failure.code, failure.retryable)
    assert "Node 'ask'" in failure.message


def test_nobody_at_the_address_is_unavailable(runtime: Runtime, provider: Provider) -> None:
    """A refused connection."""
    provider.base_url = "http://127.0.0.1:9/v1"
    result = opened(runtime, asking(), provider).run({"name": "A"}).get(timeout=PATIENCE)
    assert "model_unavailable" == failure_of(result).code


def test_a_cancel_ends_a_request_that_is_under_way(runtime: Runtime, provider: Provider) -> None:
    """At once, as any other await."""
    held = threading.Event()
    provider.replies = [Reply("late", held=held)]
    try:
        stream = opened(runtime, asking(), provider)
        execution_id = stream.execute({"name": "A"}).get(timeout=PATIENCE)
        assert provider.came.acquire(timeout=PATIENCE)
        outcome = stream.cancel_execution(execution_id, grace=PATIENCE).get(timeout=PATIENCE)
    finally:
        held.set()
    assert "cancelled" == outcome.outcome


@pytest.mark.parametrize("target", ["left", "right"])
def test_a_model_decides_which_edge_is_taken(runtime: Runtime, provider: Provider, target: str) -> None:
    """It gets their ids and descriptions, and answers with an id."""
    provider.replies = [Reply("tea, please"), Reply(tool=("final_result", {"edge": f"ask->{target}"}))]
    result = opened(runtime, deciding(), provider).run({"text": "hello"}).get(timeout=PATIENCE)
    assert (("ask", target), 20) == (result.path, result.total_tokens), result
    asked = said(provider.requests[1])[-1][1]
    assert "- ask->left: when it is about tea" in asked
    assert "summary: tea, please" in asked


def test_an_edge_that_there_is_not_is_no_answer(runtime: Runtime, provider: Provider) -> None:
    """The model is told so, and after that it is a failure."""
    provider.replies = [Reply("tea"), Reply(tool=("final_result", {"edge": "ask->moon"}))]
    result = opened(runtime, deciding(), provider).run({"text": "hello"}).get(timeout=PATIENCE)
    assert ("model_answer_invalid", 3) == (failure_of(result).code, len(provider.requests))
