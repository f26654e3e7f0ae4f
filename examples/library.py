"""The pool inside a Python program: ``python examples/library.py``."""

from dataclasses import dataclass

from llm_pool import Pool


@dataclass
class City:
    """What the models are asked for."""

    name: str
    country: str


with Pool() as pool:
    vote = pool.infer("Is 17 prime? Answer yes or no.", strategy="voting")
    print(vote.content, vote.winner, vote.decision.agreement)

    city = pool.infer("Name a city.", schema=City).value
    print(city.name, city.country)

    for piece in pool.stream("Name a colour of the sky."):
        print(piece, end="", flush=True)
    print()
