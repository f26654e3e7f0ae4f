"""litellm by the three shapes."""

import asyncio

import cells
from cells import cell, raised
from pydantic import BaseModel

# <configured>
from litellm import acompletion, completion, embedding

pool = {"model": "openai/pool", "api_base": "http://127.0.0.1:7071/v1", "api_key": "none"}
by_ollama = {"model": "ollama_chat/pool", "api_base": "http://127.0.0.1:7071"}
by_anthropic = {"model": "anthropic/pool", "api_base": "http://127.0.0.1:7071", "api_key": "none"}
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
    return {"text": completion(**pool, messages=says(cells.SKY)).choices[0].message.content}


@cell
def ollama_chat():
    return {"text": completion(**by_ollama, messages=says(cells.SKY)).choices[0].message.content}


@cell
def anthropic_chat():
    return {"text": completion(**by_anthropic, messages=says(cells.SKY)).choices[0].message.content}


@cell
def stream():
    chunks = completion(**pool, messages=says(cells.SEA), stream=True)
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].delta.content]
    return {"text": "".join(pieces), "pieces": len(pieces)}


@cell
def structured():
    chat = completion(**pool, messages=says(cells.CITY), response_format=City)
    return {"value": City.model_validate_json(chat.choices[0].message.content).model_dump()}


@cell
def tools():
    messages = says(cells.WEATHER)
    message = completion(**pool, messages=messages, tools=[TOOL]).choices[0].message
    (call,) = message.tool_calls
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": cells.SUNNY}]
    said = completion(**pool, messages=messages, tools=[TOOL]).choices[0].message.content
    return {"call": call.function.name, "arguments": call.function.arguments, "text": said}


@cell
def error():
    def ask(name):
        return completion(**pool | {"model": f"openai/{name}"}, messages=says(cells.SKY))

    return {"missing": raised(lambda: ask(cells.MISSING)), "broken": raised(lambda: ask(cells.BROKEN))}


@cell
def embeddings():
    asked = pool | {"model": f"openai/{cells.EMBEDDER}"}
    listed = embedding(**asked, input=["the sky", "the sea"]).data
    return {"vectors": [item["embedding"] for item in listed]}


@cell
def thinking():
    message = completion(**pool, messages=says(cells.WHY)).choices[0].message
    return {"text": message.content, "thought": message.reasoning_content}


@cell
def images():
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{cells.PNG}"}}
    asked = [{"type": "text", "text": cells.PICTURE}, picture]
    return {"text": completion(**pool, messages=says(asked)).choices[0].message.content}


@cell
def leave():
    async def begin():
        chunks = await acompletion(**pool, messages=says(cells.ENDLESS), stream=True)
        async for _ in chunks:
            break
        left = cells.now()
        await chunks.aclose()
        await asyncio.sleep(0.3)
        return left

    return {"left": asyncio.run(begin())}
