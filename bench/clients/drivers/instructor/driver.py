"""instructor: objects by a tool that must be called, by JSON Schema, and piece by piece."""

import cells
from cells import cell, raised
from pydantic import BaseModel

# <configured>
import instructor
from openai import OpenAI

server = OpenAI(base_url="http://127.0.0.1:7071/v1", api_key="none")
client = instructor.from_openai(server)
# </configured>


class City(BaseModel):
    name: str
    people: int


def says(text):
    return [{"role": "user", "content": text}]


@cell
def structured():
    return {"value": client.create(model="pool", messages=says(cells.CITY), response_model=City).model_dump()}


@cell
def json_schema():
    strict = instructor.from_openai(server, mode=instructor.Mode.JSON_SCHEMA)
    return {"value": strict.create(model="pool", messages=says(cells.CITY), response_model=City).model_dump()}


@cell
def stream():
    parts = list(client.create_partial(model="pool", messages=says(cells.CITY), response_model=City))
    return {"value": parts[-1].model_dump()}


@cell
def error():
    def ask(model):
        return client.create(model=model, messages=says(cells.SKY), response_model=City, max_retries=1)

    return {"missing": raised(lambda: ask(cells.MISSING)), "broken": raised(lambda: ask(cells.BROKEN))}
