"""``python -m tools.pocket``: from nothing to ``llm_pool/models/pocket-*.gguf``, and how good they are."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tools.pocket.model import Pocket
    from tools.pocket.tokenizer import Tokenizer

MODELS = Path(__file__).parents[2] / "llm_pool" / "models"

EPILOG = """\
The three bundled models, from nothing, from the root of the repository, with the extra "pocket":

  python -m tools.pocket train /tmp/a --seed 1 --width 128 --layers 6
  python -m tools.pocket train /tmp/b --seed 2 --width 160 --layers 4
  python -m tools.pocket train /tmp/c --seed 3 --width 160 --layers 5
  for x in a b c; do python -m tools.pocket export /tmp/$x llm_pool/models/pocket-$x.gguf; done
  python -m tools.pocket check

All three at once on two cores took 80 to 100 minutes (docs/models/pocket.md).
With --device cuda it should be minutes; that has not been tried.
The same seed gives the same examples everywhere, and the same weights with the same torch and kind of processor.
"""


def main() -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.pocket",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    generate = commands.add_parser("generate", help="print examples as JSON lines, to look at")
    generate.add_argument("--count", type=int, default=20)
    generate.add_argument("--seed", type=int, default=0)
    generate.set_defaults(run=_generate)

    train = commands.add_parser("train", help="train from nothing; says its speed and the time left as it goes")
    train.add_argument("folder", type=Path, help="where weights and tokenizer go")
    train.add_argument("--start", type=Path, help="go on from what an earlier run left in this folder")
    train.add_argument("--seed", type=int, default=1)
    train.add_argument("--steps", type=int, default=6000)
    train.add_argument("--batch", type=int, default=4096, help="tokens of one step")
    train.add_argument("--rate", type=float, default=0.015, help="learning rate at its height")
    train.add_argument("--vocab", type=int, default=1536)
    train.add_argument("--width", type=int, default=160)
    train.add_argument("--layers", type=int, default=4)
    train.add_argument("--threads", type=int, default=1)
    train.add_argument("--device", default="cpu", help="cpu or cuda")
    train.set_defaults(run=_train)

    export = commands.add_parser("export", help="write a GGUF")
    export.add_argument("folder", type=Path, help="what train wrote")
    export.add_argument("gguf", type=Path, help="its name without .gguf is the model's")
    export.set_defaults(run=_export)

    check = commands.add_parser("check", help="ask inputs that training never saw, and measure the answers")
    check.add_argument("gguf", type=Path, nargs="*", help="the bundled ones if none is named")
    check.add_argument("--count", type=int, default=300, help="inputs of each task")
    check.add_argument("--seed", type=int, default=99)
    check.add_argument("--show", action="store_true", help="print one question and answer of each task too")
    check.set_defaults(run=_check)

    options = parser.parse_args()
    options.run(options)


def _generate(options: argparse.Namespace) -> None:
    from tools.pocket.oracle import examples

    for one in examples(Random(options.seed), options.count):
        sys.stdout.write(json.dumps({"task": one.task, "prompt": one.prompt, "answer": one.answer}) + "\n")


def _train(options: argparse.Namespace) -> None:
    import torch

    from tools.pocket.train import train

    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    model, tokenizer = _load(options.start) if options.start else _new(options)
    given = {name: getattr(options, name) for name in ("steps", "batch", "rate", "seed", "device")}
    train(model, tokenizer, fresh=options.start is None, **given)
    options.folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(options.folder / "tokenizer.json")
    torch.save({"shape": asdict(model.shape), "weights": model.state_dict()}, options.folder / "weights.pt")


def _new(options: argparse.Namespace) -> tuple[Pocket, Tokenizer]:
    from tools.pocket.model import Pocket, Shape
    from tools.pocket.oracle import examples
    from tools.pocket.tokenizer import Tokenizer

    texts = (text for one in examples(Random(options.seed), 20_000) for text in (one.prompt, one.answer))
    tokenizer = Tokenizer.train(texts, size=options.vocab)
    width, layers = options.width, options.layers
    shape = Shape(vocab=len(tokenizer), width=width, heads=width // 32, layers=layers, feed=width * 14 // 5 // 32 * 32)
    return Pocket(shape), tokenizer


def _load(folder: Path) -> tuple[Pocket, Tokenizer]:
    import torch

    from tools.pocket.model import Pocket, Shape
    from tools.pocket.tokenizer import Tokenizer

    kept = torch.load(folder / "weights.pt", map_location="cpu")
    model = Pocket(Shape(**kept["shape"]))
    model.load_state_dict(kept["weights"])
    return model, Tokenizer.load(folder / "tokenizer.json")


def _export(options: argparse.Namespace) -> None:
    from tools.pocket.export import write_gguf

    model, tokenizer = _load(options.folder)
    write_gguf(options.gguf, model, tokenizer, name=f"llm-pool {options.gguf.stem}, a toy")


def _check(options: argparse.Namespace) -> None:
    import asyncio

    for gguf in options.gguf or sorted(MODELS.glob("*.gguf")):
        print(gguf.stem)
        asyncio.run(_checked(gguf, options))


async def _checked(gguf: Path, options: argparse.Namespace) -> None:
    from tools.pocket.check import check, inputs, pool_of

    async with pool_of({gguf.stem: gguf}) as app:
        for examples in inputs(count=options.count, seed=options.seed).values():
            report = await check(app, examples)
            print(f"  {report.line()}", flush=True)
            if options.show:
                print("    {}\n    {}".format(*report.last))


if __name__ == "__main__":
    main()
