"""``python -m llm_pool.testing.upstream``: the scripted upstream as a process, its address on the first line."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from llm_pool.testing.upstream import latency, modes
from llm_pool.testing.upstream.machine import Model
from llm_pool.testing.upstream.server import AT_ONCE, Upstream

EXAMPLES = """\
examples:
  three models, one call in twenty five times slower
    python -m llm_pool.testing.upstream --port 11434 --model phi3:mini --model llama3.1:8b --model gemma2:9b \\
        --ttft heavy:0.2,0.05,5 --per-token const:0.01
  a flaky model beside a good one
    python -m llm_pool.testing.upstream --model phi3:mini --model gemma2:9b --mode gemma2:9b=flaky:0.3
  one machine with room for one model, four seconds to load
    python -m llm_pool.testing.upstream --model phi3:mini --model gemma2:9b --max-loaded 1 --load-time 4 --slots 1
  what real models said, from a file of JSON lines
    python -m llm_pool.testing.upstream --model phi3:mini --answers answers.jsonl --ttft lognormal:-1.5,0.4
  an OpenAI-shaped server that loads for five seconds
    python -m llm_pool.testing.upstream --flavor llama-server --model phi3-mini --mode loading:5
  while it runs
    curl $URL/_upstream/journal
    curl $URL/_upstream/script -d '{"model": "phi3:mini", "modes": ["error:503", "ok"]}'
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    described = "\n".join(f"{name:16} {meaning}" for name, (_, meaning) in modes.DESCRIPTIONS.items())
    line = argparse.ArgumentParser(
        prog="python -m llm_pool.testing.upstream",
        description="A backend that speaks Ollama and OpenAI and does what it is told.",
        epilog=f"modes:\n{_indented(described)}\n\nlatencies:\n{_indented(latency.SPECS)}\n\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = line.add_argument
    add("--host", default="127.0.0.1", help="the address it listens at")
    add("--port", type=int, default=0, help="0, the default, takes a free one")
    add("--flavor", choices=["ollama", "llama-server"], default="ollama")
    add(
        "--model",
        action="append",
        metavar="NAME[,SIZE[,LOAD]]",
        help="on its disk; size in GB, loading in seconds",
    )
    add("--mode", action="append", default=[], metavar="[MODEL=]MODE", help="what goes wrong; see below")
    add("--ttft", "--latency", default=AT_ONCE, metavar="LATENCY", help="time to the first token; see below")
    add("--per-token", default=AT_ONCE, metavar="LATENCY", help="time between two tokens, drawn once per request")
    add("--answers", type=Path, metavar="FILE", help="recorded answers: {prompt, models: {NAME: {raw}}} in each line")
    add("--slots", type=int, default=64, metavar="N", help="requests that a model works on at once")
    add("--max-loaded", type=int, metavar="N", help="models in memory at once")
    add("--memory", type=float, metavar="GB", help="memory for all of them")
    add("--max-queue", type=int, default=512, metavar="N", help="requests that may wait before it says busy")
    add("--load-time", type=float, default=0.0, metavar="S", help="seconds to load a model that names none")
    add("--cold", action="store_true", help="begin with nothing loaded")
    add("--context", type=int, metavar="N", help="tokens that a llama-server prompt may have")
    add("--seed", type=int, default=0)
    return line


async def serve(options: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with _upstream(options) as upstream:
        for spec in options.mode:
            model, _, mode = spec.rpartition("=")
            upstream.set_mode(model or "*", mode)
        sys.stdout.write(f"{upstream.url}\n")
        sys.stdout.flush()
        await stop.wait()


def _upstream(options: argparse.Namespace) -> Upstream:
    return Upstream(
        [_model(text, options.load_time) for text in options.model or ["phi3:mini"]],
        flavor=options.flavor,
        recorded=options.answers,
        ttft=options.ttft,
        per_token=options.per_token,
        slots=options.slots,
        max_loaded=options.max_loaded,
        memory=None if options.memory is None else int(options.memory * 1e9),
        max_queue=options.max_queue,
        cold=options.cold,
        context=options.context,
        seed=options.seed,
        host=options.host,
        port=options.port,
    )


def _model(text: str, load_time: float) -> Model:
    name, *numbers = text.split(",")
    size, load, *_ = [*numbers, *["2", str(load_time)][len(numbers) :]]
    return Model(name=name, size=int(float(size) * 1e9), load_time=float(load))


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def main() -> None:
    """Serve; a mistake on the command line is one sentence and exit code 2."""
    line = parser()
    options = line.parse_args()
    try:
        asyncio.run(serve(options))
    except (ValueError, OSError) as error:
        line.exit(2, f"{line.prog}: {error}\n")


if __name__ == "__main__":
    main()
