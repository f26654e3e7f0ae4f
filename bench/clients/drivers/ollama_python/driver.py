"""The ollama package."""

import base64

import cells
from cells import cell, raised
from pydantic import BaseModel

# <configured>
from ollama import Client

client = Client(host="http://127.0.0.1:7071")
# </configured>


class City(BaseModel):
    name: str
    people: int


def get_weather(city: str) -> str:
    """
    The weather.

    Args:
        city: where.
    """
    return cells.SUNNY


def says(text, **more):
    return [{"role": "user", "content": text, **more}]


@cell
def listing():
    names = [model.model for model in client.list().models]
    return {"names": names, "capabilities": client.show("pool").capabilities}


@cell
def plain():
    return {"text": client.chat(model="pool", messages=says(cells.SKY)).message.content}


@cell
def stream():
    parts = client.chat(model="pool", messages=says(cells.SEA), stream=True)
    pieces = [part.message.content for part in parts if part.message.content]
    return {"text": "".join(pieces), "pieces": len(pieces)}


@cell
def structured():
    chat = client.chat(model="pool", messages=says(cells.CITY), format=City.model_json_schema())
    return {"value": City.model_validate_json(chat.message.content).model_dump()}


@cell
def tools():
    messages = says(cells.WEATHER)
    message = client.chat(model="pool", messages=messages, tools=[get_weather]).message
    (call,) = message.tool_calls
    result = get_weather(**call.function.arguments)
    messages += [message, {"role": "tool", "tool_name": call.function.name, "content": result}]
    said = client.chat(model="pool", messages=messages, tools=[get_weather]).message.content
    return {"call": call.function.name, "arguments": dict(call.function.arguments), "text": said}


@cell
def error():
    return {
        "missing": raised(lambda: client.chat(model=cells.MISSING, messages=says(cells.SKY))),
        "broken": raised(lambda: client.chat(model=cells.BROKEN, messages=says(cells.SKY))),
    }


@cell
def embeddings():
    return {"vectors": client.embed(model=cells.EMBEDDER, input=["the sky", "the sea"]).embeddings}


@cell
def thinking():
    message = client.chat(model="pool", messages=says(cells.WHY), think=True).message
    return {"text": message.content, "thought": message.thinking}


@cell
def images():
    asked = says(cells.PICTURE, images=[base64.b64decode(cells.PNG)])
    return {"text": client.chat(model="pool", messages=asked).message.content}


@cell
def leave():
    parts = client.chat(model="pool", messages=says(cells.ENDLESS), stream=True)
    next(parts)
    left = cells.now()
    parts.close()
    return {"left": left}
