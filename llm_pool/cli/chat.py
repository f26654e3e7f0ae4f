"""``llm-pool chat``: a conversation with the pool, on the terminal."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from typer import Option

from llm_pool.cli.command import App, Context
from llm_pool.cli.completion import provider_names
from llm_pool.cli.exit_codes import ExitCode, exit_code_for
from llm_pool.cli.options import Strategy, Url, known_provider, read_config
from llm_pool.core.errors import InvalidRequest, LlmPoolError
from llm_pool.core.events import TextArrived

if TYPE_CHECKING:
    from collections.abc import Callable

    from llm_pool.cli.asking import Deadline
    from llm_pool.cli.console import Console
    from llm_pool.cli.conversation import Conversation
    from llm_pool.cli.markdown import MarkdownStream
    from llm_pool.cli.remote import Inferrer
    from llm_pool.config import Config
    from llm_pool.core.events import Event
    from llm_pool.core.messages import Answer

_EXAMPLES = """\
llm-pool chat
llm-pool chat --continue
llm-pool chat --strategy voting --system 'Answer in one sentence.'"""
_COMMANDS = {
    "/strategy NAME": "how the pool decides; without a name the task's own",
    "/model NAME": "ask this provider alone; without a name all of them",
    "/why": "how the last answer came about",
    "/retry": "ask the last question again",
    "/new": "begin anew",
    "/save FILE": "write the conversation as Markdown",
    "/help": "this",
    "/quit": "leave; so does Ctrl-D",
}
_DAEMON_LIMIT = 16_384
"""Bytes of a conversation that a daemon is sent: what it takes unless its qos.max_prompt_bytes says otherwise."""

app = App()


@app.command(epilog=_EXAMPLES)
def chat(
    ctx: Context,
    go_on: Annotated[bool, Option("--continue", help="go on with the last conversation")] = False,
    strategy: Strategy = None,
    provider: Annotated[
        str | None,
        Option("--provider", metavar="NAME", help="ask this one alone", autocompletion=provider_names),
    ] = None,
    system: Annotated[
        str | None, Option("--system", metavar="TEXT", help="what the models are told before all of it")
    ] = None,
    url: Url = None,
) -> int:
    """Talk with the pool; /help says what else can be typed. The last conversation is kept in your state folder."""
    from llm_pool.cli.asking import strategy_called
    from llm_pool.cli.conversation import Conversation, conversation_path, load_conversation
    from llm_pool.cli.remote import reject_local_only

    if url:
        reject_local_only(config=ctx.obj.config)
    config = None if url else read_config(ctx.obj)
    found = load_conversation(conversation_path()) if go_on else None
    conversation = found or Conversation()
    conversation.strategy = strategy_called(strategy) or conversation.strategy
    if provider:
        conversation.provider = provider if config is None else known_provider(config, provider)
    conversation.system = conversation.system if system is None else system
    with Chat(conversation, ctx.obj.console, url, config) as talk:
        if go_on:
            talk.show_past()
        return talk.run(_reader(ctx.obj.console))


class Chat:
    """One conversation: reads lines, asks, prints; closed by leaving the ``with``."""

    def __init__(self, conversation: Conversation, console: Console, url: str | None, config: Config | None) -> None:
        self._conversation, self._console = conversation, console
        self._url, self._config = url, config
        self._limit = _DAEMON_LIMIT if config is None else config.qos.max_prompt_bytes
        self._last: Answer | None = None
        self._runner, self._open = asyncio.Runner(), AsyncExitStack()

    def __enter__(self) -> Self:
        from llm_pool.cli.asking import opened

        self._runner.__enter__()
        entered = self._open.enter_async_context(opened(self._url, self._config))
        self._pool, self._deadline = self._runner.run(_awaited(entered))
        return self

    def __exit__(self, *failure: object) -> None:
        with suppress(LlmPoolError):
            self._runner.run(self._open.aclose())
        self._runner.__exit__(None, None, None)

    def run(self, read: Callable[[], str | None]) -> int:
        """Answer what *read* gives until it gives None."""
        while (line := read()) is not None:
            text = line.strip()
            if text.startswith("/"):
                try:
                    if not self._command(text):
                        break
                except LlmPoolError as error:
                    self._console.error(error, exit_code_for(error))
            elif text:
                self._ask(text)
        return ExitCode.OK

    def show_past(self) -> None:
        """Say what was said before."""
        count = len(self._conversation.turns) // 2
        if not count:
            self._console.say("there is no conversation to go on with")
            return
        self._console.say(f"{count} question{'s' if count > 1 else ''} so far; the last: ")
        question, answer = self._conversation.turns[-2:]
        self._console.say(f"> {question.text}")
        self._print(answer.text)

    def _command(self, text: str) -> bool:
        """Do what begins with a slash; whether the conversation goes on. Raises InvalidRequest."""
        name, _, rest = text.partition(" ")
        rest = rest.strip()
        match name:
            case "/quit" | "/exit":
                return False
            case "/help":
                self._help()
            case "/strategy":
                from llm_pool.cli.asking import strategy_called

                self._conversation.strategy = strategy_called(rest or None)
                self._console.say(f"strategy: {self._conversation.strategy or 'as the task says'}")
            case "/model":
                self._conversation.provider = self._provider(rest) if rest else ""
                self._console.say(f"asked: {self._conversation.provider or 'everybody'}")
            case "/why":
                self._why()
            case "/retry":
                question = self._conversation.take_back()
                if question is None:
                    raise InvalidRequest("/retry", "nothing was asked yet")
                self._ask(question, again=True)
            case "/new":
                self._conversation.turns.clear()
                self._last = None
                self._console.say("a new conversation")
            case "/save":
                self._save(rest)
            case _:
                from llm_pool.config.problem import nearest

                known = [command.split()[0] for command in _COMMANDS]
                raise InvalidRequest(name, "there is no such command", hint=nearest(name, known) or "/help")
        return True

    def _provider(self, name: str) -> str:
        """The provider of that name, or of a model of that name; raises InvalidRequest."""
        if self._config is None:
            return name
        return known_provider(self._config, name, "/model")

    def _ask(self, text: str, *, again: bool = False) -> None:
        """Ask, print the answer, and keep both; what goes wrong is told, and the conversation goes on."""
        import msgspec

        query, left_out = self._conversation.question(text, self._limit)
        if left_out:
            self._console.say(f"note: the first {left_out} turns are left out: the conversation is too long")
        try:
            answer = self._runner.run(self._answer(msgspec.structs.replace(query, no_cache=again)))
        except LlmPoolError as error:
            self._console.error(error, exit_code_for(error))
        except KeyboardInterrupt:
            self._console.say("\ninterrupted; the question is forgotten")
        else:
            self._last = answer
            self._conversation.add(text, answer.content)
            self._keep()

    async def _answer(self, query: Any) -> Answer:
        from llm_pool.cli.recent import keep
        from llm_pool.cli.wait_indicator import wait_indicator

        stream = self._stream()
        async with wait_indicator(self._console, lambda: self._deadline(query)) as line:

            def on(event: Event) -> None:
                line.on(event)
                if stream is not None and isinstance(event, TextArrived) and event.committed:
                    stream.feed(event.text)

            try:
                answer = await self._pool.infer(query, on)
            finally:
                if stream is not None:
                    stream.finish()
        if stream is None or stream.text.strip() != answer.content.strip():
            self._print(answer.content)
        if answer.degraded:
            self._console.warn(f"note: degraded: {answer.decision.degraded_reason}")
        text = self._config is not None and self._config.telemetry.capture
        await asyncio.to_thread(keep, answer, wall=time.time(), text=text)
        return answer

    def _stream(self) -> MarkdownStream | None:
        if not self._console.stdout.isatty():
            return None
        from llm_pool.cli.markdown import MarkdownStream

        return MarkdownStream(self._console)

    def _print(self, text: str) -> None:
        if self._console.stdout.isatty():
            from llm_pool.cli.markdown import print_markdown

            print_markdown(text, self._console)
        else:
            self._console.out(text)

    def _why(self) -> None:
        if self._last is None:
            raise InvalidRequest("/why", "nothing was answered yet")
        from llm_pool.cli.explain import explain

        explain(self._last, self._console)

    def _help(self) -> None:
        from llm_pool.cli.drawing import grid

        table = grid("left", "wrap")
        for command, meaning in _COMMANDS.items():
            table.add_row(command, meaning)
        self._console.show(table, err=True)

    def _save(self, name: str) -> None:
        if not name:
            raise InvalidRequest("/save", "it takes the name of a file", hint="/save talk.md")
        try:
            with Path(name).expanduser().open("x", encoding="utf-8") as file:
                file.write(self._conversation.as_markdown())
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise InvalidRequest("/save", f"{name} cannot be written: {reason}") from None
        self._console.say(f"wrote {name}")

    def _keep(self) -> None:
        from llm_pool.cli.conversation import conversation_path

        try:
            self._conversation.save(conversation_path())
        except OSError as error:
            self._console.say(f"note: the conversation is not kept: {(error.strerror or '').lower()}")


async def _awaited(entered: Any) -> tuple[Inferrer, Deadline]:
    pool, deadline = await entered
    return pool, deadline


def _reader(console: Console) -> Callable[[], str | None]:
    """Reads a line: with editing and a prompt at a terminal, else as they come. None at the end."""
    if not (sys.stdin.isatty() and console.stdout.isatty()):
        return lambda: sys.stdin.readline() or None
    with suppress(ImportError):
        import readline  # noqa: F401  # input() edits with it

    def read() -> str | None:
        try:
            return input("> ")
        except EOFError:
            console.say("")
            return None

    return read
