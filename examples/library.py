"""The pool inside a Python program: ``python examples/library.py``."""

import asyncio

from llm_pool import Query, StrategyName, open_app


async def main() -> None:
    """One plain question, then one that the models vote on."""
    async with open_app() as app:
        answer = await app.orchestrator.infer(Query(prompt="Name a colour of the sky."))
        print(answer.content)

        vote = await app.orchestrator.infer(Query(prompt="Is 17 prime?", strategy=StrategyName.VOTING))
        print(vote.winner, vote.decision.reason)


asyncio.run(main())
