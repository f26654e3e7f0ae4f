"""Models named in the program, without a file, and many questions at once: ``python examples/models_in_code.py``."""

import asyncio

from llm_pool import AsyncPool, Ollama

MODELS = [Ollama("phi3:mini", weight=0.6), Ollama("llama3.1:8b")]
QUESTIONS = ["Is 17 prime?", "Is 18 prime?", "Is 19 prime?"]


async def main() -> None:
    """Ask everything together; the pool queues for each machine."""
    async with AsyncPool(providers=MODELS, settings={"ensemble": {"default_strategy": "VOTING"}}) as pool:
        answers = await asyncio.gather(*(pool.infer(question) for question in QUESTIONS), return_exceptions=True)
    for question, answer in zip(QUESTIONS, answers, strict=True):
        print(question, answer if isinstance(answer, BaseException) else answer.content)


asyncio.run(main())
