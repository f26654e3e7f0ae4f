"""LangChain by OpenAI's shape."""

import cells
from cells import cell, raised
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel

# <configured>
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

url = "http://127.0.0.1:7071/v1"
model = ChatOpenAI(base_url=url, api_key="none", model="pool")
embedder = OpenAIEmbeddings(base_url=url, api_key="none", model="nomic-embed-text", check_embedding_ctx_length=False)
# </configured>


class City(BaseModel):
    """A city."""

    name: str
    people: int


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return cells.SUNNY


def other(name):
    return ChatOpenAI(base_url=url, api_key="none", model=name)


@cell
def plain():
    return {"text": model.invoke(cells.SKY).text}


@cell
def stream():
    pieces = [piece.text for piece in model.stream(cells.SEA) if piece.text]
    return {"text": "".join(pieces), "pieces": len(pieces)}


@cell
def structured():
    return {"value": model.with_structured_output(City).invoke(cells.CITY).model_dump()}


@cell
def tools():
    able = model.bind_tools([get_weather])
    messages = [HumanMessage(cells.WEATHER)]
    message = able.invoke(messages)
    (call,) = message.tool_calls
    messages += [message, ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"])]
    return {"call": call["name"], "arguments": call["args"], "text": able.invoke(messages).text}


@cell
def error():
    return {
        "missing": raised(lambda: other(cells.MISSING).invoke(cells.SKY)),
        "broken": raised(lambda: other(cells.BROKEN).invoke(cells.SKY)),
    }


@cell
def embeddings():
    return {"vectors": embedder.embed_documents(["the sky", "the sea"])}


@cell
def images():
    picture = {"type": "image", "base64": cells.PNG, "mime_type": "image/png"}
    return {"text": model.invoke([HumanMessage([{"type": "text", "text": cells.PICTURE}, picture])]).text}


@cell
def leave():
    pieces = model.stream(cells.ENDLESS)
    next(piece for piece in pieces if piece.text)
    left = cells.now()
    pieces.close()
    return {"left": left}
