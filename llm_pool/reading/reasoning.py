r"""
Reasoning that a model wrote into its text, told apart from the answer behind it.

Two ways in, with one set of rules: ``split`` for a whole text, ``Splitter`` for a stream of pieces, which hands on
each piece at once and holds back only what may be the beginning of a tag. However a text is cut into pieces, the
two say the same.

The rules, so that an answer *about* tags is left alone:

1. A block counts at the beginning of the text, after optional white space, and directly behind another block:
   ``<think>``, ``<thinking>``, ``<thought>``, ``<reason>``, ``<reasoning>``, ``<reflection>``, ``<seed:think>``,
   ``<longcat_think>``, ``[THINK]``, ``◁think▷``, ``<|START_THINKING|>``, ``<|inner_prefix|>``, ``<unused94>``,
   ``<|channel>thought``. It ends at the first closing tag of its kind. Tags may be in any letter case.
2. A closing tag alone counts, once, where no block came before it: templates that open the block in the prompt leave
   only its end in the text. It has to stand at the beginning or the end of a line, or behind the end of a sentence,
   and neither in quotes nor in code (back ticks, a fence).
3. A text that begins with ``<|channel|>`` or ``<|start|>`` is a sequence of messages in the harmony format: those of
   the channel ``final``, and those without a channel, are the answer, all others are reasoning.
4. Servers that take the harmony format's tokens away leave ``analysisThe user … assistantfinal7``: a text that begins
   with the word ``analysis`` grown together with a sentence is reasoning up to ``assistantfinal``.
5. Tokens that some models put around an answer, as ``<|START_RESPONSE|>`` and ``<|END_RESPONSE|>``, are no part of it.
   Tags of letters, as ``<answer>``, are: the prompt may have asked for them.
6. Anything else is the answer, tags and all.

A block that is never closed, or messages of which none is final, are no answer: ``complete`` is False.

Sources: the chat templates of the models' authors; the harmony format, github.com/openai/harmony, docs/format.md.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from llm_pool.reading.marks import QUOTES

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Piece", "Split", "Splitter", "split"]

MAX_SPACE: Final = 64
"""Spaces behind a closing tag that are waited through for the end of the line."""
MAX_HEADER: Final = 512
"""Characters between ``<|start|>`` and ``<|message|>``; a longer header is read as one of reasoning."""

_NAMES: Final = (
    *("think", "thinking", "thought", "reason", "reasoning", "reflection"),
    *("seed:think", "longcat_think"),
)
_TAGS: Final = {
    **{f"<{name}>": f"</{name}>" for name in _NAMES},
    "[think]": "[/think]",
    "◁think▷": "◁/think▷",
    "<|start_thinking|>": "<|end_thinking|>",
    "<|inner_prefix|>": "<|inner_suffix|>",
    "<unused94>": "<unused95>",
    "<|channel>thought": "<channel|>",
}
"""Opening and closing tags, in lower case."""
_WRAPPINGS: Final = {
    "<|start_response|>": "<|end_response|>",
    "<|start_text|>": "<|end_text|>",
    "<|begin_of_box|>": "<|end_of_box|>",
}
"""Tokens around an answer, in lower case."""
_MESSAGE: Final = "<|message|>"
_HARMONY: Final = ("<|channel|>", "<|start|>")
_ENDS_OF_MESSAGES: Final = ("<|end|>", "<|return|>", "<|call|>", *_HARMONY)
_FINAL_CHANNELS: Final = ("final", "")
_QUOTES: Final = f"`{QUOTES}"
_ENDS_OF_SENTENCES: Final = ".!?\u2026:)]}*$\u3002\uff01\uff1f"


_OPENINGS: Final = (*_TAGS, *_HARMONY, *_WRAPPINGS)
_CLOSINGS: Final = tuple(_TAGS.values())
_BARE_BEGINNING: Final = "analysis"
_BARE_END: Final = "assistantfinal"
_BARE: Final = re.compile(r"analysis(?=[A-Z][\w'\u2019]{0,30}[ ,]|[^\x00-\x7f\s])")
_MAY_BE_BARE: Final = re.compile(r"analysis(?:[A-Z][\w'\u2019]{0,30})?")
_CLOSING_BARE: Final = re.compile(_BARE_END)
_ENDS_OF_BLOCKS: Final = (*_CLOSINGS, _BARE_END)
_ENDS_OF_WRAPPINGS: Final = tuple(_WRAPPINGS.values())


def _any_of(tags: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, tags)), re.IGNORECASE | re.ASCII)


_OPENING: Final = _any_of(_OPENINGS)
_CLOSING: Final = _any_of(_CLOSINGS)
_MAY_TAG: Final = re.compile(f"[{re.escape(''.join(sorted({closing[0] for closing in _CLOSINGS})))}]")
_CLOSING_OF: Final = {opening: _any_of((closing,)) for opening, closing in {**_TAGS, **_WRAPPINGS}.items()}
_END_OF_MESSAGE: Final = _any_of(_ENDS_OF_MESSAGES)
_SPACE: Final = re.compile(r"\s*+")
_REST_OF_LINE: Final = re.compile(rf"[ \t]{{0,{MAX_SPACE}}}+(?:[\r\n]|(\S))")
_CHANNEL: Final = re.compile(r"<\|channel\|>\s*+(\w++)")


class Split(NamedTuple):
    """
    A text, divided.

    Attributes:
        reasoning: what was thought, without its tags and without white space around it.
        answer: what was said, without the white space before it.
        complete: False if the text ends inside of a block, or before a final message; then *answer* is empty.
    """

    reasoning: str
    answer: str
    complete: bool


class Piece(NamedTuple):
    """
    What a piece of a stream adds.

    Attributes:
        reasoning: to be added to the reasoning.
        answer: to be added to the answer.
        retracted: what was handed out as the answer so far was reasoning (rule 2): *answer* begins anew, and
            *reasoning* does not repeat it.
    """

    reasoning: str = ""
    answer: str = ""
    retracted: bool = False


def split(text: str, *, inside: bool = False) -> Split:
    """
    Divide a whole *text* into reasoning and answer, in time linear in its length.

    Args:
        text: all that the model wrote.
        inside: the prompt has opened the block: the text begins within it, and a closing tag of any kind ends it.
    """
    said = text.lstrip()
    if not (inside or _OPENING.match(said) or _BARE.match(said) or _CLOSING.search(text)):
        return Split("", said, complete=True)
    splitter = Splitter(inside=inside)
    splitter.feed(text)
    splitter.close()
    return splitter.split()


class Splitter:
    """
    Divides a stream.

    ::

        splitter = Splitter()
        for text in deltas:
            piece = splitter.feed(text)     # what can be said at once
        piece = splitter.close()            # what was held back
        splitter.split()                    # the whole, as ``split`` of all deltas says it

    What it hands out it keeps, for ``split``: the caller bounds the length of the stream.

    Args:
        inside: the prompt has opened the block, as in ``split``.
    """

    def __init__(self, *, inside: bool = False) -> None:
        self._held, self._at = "", 0  # what is left of the stream begins there
        # Functions, not bound methods: a cycle for each answer would be the garbage collector's work.
        self._step: Callable[[Splitter, bool], bool] = Splitter._inside if inside else Splitter._begin
        self._closing = _CLOSING
        self._had_block, self._had_final, self._to_answer = inside, False, False
        self._line, self._lined = _Line(), 0
        self._reasoning: list[str] = []
        self._answer: list[str] = []
        self._told = (0, 0)
        self._retracted = False

    @property
    def complete(self) -> bool:
        """Whether what came so far may be a whole text: no block is open, and a final message has begun."""
        if self._step in {Splitter._begin, Splitter._answering, Splitter._wrapped}:
            return True
        return self._had_final and self._step != Splitter._inside

    def feed(self, text: str) -> Piece:
        """What *text*, the next piece of the stream, adds."""
        if self._at == len(self._held) and self._step is Splitter._answering and _MAY_TAG.search(text) is None:
            self._say(text)  # as nearly always
            return Piece("", text)
        self._held, self._at = self._held[self._at :] + text, 0
        return self._run(final=False)

    def close(self) -> Piece:
        """What was held back for a tag that did not come."""
        return self._run(final=True)

    def split(self) -> Split:
        """All that came, divided; meant for after ``close``."""
        reasoning = "".join(self._reasoning).strip()
        return Split(reasoning, "".join(self._answer) if self.complete else "", self.complete)

    def _run(self, *, final: bool) -> Piece:
        self._told, self._retracted = (len(self._reasoning), len(self._answer)), False
        while self._step(self, final):
            pass
        reasoning, answer = self._told
        return Piece("".join(self._reasoning[reasoning:]), "".join(self._answer[answer:]), self._retracted)

    # Each step takes what it can from what is held, and says whether another step may go on.

    def _begin(self, final: bool) -> bool:
        """At the beginning, or behind a block: perhaps another one."""
        self._at = start = self._behind_space()
        opening = _OPENING.match(self._held, start) or (None if self._had_block else _BARE.match(self._held, start))
        if opening is None and not final and self._may_open(start):
            return False
        if opening is None:
            self._step = Splitter._answering
        elif (tag := opening[0].lower()) in _HARMONY:
            self._step = Splitter._header
        elif tag in _WRAPPINGS:
            self._at = opening.end()
            self._at, self._closing, self._step = self._behind_space(), _CLOSING_OF[tag], Splitter._wrapped
        else:
            self._at, self._closing = opening.end(), _CLOSING_OF.get(tag, _CLOSING_BARE)
            self._step = Splitter._inside
            self._begin_reasoning()
        return True

    def _may_open(self, start: int) -> bool:
        """Whether what is held from *start* on, perhaps nothing, may be the beginning of what opens a block."""
        if _may_begin(self._held, start, _OPENINGS):
            return True
        rest = self._held[start : start + MAX_HEADER]
        return not self._had_block and (_BARE_BEGINNING.startswith(rest) or _MAY_BE_BARE.fullmatch(rest) is not None)

    def _wrapped(self, final: bool) -> bool:
        """An answer with a token before it: the one behind it is left out."""
        closing = self._closing.search(self._held, self._at)
        if closing is None:
            self._say(self._take_settled(_ENDS_OF_WRAPPINGS, final))
            return False
        self._say(self._take(closing.start()))
        self._at, self._had_block, self._step = closing.end(), True, Splitter._answering
        return True

    def _inside(self, final: bool) -> bool:
        closing = self._closing.search(self._held, self._at)
        if closing is None:
            self._think(self._take_settled(_ENDS_OF_BLOCKS, final))
            return False
        self._think(self._take(closing.start()))
        self._at = closing.end()
        self._had_block, self._step = True, Splitter._begin
        return True

    def _answering(self, final: bool) -> bool:
        closing = None if self._had_block else _CLOSING.search(self._held, self._at)
        if closing is None:
            tags = () if self._had_block else _CLOSINGS
            self._say(self._take_settled(tags, final))
            return False
        self._say(self._take(closing.start()))
        after = _REST_OF_LINE.match(self._held, closing.end())
        if not final and after is None and len(self._held) - closing.end() <= MAX_SPACE:
            return False  # what follows decides
        self._read_line()
        if self._line.ends_thought(
            self._held[closing.end() : closing.end() + 1], ends_line=after is None or not after[1]
        ):
            self._at = closing.end()
            self._retract()
        else:
            self._say(self._take(closing.end()))
        return True

    def _header(self, final: bool) -> bool:
        """Between ``<|start|>`` or ``<|channel|>`` and the message."""
        found = self._held.find(_MESSAGE, self._at)
        stop = found if found >= 0 else len(self._held)
        if found < 0 and (final or stop - self._at <= MAX_HEADER):
            return False
        channel = _CHANNEL.search(self._held, self._at, stop)
        self._to_answer = found >= 0 and (channel[1].lower() if channel else "") in _FINAL_CHANNELS
        self._had_final |= self._to_answer
        self._at, self._step = stop + (len(_MESSAGE) if found >= 0 else 0), Splitter._message
        if not self._to_answer:
            self._begin_reasoning()
        return True

    def _message(self, final: bool) -> bool:
        end = _END_OF_MESSAGE.search(self._held, self._at)
        text = self._take_settled(_ENDS_OF_MESSAGES, final) if end is None else self._take(end.start())
        (self._say if self._to_answer else self._think)(text)
        if end is None:
            return False
        self._at = end.start() if end[0].lower() in _HARMONY else end.end()
        self._step = Splitter._between
        return True

    def _between(self, final: bool) -> bool:
        """Behind a message: another one, or plain text from a server that hides the tokens."""
        start = self._behind_space()
        if start == len(self._held) or (not final and _may_begin(self._held, start, _HARMONY)):
            return False
        self._at, self._had_block = start, True
        self._step = Splitter._header if self._held.startswith(_HARMONY, start) else Splitter._answering
        return True

    def _behind_space(self) -> int:
        space = _SPACE.match(self._held, self._at)
        return space.end() if space else self._at

    def _take(self, stop: int) -> str:
        taken, self._at = self._held[self._at : stop], stop
        return taken

    def _take_settled(self, tags: tuple[str, ...], final: bool) -> str:
        """All that is held, but for what may be the beginning of one of *tags*."""
        return self._take(len(self._held) if final or not tags else _settled(self._held, self._at, tags))

    def _begin_reasoning(self) -> None:
        if self._reasoning:
            self._reasoning.append("\n")

    def _think(self, text: str) -> None:
        if text:
            self._reasoning.append(text)

    def _say(self, text: str) -> None:
        if text:
            self._answer.append(text)

    def _read_line(self) -> None:
        """Bring the line up to what was said: it is looked at only where a closing tag comes."""
        for text in self._answer[self._lined :]:
            self._line.add(text)
        self._lined = len(self._answer)

    def _retract(self) -> None:
        self._told, self._retracted = (self._told[1], 0), True
        self._reasoning, self._answer = self._answer, []
        self._had_block, self._step = True, Splitter._begin


class _Line:
    """Where in a text its end is: in a fence, in code, at the beginning of a line."""

    def __init__(self) -> None:
        self._in_fence = self._in_code = False
        self._head = self._last = self._tail = ""

    def add(self, text: str) -> None:
        first, *others = text.split("\n")
        self._extend(first)
        for line in others:
            self._in_fence ^= self._head == "```"
            self._in_code, self._head, self._last, self._tail = False, "", "", "\n"
            self._extend(line)

    def ends_thought(self, following: str, *, ends_line: bool) -> bool:
        """Whether a closing tag here, with *following* right behind it, ends reasoning: rule 2."""
        if self._in_fence or self._in_code or any(mark in (self._tail, following) for mark in _QUOTES):
            return False
        return ends_line or not self._last or self._last in _ENDS_OF_SENTENCES

    def _extend(self, text: str) -> None:
        bare = text.rstrip()
        if len(self._head) < len("```"):
            self._head = (self._head + text.lstrip())[: len("```")]
        self._in_code ^= text.count("`") % 2 == 1
        self._last = bare[-1:] or self._last
        self._tail = text[-1:] or self._tail


def _settled(text: str, start: int, tags: tuple[str, ...]) -> int:
    """Up to where *text*, from *start* on, cannot be the beginning of one of *tags*."""
    end = len(text)
    begin = max(start, end - _longest(tags) + 1)
    while (begin := min((at for first in _firsts(tags) if (at := text.find(first, begin)) >= 0), default=end)) < end:
        if _may_begin(text, begin, tags):
            return begin
        begin += 1
    return end


def _may_begin(text: str, start: int, tags: tuple[str, ...]) -> bool:
    """Whether what *text* has behind *start*, perhaps nothing, is the beginning of one of *tags*."""
    if len(text) - start >= _longest(tags):
        return False
    end = text[start:].lower()
    if end and end[0] not in _firsts(tags):
        return False
    return any(tag.startswith(end) for tag in tags)


@cache
def _longest(tags: tuple[str, ...]) -> int:
    return max(map(len, tags))


@cache
def _firsts(tags: tuple[str, ...]) -> tuple[str, ...]:
    """The characters that *tags* begin with; the only letter is that of a word that has but one case."""
    return tuple({tag[0] for tag in tags})
