"""Open WebUI's backend, asked as its page in the browser asks it: over HTTP, with the answers on a socket."""

import asyncio
import os
import signal
import socket
import subprocess
import time
import uuid
from pathlib import Path

import aiohttp
import cells
import socketio
from cells import cell, raised
from commands import typed

SETUP = """
# <configured sh>
export OPENAI_API_BASE_URL=http://127.0.0.1:7071/v1 OPENAI_API_KEY=none
export OLLAMA_BASE_URL=http://127.0.0.1:7071
export RAG_EMBEDDING_ENGINE=openai RAG_EMBEDDING_MODEL=nomic-embed-text
export RAG_OPENAI_API_BASE_URL=http://127.0.0.1:7071/v1 RAG_OPENAI_API_KEY=none
open-webui serve
# </configured>
"""
with socket.socket() as listening:
    listening.bind(("127.0.0.1", 0))
    PORT = listening.getsockname()[1]
ADDRESS = f"http://127.0.0.1:{PORT}"
START_TIME = 400.0
ANSWER_TIME = 60.0
LONE = {"WEBUI_AUTH": "False", "OFFLINE_MODE": "True", "HF_HUB_OFFLINE": "1", "DATA_DIR": str(Path("data").absolute())}
"""One user, and nothing fetched from elsewhere."""
FEATURES = {"image_generation": False, "code_interpreter": False, "web_search": False}
TOOL = '''
class Tools:
    def get_weather(self, city: str) -> str:
        """
        The weather in a city.
        :param city: which one
        """
        return "18 degrees and sunny"
'''


class Answer:
    """What the page shows when an answer is done: *output* has its parts, *pieces* the deltas before."""

    def __init__(self, chat, question, message, task):
        self.chat, self.question, self.message, self.task = chat, question, message, task
        self.output, self.pieces, self.error = [], 0, ""

    def part(self, kind):
        """The last part of that kind."""
        return [part for part in self.output if part["type"] == kind][-1]

    def text(self, kind="message"):
        return "".join(piece.get("text", "") for piece in self.part(kind)["content"])


class Page:
    """The page: signed in, with a socket."""

    async def open(self):
        nobody = {"email": "", "password": ""}
        async with (
            aiohttp.ClientSession(ADDRESS) as session,
            session.post("/api/v1/auths/signin", json=nobody) as reply,
        ):
            token = (await reply.json())["token"]
        self.http = aiohttp.ClientSession(ADDRESS, headers={"Authorization": f"Bearer {token}"})
        self.socket, self.events = socketio.AsyncClient(), asyncio.Queue()
        self.socket.on("events", self.events.put)
        auth = {"token": token}
        await self.socket.connect(ADDRESS, socketio_path="/ws/socket.io", auth=auth, transports=["websocket"])
        await self.socket.emit("user-join", {"auth": auth})
        async with self.http.get("/api/models") as reply:
            self.models = {model["id"]: model for model in (await reply.json())["data"]}

    async def close(self):
        await self.socket.disconnect()
        await self.http.close()

    async def post(self, path, body=None, **more):
        async with self.http.post(path, json=body, **more) as reply:
            told = await reply.json()
            if reply.status >= 400:
                raise RuntimeError(f"{path}: {reply.status} {told}")
            return told

    async def begin(self, content, model="pool", files=(), **more):
        """Send a question in a new chat, as the page does."""
        question = {"id": str(uuid.uuid4()), "parentId": None, "childrenIds": [], "role": "user", "content": content}
        question |= {"models": [model], "timestamp": int(time.time()), "files": list(files)}
        body = {"user_message": question, "parent_id": None, "messages": [{"role": "user", "content": content}]}
        documents = [file for file in files if file["type"] == "file"]
        return await self.send(model, body | ({"files": documents} if documents else {}) | more)

    async def again(self, answer, **more):
        """Ask for *answer* anew, in its chat."""
        body = {"chat_id": answer.chat, "user_message": answer.question, "parent_id": None}
        return await self.send("pool", body | {"messages": [{"role": "user", "content": cells.SKY}]} | more)

    async def send(self, model, body):
        message = body.get("assistant_message_id") or str(uuid.uuid4())
        sent = {"stream": True, "model": model, "params": {}, "features": FEATURES, "variables": {}}
        sent |= {"session_id": self.socket.sid, "id": message, "background_tasks": {}}
        sent |= {"model_item": self.models.get(model, {"id": model})} | body
        told = await self.post("/api/chat/completions", sent)
        return Answer(told["chat_id"], body["user_message"], message, told["task_ids"][0])

    async def whole(self, answer):
        """*answer* when it is done, or has failed."""
        async with asyncio.timeout(ANSWER_TIME):
            while not (await self.next(answer) or answer.error):
                pass
        return answer

    async def next(self, answer):
        """Take the next event; whether the answer is done."""
        event = await self.events.get()
        if event["message_id"] != answer.message:
            return False
        data = event["data"].get("data") or {}
        answer.pieces += data.get("type") == "response.output_text.delta"
        if data.get("error"):
            answer.error = str(data["error"])
        answer.output = data.get("output") or answer.output
        return event["data"]["type"] == "chat:completion" and data.get("done", False)

    async def ask(self, content, model="pool", **more):
        return await self.whole(await self.begin(content, model, **more))


