"""Decisions and goals: two streams sort tickets and pay refunds, and one goal says how well they do it together.

Run it: at first the sorting misses a word, and the goal asks for an adjustment; with that made it is achieved.
"""

import asyncio
from typing import Any

from propolis import Constraint, Context, EntryPoint, Goal, Runtime, SuccessCriterion, measure
from propolis.messages import Event

WORDS = ["broken"]
"""By which a ticket is known to want its money back."""


def is_polite(output: Any) -> bool:
    """A predicate. A judge that asks a model looks the same: an `async def` that returns a number from 0 to 1."""
    return "thank you" in output["reply"].lower()


def is_small(decision: Any) -> bool:
    return decision["intent"] != "refund" or decision["chosen"] <= 100


GOAL = Goal(
    id="happy-customers",
    success_criteria=[
        SuccessCriterion(id="sorted", kind="success_rate", at_least=0.75, min_observations=3, weight=3.0),
        SuccessCriterion(id="polite", kind="predicate", check=is_polite, at_least=0.9),
    ],
    constraints=[Constraint(id="small-refunds", kind="soft", on="decision", check=is_small, weight=0.4)],
)


async def sort_ticket(ctx: Context, ticket: dict[str, str]) -> dict[str, str]:
    label = "refund" if any(word in ticket["text"] for word in WORDS) else "question"
    decision = await ctx.decide(intent="label", options=["refund", "question"], chosen=label, reasoning="its words")
    await ctx.record_outcome(decision, success=label == ticket["truth"], tokens=len(ticket["text"]))
    return {"label": label, "reply": "Thank you, we are at it."}


async def pay_refund(ctx: Context, euros: int) -> dict[str, str]:
    decision = await ctx.decide(intent="refund", chosen=euros)
    if euros > 100:
        await ctx.report_problem("warning", f"{euros} is a lot", decision_id=decision, suggested_fix="ask somebody")
    return {"reply": f"Here are {euros} EUR. Thank you for telling us."}


async def main() -> None:
    async with Runtime() as runtime:
        tickets = await runtime.open_stream(EntryPoint(id="tickets"), sort_ticket, goal=GOAL)
        refunds = await runtime.open_stream(EntryPoint(id="refunds"), pay_refund, goal=GOAL)
        following, recorded = runtime.events(0), list[Event]()

        async def follow(type: str, count: int) -> None:
            """Until so many events of a type have been recorded: a verdict comes a moment after what it is about."""
            while sum(event.type == type for event in recorded) < count:
                recorded.append(await anext(following))

        await asyncio.gather(
            *(tickets.run({"text": text, "truth": "refund"}) for text in ("broken", "defect", "defect"))
        )
        await follow("goal_verdict", 6)
        progress = await runtime.goal_progress("happy-customers")
        print(f"score {progress.score:.2f}, {progress.recommendation}: {progress.reasons[0]}")

        WORDS.append("defect")
        await asyncio.gather(*(tickets.run({"text": text, "truth": "refund"}) for text in ("broken", "defect") * 3))
        await asyncio.gather(*(refunds.run(euros) for euros in (20, 50, 400)))
        await follow("goal_verdict", 24)
        progress = await runtime.goal_progress("happy-customers")
        print(f"score {progress.score:.2f}, {progress.recommendation}: {progress.success_rate:.0%} sorted well")
        print(f"too large: {progress.constraints[0].broken} of {progress.constraints[0].observed} decisions")

        await follow("goal_achieved", 1)
        print(f"measured without a runtime: score {measure(GOAL, recorded).score:.2f}")


if __name__ == "__main__":
    asyncio.run(main())
