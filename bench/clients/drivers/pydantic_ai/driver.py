"""pydantic-ai."""

import asyncio
import base64

import cells
from cells import cell, raised
from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, Embedder, ToolOutput
from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel
from pydantic_ai.messages import ThinkingPart, ToolCallPart

# <configured>
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

provider = OpenAIProvider(base_url="http://127.0.0.1:7071/v1", api_key="none")
model = OpenAIChatModel("pool", provider=provider)
# </configured>


class City(BaseModel):
    """A city."""

    name: str
    people: int


def parts(result, kind):
    return [part for message in result.all_messages() for part in message.parts if isinstance(part, kind)]


def other(name):
    return Agent(OpenAIChatModel(name, provider=provider))


@cell
def plain():
    return {"text": Agent(model).run_sync(cells.SKY).output}


@cell
def stream():
    async def pieces():
        async with Agent(model).run_stream(cells.SEA) as result:
            return [piece async for piece in result.stream_text(delta=True, debounce_by=None)]

    said = asyncio.run(pieces())
    return {"text": "".join(said), "pieces": len(said)}


@cell
def structured():
    return {"value": Agent(model, output_type=ToolOutput(City)).run_sync(cells.CITY).output.model_dump()}


@cell
def tools():
    agent = Agent(model)

    @agent.tool_plain
    def get_weather(city: str) -> str:
        """The weather in a city."""
        return cells.SUNNY

    result = agent.run_sync(cells.WEATHER)
    (call,) = parts(result, ToolCallPart)
    return {"call": call.tool_name, "arguments": call.args_as_dict(), "text": result.output}


@cell
def error():
    return {
        "missing": raised(lambda: other(cells.MISSING).run_sync(cells.SKY)),
        "broken": raised(lambda: other(cells.BROKEN).run_sync(cells.SKY)),
    }


@cell
def embeddings():
    embedder = Embedder(OpenAIEmbeddingModel(cells.EMBEDDER, provider=provider))
    return {"vectors": [list(found) for found in embedder.embed_documents_sync(["the sky", "the sea"]).embeddings]}


@cell
def thinking():
    result = Agent(model).run_sync(cells.WHY)
    return {"text": result.output, "thought": parts(result, ThinkingPart)[0].content}


@cell
def images():
    picture = BinaryContent(base64.b64decode(cells.PNG), media_type="image/png")
    return {"text": Agent(model).run_sync([cells.PICTURE, picture]).output}


@cell
def leave():
    async def begin():
        async with Agent(model).run_stream(cells.ENDLESS) as result:
            async for _ in result.stream_text(delta=True, debounce_by=None):
                break
            left = cells.now()
        await asyncio.sleep(0.3)
        return left

    return {"left": asyncio.run(begin())}
