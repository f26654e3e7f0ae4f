"""The anthropic package."""

import cells
from cells import cell, raised
from pydantic import BaseModel

# <configured>
from anthropic import Anthropic

client = Anthropic(base_url="http://127.0.0.1:7071", api_key="none")
# </configured>

TOOL = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


class City(BaseModel):
    name: str
    people: int


def says(content):
    return {"model": "pool", "max_tokens": 500, "messages": [{"role": "user", "content": content}]}


def blocks(message, kind):
    return [block for block in message.content if block.type == kind]


@cell
def plain():
    return {"text": client.messages.create(**says(cells.SKY)).content[0].text}


@cell
def stream():
    with client.messages.stream(**says(cells.SEA)) as stream:
        pieces = list(stream.text_stream)
    return {"text": "".join(pieces), "pieces": len(pieces)}


@cell
def structured():
    message = client.messages.parse(**says(cells.CITY), output_format=City)
    return {"value": message.parsed_output.model_dump()}


@cell
def tools():
    asked = says(cells.WEATHER) | {"tools": [TOOL]}
    message = client.messages.create(**asked)
    (use,) = blocks(message, "tool_use")
    result = {"type": "tool_result", "tool_use_id": use.id, "content": cells.SUNNY}
    turns = [{"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]
    said = client.messages.create(**asked | {"messages": asked["messages"] + turns})
    return {"call": use.name, "arguments": use.input, "text": said.content[0].text}


@cell
def error():
    return {
        "missing": raised(lambda: client.messages.create(**says(cells.SKY) | {"model": cells.MISSING})),
        "broken": raised(lambda: client.messages.create(**says(cells.SKY) | {"model": cells.BROKEN})),
    }


@cell
def thinking():
    asked = says(cells.WHY) | {"max_tokens": 4000}
    message = client.messages.create(**asked, thinking={"type": "enabled", "budget_tokens": 2000})
    return {"text": blocks(message, "text")[0].text, "thought": blocks(message, "thinking")[0].thinking}


@cell
def images():
    source = {"type": "base64", "media_type": "image/png", "data": cells.PNG}
    content = [{"type": "image", "source": source}, {"type": "text", "text": cells.PICTURE}]
    return {"text": client.messages.create(**says(content)).content[0].text}


@cell
def leave():
    with client.messages.stream(**says(cells.ENDLESS)) as stream:
        next(stream.text_stream)
        left = cells.now()
    return {"left": left}