page = Page()
loop = asyncio.new_event_loop()
run = loop.run_until_complete


def started():
    """Open WebUI, when it answers."""
    command = f"{typed(SETUP)} --host 127.0.0.1 --port {PORT}"
    log = Path("webui.log")
    with log.open("wb") as out:
        server = subprocess.Popen(
            command, shell=True, env=os.environ | LONE, stdout=out, stderr=out, start_new_session=True
        )
    until = time.monotonic() + START_TIME
    while subprocess.run(["curl", "-sf", f"{ADDRESS}/health"], capture_output=True, check=False).returncode:
        if time.monotonic() > until or server.poll() is not None:
            raise SystemExit(log.read_text(encoding="utf-8")[-300:])
        time.sleep(1)
    return server


server = started()
run(page.open())


@cell
def plain():
    asked = page.post("/api/chat/completions", {"model": "pool", "messages": [{"role": "user", "content": cells.SKY}]})
    return {"text": run(asked)["choices"][0]["message"]["content"]}


@cell
def stream():
    answer = run(page.ask(cells.SEA))
    return {"text": answer.text(), "pieces": answer.pieces}


@cell
def ollama_chat():
    return {"text": run(page.ask(cells.SKY, "pool:latest")).text()}


@cell
def regenerate():
    first = run(page.ask(cells.SKY))
    return {"text": run(page.whole(run(page.again(first)))).text()}


@cell
def continued():
    first = run(page.ask(cells.SKY))
    more = {"assistant_message_id": first.message, "user_message": first.question}
    answer = run(page.whole(run(page.again(first, **more))))
    return {"text": "".join(piece["text"] for part in answer.output for piece in part.get("content", ()))}


@cell
def tools():
    tool = {"id": "weather", "name": "Weather", "content": TOOL, "meta": {"description": "The weather in a city"}}
    run(page.post("/api/v1/tools/create", tool))
    answer = run(page.ask(cells.WEATHER, tool_ids=["weather"]))
    call = answer.part("function_call")
    return {"call": call["name"], "arguments": call["arguments"], "text": answer.text()}


@cell
def thinking():
    answer = run(page.ask(cells.WHY))
    return {"text": answer.text(), "thought": answer.text("reasoning")}


@cell
def images():
    url = f"data:image/png;base64,{cells.PNG}"
    parts = [{"type": "text", "text": cells.PICTURE}, {"type": "image_url", "image_url": {"url": url}}]
    picture = {"type": "image", "url": url}
    shown = [{"role": "user", "content": parts}]
    return {"text": run(page.ask(cells.PICTURE, files=[picture], messages=shown)).text()}


def uploaded():
    form = aiohttp.FormData()
    form.add_field("file", b"The tide turns at noon.", filename="note.txt", content_type="text/plain")
    return run(page.post("/api/v1/files/?process=true&process_in_background=false", data=form))


@cell
def embeddings():
    asked = {"collection_name": f"file-{uploaded()['id']}", "query": "the tide", "k": 1}
    return {"found": run(page.post("/api/v1/retrieval/query/doc", asked))["documents"][0][0]}


@cell
def rag():
    file = uploaded()
    shown = {"type": "file", "id": file["id"], "name": "note.txt", "file": file, "status": "uploaded"}
    return {"text": run(page.ask(cells.TIDE, files=[shown])).text()}


@cell
def error():
    said = run(page.ask(cells.SKY, cells.BROKEN)).error
    refused = raised(lambda: run(page.ask(cells.SKY, cells.MISSING)))
    return {"missing": refused, "broken": {"type": "error event" if said else "", "message": said}}


@cell
def leave():
    answer = run(page.begin(cells.ENDLESS))
    while not answer.pieces:
        run(page.next(answer))
    left = cells.now()
    run(page.post(f"/api/tasks/stop/{answer.task}"))
    return {"left": left}


run(page.close())
os.killpg(server.pid, signal.SIGTERM)
