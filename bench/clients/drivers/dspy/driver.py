"""dspy: signatures, objects, a ReAct agent, and a stream."""

import asyncio

import cells
from cells import cell, raised
from pydantic import BaseModel

# <configured>
import dspy

model = dspy.LM("openai/pool", api_base="http://127.0.0.1:7071/v1", api_key="none")
dspy.configure(lm=model)
# </configured>


class City(BaseModel):
    name: str
    people: int


def get_weather(city: str) -> str:
    """The weather in a city."""
    return cells.SUNNY


def other(name):
    return dspy.LM(f"openai/{name}", **model.kwargs)


@cell
def plain():
    return {"text": dspy.Predict("question -> answer")(question=cells.SKY).answer}


@cell
def stream():
    async def pieces():
        listener = dspy.streaming.StreamListener("answer")
        asking = dspy.streamify(dspy.Predict("question -> answer"), stream_listeners=[listener])
        return [piece.chunk async for piece in asking(question=cells.SEA) if hasattr(piece, "chunk")]

    said = asyncio.run(pieces())
    return {"text": "".join(said), "pieces": len(said)}


@cell
def structured():
    with dspy.context(adapter=dspy.JSONAdapter()):
        return {"value": dspy.Predict("question -> name: str, people: int")(question=cells.CITY).toDict()}


@cell
def tools():
    said = dspy.ReAct("question -> answer", tools=[get_weather])(question=cells.WEATHER)
    called = said.trajectory
    return {"call": called["tool_name_0"], "arguments": called["tool_args_0"], "text": said.answer}


@cell
def error():
    return {
        "missing": raised(lambda: other(cells.MISSING)(cells.SKY)),
        "broken": raised(lambda: other(cells.BROKEN)(cells.SKY)),
    }


@cell
def embeddings():
    embedder = dspy.Embedder(f"openai/{cells.EMBEDDER}", caching=False, **model.kwargs)
    return {"vectors": embedder(["the sky", "the sea"]).tolist()}


@cell
def images():
    picture = dspy.Image(f"data:image/png;base64,{cells.PNG}")
    said = dspy.Predict("picture: dspy.Image, question: str -> answer")(picture=picture, question=cells.PICTURE)
    return {"text": said.answer}
