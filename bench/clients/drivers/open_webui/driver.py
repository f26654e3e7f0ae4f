"""Open WebUI's backend, asked as its page in the browser asks it: over HTTP, with the answers on a socket."""

import asyncio
import os
import signal
import subprocess
import time
import uuid

import aiohttp
import cells
import socketio
from cells import cell
from commands import typed

SETUP = """
# configured: begin (sh)
export OPENAI_API_BASE_URL=http://127.0.0.1:7071/v1 OPENAI_API_KEY=none
export OLLAMA_BASE_URL=http://127.0.0.1:7071
export RAG_EMBEDDING_ENGINE=openai RAG_EMBEDDING_MODEL=nomic-embed-text
export RAG_OPENAI_API_BASE_URL=http://127.0.0.1:7071/v1 RAG_OPENAI_API_KEY=none
open-webui serve
# configured: end
"""
ADDRESS = "http://127.0.0.1:18080"
START_TIME = 400.0
ANSWER_TIME = 60.0
os.environ |= {"DATA_DIR": f"{os.getcwd()}/data", "WEBUI_AUTH": "False", "OFFLINE_MODE": "True", "HF_HUB_OFFLINE": "1"}
TOOL = '''
class Tools:
    def get_weather(self, city: str) -> str:
        """
        The weather in a city.
        :param city: which one
        """
        return "18 degrees and sunny"
'''


class Page:
    """The page: signed in, with a socket, in one chat."""

    async def open(self):
        self.http = aiohttp.ClientSession(ADDRESS)
        signed = await self.post("/api/v1/auths/signin", {"email": "", "password": ""})
        self.token = signed["token"]
        await self.http.close()
        self.http = aiohttp.ClientSession(ADDRESS, headers={"Authorization": f"Bearer {self.token}"})
        self.socket, self.events = socketio.AsyncClient(), asyncio.Queue()
        self.socket.on("events", self.events.put)
        await self.socket.connect(
            ADDRESS, socketio_path="/ws/socket.io", auth={"token": self.token}, transports=["websocket"]
        )
        await self.socket.emit("user-join", {"auth": {"token": self.token}})
        async with self.http.get("/api/models") as reply:
            self.models = {model["id"]: model for model in (await reply.json())["data"]}
        return self

    async def close(self):
        await self.socket.disconnect()
        await self.http.close()

    async def post(self, path, body):
        async with self.http.post(path, json=body) as reply:
            return await reply.json()

    async def ask(self, model, content, **more):
        """A question in a new chat: the ids of chat, question and answer, and what came of it."""
        question = {"id": str(uuid.uuid4()), "parentId": None, "childrenIds": [], "role": "user", "content": content}
        question |= {"models": [model], "timestamp": int(time.time())}
        body = {"user_message": question, "parent_id": None, "messages": [{"role": "user", "content": content}]}
        return await self.complete(model, body | more)

    async def complete(self, model, body):
        """What the page sends, and the events until the answer is done."""
        answer = body.get("assistant_message_id") or str(uuid.uuid4())
        sent = {
            "stream": True,
            "model": model,
            "params": {},
            "features": {"image_generation": False, "code_interpreter": False, "web_search": False},
            "variables": {"{{USER_NAME}}": "User", "{{CURRENT_DATE}}": "2026-11-25"},
            "model_item": self.models[model],
            "session_id": self.socket.sid,
            "id": answer,
            "background_tasks": {},
            **body,
        }
        self.seen = []
        told = await self.post("/api/chat/completions", sent)
        chat = told.get("chat_id") or body.get("chat_id")
        print("TOLD", told, flush=True)
        async with asyncio.timeout(ANSWER_TIME):
            while True:
                event = await self.events.get()
                print("EVENT", str(event)[:600], flush=True)
                if event["data"]["type"] == "chat:completion" and event["data"]["data"].get("done"):
                    break
                if "error" in event["data"]["type"]:
                    break
        return chat


async def main():
    page = await Page().open()
    print(list(page.models))
    chat = await page.ask("pool", cells.SEA)
    chat = await page.ask("pool:latest", cells.SKY)
    await page.close()

server = subprocess.Popen(f"exec {typed(SETUP).replace(chr(10)+'open-webui', chr(10)+'exec open-webui')[5:] if 0 else typed(SETUP)} --host 127.0.0.1 --port 18080", shell=True, stdout=open("webui.log", "w"), stderr=subprocess.STDOUT, start_new_session=True)
