"""LlamaIndex by OpenAI's shape and by Ollama's."""

import cells
from cells import cell, raised
from llama_index.core.base.llms.types import ImageBlock, TextBlock
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

# <configured>
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.ollama import Ollama
from llama_index.llms.openai_like import OpenAILike

server = {"api_base": "http://127.0.0.1:7071/v1", "api_key": "none"}
model = OpenAILike(model="pool", is_chat_model=True, is_function_calling_model=True, **server)
embedder = OpenAILikeEmbedding(model_name="nomic-embed-text", **server)
ollama = Ollama(model="pool", base_url="http://127.0.0.1:7071")
# </configured>


class City(BaseModel):
    """A city."""

    name: str
    people: int


def get_weather(city: str) -> str:
    """The weather in a city."""
    return cells.SUNNY


def says(text):
    return [ChatMessage(role="user", content=text)]


def other(name):
    return OpenAILike(model=name, is_chat_model=True, **server)


@cell
def plain():
    return {"text": model.chat(says(cells.SKY)).message.content}


@cell
def ollama_chat():
    return {"text": ollama.chat(says(cells.SKY)).message.content}


@cell
def stream():
    pieces = [piece.delta for piece in model.stream_chat(says(cells.SEA)) if piece.delta]
    return {"text": "".join(pieces), "pieces": len(pieces)}


@cell
def structured():
    return {"value": model.as_structured_llm(City).chat(says(cells.CITY)).raw.model_dump()}


@cell
def tools():
    tool = FunctionTool.from_defaults(get_weather)
    history = says(cells.WEATHER)
    reply = model.chat_with_tools([tool], chat_history=history)
    (call,) = model.get_tool_calls_from_response(reply)
    result = tool(**call.tool_kwargs).content
    history += [
        reply.message,
        ChatMessage(role="tool", content=result, additional_kwargs={"tool_call_id": call.tool_id}),
    ]
    text = model.chat_with_tools([tool], chat_history=history).message.content
    return {"call": call.tool_name, "arguments": call.tool_kwargs, "text": text}


@cell
def error():
    return {
        "missing": raised(lambda: other(cells.MISSING).chat(says(cells.SKY))),
        "broken": raised(lambda: other(cells.BROKEN).chat(says(cells.SKY))),
    }


@cell
def embeddings():
    return {"vectors": embedder.get_text_embedding_batch(["the sky", "the sea"])}


@cell
def thinking():
    message = Ollama(model="pool", base_url=ollama.base_url, thinking=True).chat(says(cells.WHY)).message
    thought = next(block.content for block in message.blocks if block.block_type == "thinking")
    return {"text": message.content, "thought": thought}


@cell
def images():
    blocks = [TextBlock(text=cells.PICTURE), ImageBlock(image=cells.PNG.encode(), image_mimetype="image/png")]
    return {"text": model.chat([ChatMessage(role="user", blocks=blocks)]).message.content}


@cell
def leave():
    pieces = model.stream_chat(says(cells.ENDLESS))
    next(pieces)
    left = cells.now()
    pieces.close()
    return {"left": left}
