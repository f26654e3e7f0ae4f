"""The openai package: chat, responses and embeddings."""

import cells
from cells import cell, raised
from pydantic import BaseModel

# <configured>
from openai import OpenAI

client = OpenAI(base_url="http://127.0.0.1:7071/v1", api_key="none")
# </configured>

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class City(BaseModel):
    name: str
    people: int


def says(text):
    return [{"role": "user", "content": text}]


@cell
def plain():
    chat = client.chat.completions.create(model="pool", messages=says(cells.SKY))
    return {"text": chat.choices[0].message.content}


@cell
def responses():
    response = client.responses.create(model="pool", input=cells.SKY)
    with client.responses.stream(model="pool", input=cells.SEA) as stream:
        pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
    return {"text": response.output_text, "streamed": "".join(pieces), "pieces": len(pieces)}


@cell
def stream():
    stream = client.chat.completions.create(model="pool", messages=says(cells.SEA), stream=True)
    pieces = [chunk.choices[0].delta.content for chunk in stream if chunk.choices[0].delta.content]
    return {"text": "".join(pieces), "pieces": len(pieces)}


@cell
def structured():
    chat = client.chat.completions.parse(model="pool", messages=says(cells.CITY), response_format=City)
    return {"value": chat.choices[0].message.parsed.model_dump()}


@cell
def tools():
    messages = says(cells.WEATHER)
    message = client.chat.completions.create(model="pool", messages=messages, tools=[TOOL]).choices[0].message
    (call,) = message.tool_calls
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": cells.SUNNY}]
    chat = client.chat.completions.create(model="pool", messages=messages, tools=[TOOL])
    return {
        "call": call.function.name,
        "arguments": call.function.arguments,
        "text": chat.choices[0].message.content,
    }


@cell
def error():
    return {
        "missing": raised(lambda: client.chat.completions.create(model=cells.MISSING, messages=says(cells.SKY))),
        "broken": raised(lambda: client.chat.completions.create(model=cells.BROKEN, messages=says(cells.SKY))),
    }


@cell
def embeddings():
    listed = client.embeddings.create(model=cells.EMBEDDER, input=["the sky", "the sea"])
    return {"vectors": [item.embedding for item in listed.data]}


@cell
def thinking():
    chat = client.chat.completions.create(model="pool", messages=says(cells.WHY), reasoning_effort="low")
    message = chat.choices[0].message
    return {"text": message.content, "thought": message.reasoning_content}


@cell
def images():
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{cells.PNG}"}}
    asked = [{"type": "text", "text": cells.PICTURE}, picture]
    chat = client.chat.completions.create(model="pool", messages=[{"role": "user", "content": asked}])
    return {"text": chat.choices[0].message.content}


@cell
def leave():
    stream = client.chat.completions.create(model="pool", messages=says(cells.ENDLESS), stream=True)
    next(iter(stream))
    left = cells.now()
    stream.close()
    return {"left": left}
