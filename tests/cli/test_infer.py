"""``llm-pool infer`` as a person and a script meet it: codes, streams, stdin, Ctrl-C."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from llm_pool.cli.exit_codes import ExitCode
from llm_pool.cli.verdict import is_negative, verdict
from llm_pool.core.messages import Answer, Decision, Reading, StrategyName, Usage
from llm_pool.testing.processes import running_upstream

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Configure = Callable[..., Path]
NOBODY = "http://127.0.0.1:1"
CANDIDATES = '{"candidates":[{"id":"a","text":"4"},{"id":"b","text":"5"}],"query":"2+2?"}'

pytestmark = pytest.mark.usefixtures("config")


@pytest.mark.parametrize("strategy", [[], ["--strategy", "fastest"]])
def test_the_judge_pipeline_of_the_readme(strategy: list[str], llm_pool: Run) -> None:
    """``echo '{"candidates":[...]}' | llm-pool infer --task judge --json | jq .json.winner_id`` prints an id."""
    done = llm_pool("infer", "--task", "judge", "--json", *strategy, stdin=CANDIDATES)

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["json"]["winner_id"] in {"a", "b"}
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "stdin", "asked"),
    [
        (["Is 17 prime?"], "", "Is 17 prime?"),
        ([], "Is 17 prime?\n", "Is 17 prime?"),
        (["-"], "Is 17 prime?\n", "Is 17 prime?"),
        (["Sum it up."], "a report\n", "a report Sum it up."),
        (["Is 17 prime?", "--no-stdin"], "ignored", "Is 17 prime?"),
        (["--", "-5+3?"], "", "-5+3?"),
    ],
)
def test_the_prompt_is_the_argument_stdin_or_both(words: list[str], stdin: str, asked: str, llm_pool: Run) -> None:
    """Piped text first, so that the instruction may come last."""
    done = llm_pool("infer", *words, stdin=stdin)

    assert (done.returncode, done.stdout, done.stderr) == (0, f"phi3:mini heard: {asked}\n", "")


@pytest.mark.parametrize(
    ("words", "stdin", "code", "said"),
    [
        (["--task", "judg", "x"], b"", 2, "error: task: unknown task 'judg'\nhint: did you mean judge?\n"),
        (["--deadline-ms", "0", "x"], b"", 2, "error: deadline_ms: expected more than 0, got 0\n"),
        (
            ["-t", "expand_queries"],
            b"x" * 20_000,
            2,
            "error: prompt: 20000 bytes, over the limit of 16384\nhint: shorten",
        ),
        ([], b"ab\xff", 65, "error: stdin: invalid UTF-8 at byte 2 (0xff)\nhint: convert it first"),
        (["--input", "gone.jsonl"], b"", 66, "error: --input: cannot open 'gone.jsonl': no such file or directory\n"),
        ([], b"", 2, "error: prompt: there is none\nhint: llm-pool infer"),
        (["--task", "judge"], b'{"candidates":', 2, "error: prompt: task 'judge' takes JSON"),
    ],
)
def test_a_request_that_cannot_be_served_names_the_culprit(
    words: list[str], stdin: bytes, code: int, said: str, llm_pool: Run
) -> None:
    """The right code, nothing on stdout, no traceback."""
    done = llm_pool("infer", *words, stdin=stdin)

    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(said)
    assert "Traceback" not in done.stderr


def test_a_half_written_schema_is_a_configuration_error(config: Path, llm_pool: Run) -> None:
    """It names the prompt file."""
    prompts = config.parent / "prompts"
    prompts.mkdir()
    (prompts / "mine.md").write_text("+++\n[output_schema]\ntype = 'objec\n+++\n{{input}}\n", encoding="utf-8")

    done = llm_pool("infer", "--task", "mine", "x")

    assert (done.returncode, done.stdout) == (78, "")
    assert str(prompts / "mine.md") in done.stderr
    assert len(done.stderr.splitlines()) <= 3


def test_a_schema_that_is_none_is_a_configuration_error(config: Path, llm_pool: Run) -> None:
    prompts = config.parent / "prompts"
    prompts.mkdir()
    (prompts / "mine.md").write_text("+++\n[output_schema]\ntype = 'objec'\n+++\n{{input}}\n", encoding="utf-8")

    done = llm_pool("infer", "--task", "mine", "x")

    assert (done.returncode, done.stdout) == (78, "")
    assert "mine.md" in done.stderr
    assert "objec" in done.stderr


def test_a_stopped_upstream_is_three_lines_and_exit_69(configure: Configure, llm_pool: Run) -> None:
    """What, who and why, what to type; models of one server share a line."""
    configure(NOBODY)

    done = llm_pool("infer", "hello")

    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr.splitlines() == [
        "error: no provider could answer task 'ask'",
        "  phi3, llama31, gemma2: nobody listens at 127.0.0.1:1",
        "hint: ollama serve  or  llm-pool health",
    ]


def test_a_stopped_upstream_as_json(configure: Configure, llm_pool: Run) -> None:
    configure(NOBODY)

    done = llm_pool("infer", "hello", "--json")

    assert (done.returncode, done.stdout) == (69, "")
    error = json.loads(done.stderr)["error"]
    assert (error["code"], error["exit_code"]) == ("all_providers_failed", 69)
    assert {attempt["error_kind"] for attempt in error["attempts"]} == {"unreachable"}


def test_jsonl_prints_typed_events_as_they_come(llm_pool: Run) -> None:
    """Each line has a type and the format's version; the last is the answer."""
    lines = [json.loads(line) for line in llm_pool("infer", "hello there", "--jsonl").stdout.splitlines()]

    assert {line["v"] for line in lines} == {1}
    assert lines[0]["type"] == "start"
    assert lines[-1]["type"] == "answer"
    assert "".join(line["text"] for line in lines if line["type"] == "delta") == lines[-1]["content"]


@pytest.mark.parametrize("stream", ["--stream", "--no-stream"])
def test_streamed_or_whole_the_text_is_the_same(stream: str, llm_pool: Run) -> None:
    assert llm_pool("infer", "hello there", stream).stdout == "phi3:mini heard: hello there\n"


def test_explain_draws_on_stderr_and_leaves_stdout_alone(llm_pool: Run) -> None:
    """Data stays data."""
    done = llm_pool("infer", "hello", "--explain")

    assert done.stdout == "phi3:mini heard: hello\n"
    assert "ask · FASTEST" in done.stderr
    assert "★ phi3 primary" in done.stderr
    assert "\x1b" not in done.stderr


@pytest.fixture
def thinking(llm_pool: Run, configure: Configure, tmp_path: Path) -> Iterator[Run]:
    """A model that thinks before it answers."""
    thought = {"raw": "Yes.", "reasoning": "17 is odd.\nNothing but 1 and 17 divides it."}
    answers = tmp_path / "answers.jsonl"
    answers.write_text(json.dumps({"prompt": "Is 17 prime?", "models": {"phi3:mini": thought}}), encoding="utf-8")
    with running_upstream("--model", "phi3:mini", "--answers", str(answers)) as url:
        configure(url, "phi3:mini")
        yield llm_pool


@pytest.mark.parametrize("how", ["--stream", "--no-stream"])
def test_what_a_model_thinks_is_not_its_answer(how: str, thinking: Run) -> None:
    assert thinking("infer", "Is 17 prime?", how).stdout == "Yes.\n"


def test_what_a_model_thinks_can_be_seen(thinking: Run) -> None:
    explained = thinking("infer", "Is 17 prime?", "--explain", "--no-cache").stderr
    whole = json.loads(thinking("infer", "Is 17 prime?", "--json", "--no-cache").stdout)
    told = [json.loads(line) for line in thinking("infer", "Is 17 prime?", "--jsonl", "--no-cache").stdout.splitlines()]

    thought = "17 is odd.\nNothing but 1 and 17 divides it."
    assert "  phi3 thought:\n    17 is odd.\n    Nothing but 1 and 17 divides it.\n" in explained
    assert [attempt["reasoning"] for attempt in whole["decision"]["attempts"]] == [thought]
    assert "".join(line["text"] for line in told if line["type"] == "reasoning") == thought
    assert "".join(line["text"] for line in told if line["type"] == "delta") == "Yes."


def test_thinking_that_ate_the_answer_names_the_key(thinking: Run) -> None:
    done = thinking("infer", "Is 17 prime?", "--max-tokens", "3")

    assert (done.returncode, done.stdout) == (76, "")
    assert "reasoning took all its tokens, 3 at most" in done.stderr
    assert "set think = false in the section of provider phi3, or a larger max_tokens" in done.stderr


def test_an_answer_that_was_cut_is_marked(llm_pool: Run) -> None:
    """On stderr for a person, in the JSON for a program, and in the drawing."""
    plain = llm_pool("infer", "hello there", "--max-tokens", "2")
    whole = json.loads(llm_pool("infer", "hello there", "--max-tokens", "2", "--json").stdout)
    drawn = llm_pool("infer", "hello there", "--max-tokens", "2", "--explain")

    assert plain.stdout == whole["content"] + "\n"
    assert "note: cut at max_tokens" in plain.stderr
    assert (whole["finish"], whole["decision"]["attempts"][0]["finish"]) == ("length", "length")
    assert not whole["from_cache"]
    assert "cut at max_tokens" in drawn.stderr


def test_dry_run_says_whom_it_would_ask_and_asks_nobody(configure: Configure, llm_pool: Run) -> None:
    """Not even a stopped server keeps it from answering."""
    configure(NOBODY)

    done = llm_pool("infer", "hello", "--dry-run", "--json")

    plan = json.loads(done.stdout)
    assert (done.returncode, plan["strategy"]) == (0, "FASTEST")
    assert [member["provider"] for member in plan["panel"]] == ["phi3", "llama31", "gemma2"]


def test_dry_run_shows_the_prompt_of_each_variant(configure: Configure, llm_pool: Run) -> None:
    """Whoever is asked in other words is named with them."""
    path = configure(NOBODY, "phi3:mini")
    path.write_text(
        path.read_text(encoding="utf-8")
        + '[[providers]]\nname = "pocket"\ndriver = "llamacpp"\nmodel = "pocket-a"\nprompt_variant = "pocket"\n',
        encoding="utf-8",
    )
    words = ("infer", "--task", "expand_queries", "lounge videos", "--dry-run")

    plan = json.loads(llm_pool(*words, "--json").stdout)
    shown = llm_pool(*words).stdout

    own, pocket = plan["prompts"]
    assert (own["variant"], own["providers"]) == ("", ["phi3"])
    assert (pocket["variant"], pocket["providers"]) == ("pocket", ["pocket"])
    assert (own["user"], own["sha256"]) == (plan["user"], plan["prompt_sha256"])
    assert pocket["user"] != own["user"]
    assert f"sha256:{pocket['sha256']}, about {pocket['tokens_estimate']} tokens for pocket, variant pocket" in shown


@pytest.mark.parametrize(("words", "think"), [((), None), (("--think", "LOW"), "low"), (("--exit-status",), False)])
def test_think_is_asked_for(configure: Configure, llm_pool: Run, words: tuple[str, ...], think: object) -> None:
    """A yes or no needs none, unless one says so."""
    configure(NOBODY)

    assert json.loads(llm_pool("infer", "hello", "--dry-run", "--json", *words).stdout)["think"] == think


def test_another_word_for_thinking_is_refused(configure: Configure, llm_pool: Run) -> None:
    configure(NOBODY)

    done = llm_pool("infer", "hello", "--think", "much")

    assert done.returncode == 2
    assert "think: expected false, true, low, medium, high, got 'much'" in done.stderr


@pytest.mark.parametrize(
    ("variables", "words", "coloured"),
    [
        ({}, [], False),
        ({"FORCE_COLOR": "1"}, [], True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, [], False),
        ({"NO_COLOR": "1"}, ["--color", "always"], True),
        ({"FORCE_COLOR": "1"}, ["--color", "never"], False),
    ],
)
def test_colour_follows_the_flag_then_the_environment_then_the_stream(
    variables: dict[str, str], words: list[str], *, coloured: bool, llm_pool: Run
) -> None:
    done = llm_pool("infer", "hello", "--explain", *words, **variables)
    assert ("\x1b[" in done.stderr) is coloured


def test_a_reader_that_leaves_is_no_error(command: list[str]) -> None:
    """``llm-pool infer --jsonl … | head -1`` ends quietly."""
    with subprocess.Popen(
        [*command, "infer", "a b c d e f", "--jsonl"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(10) == 0


def test_a_batch_keeps_its_order_and_tells_what_failed(llm_pool: Run) -> None:
    """Exit 79; one line out for each line in; the tally on stderr."""
    lines = ['"one"', "", '{"prompt": {"candidates": [{"id": "a"}]}, "task": "judge"}', '{"prompt": 7}', "nonsense"]

    done = llm_pool("infer", "--input", "-", stdin="\n".join(lines))

    out = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["line"] for line in out] == [1, 3, 4, 5]
    assert out[0]["content"] == "phi3:mini heard: one"
    assert out[2]["error"]["field"] == "line 4"
    assert out[3]["error"]["message"].startswith("line 5: not JSON")
    assert done.returncode == ExitCode.PARTIAL
    assert done.stderr.splitlines()[0] == "answering lines …"
    assert done.stderr.splitlines()[-1].endswith("failed")


def test_a_line_of_a_batch_says_whether_the_models_think(llm_pool: Run) -> None:
    """In words of its own; another word is that line's error alone."""
    lines = (
        '{"prompt": "one", "think": "low"}',
        '{"prompt": "two", "think": false}',
        '{"prompt": "x", "think": "much"}',
    )

    done = llm_pool("infer", "--input", "-", stdin="\n".join(lines))

    one, two, wrong = map(json.loads, done.stdout.splitlines())
    assert (one["content"], two["content"]) == ("phi3:mini heard: one", "phi3:mini heard: two")
    assert "expected false, true, low, medium, high" in json.dumps(wrong)


def test_a_batch_without_any_answer_exits_as_its_first_line_would(llm_pool: Run) -> None:
    done = llm_pool("infer", "--input", "-", stdin='{"prompt":"x","task":"nope"}\n')
    assert done.returncode == ExitCode.USAGE


@pytest.fixture
def degrading(config: Path, configure: Configure, upstream: str) -> Path:  # takes the place of it
    """Nobody listens where the panel is; the last resort answers."""
    spare = f'[[providers]]\nname = "spare"\ndriver = "ollama"\nbase_url = "{upstream}"\nmodel = "phi3:mini"\n'
    path = configure(NOBODY, "gemma2:9b", more=f"{spare}last_resort = true\n")
    path.write_text(path.read_text(encoding="utf-8").replace("[[providers]]", '[[providers]]\ntasks = ["ask"]'))
    return path


@pytest.mark.usefixtures("degrading")
@pytest.mark.parametrize(
    "words", [[], ["-q"], ["-q", "--explain"], ["--no-stream"], ["-q", "--json"], ["-q", "--jsonl"]]
)
def test_a_degraded_answer_says_so(words: list[str], llm_pool: Run) -> None:
    """On stderr, though asked to be quiet: it is about the answer. Once, and in the answer for programs."""
    done = llm_pool("infer", "hello", *words)

    assert (done.returncode, done.stderr) == (0, "note: degraded: last resort: gemma2: nobody listens at 127.0.0.1:1\n")
    last = done.stdout.splitlines()[-1]
    assert last == "phi3:mini heard: hello" if last[0] != "{" else json.loads(last)["degraded"] is True


@pytest.mark.usefixtures("degrading")
def test_the_drawing_says_it_in_its_own_line(llm_pool: Run) -> None:
    """And the note is not repeated."""
    done = llm_pool("infer", "hello", "--explain")
    assert re.findall(r".*degraded: .*", done.stderr) == [
        "  degraded: last resort: gemma2: nobody listens at 127.0.0.1:1 (missing: gemma2)"
    ]


def test_explain_draws_a_failure_before_it_is_told(llm_pool: Run, tmp_path: Path) -> None:
    file = tmp_path / "down.toml"
    provider = '[[providers]]\nname = "p"\ndriver = "ollama"\nbase_url = "http://127.0.0.1:1"\nmodel = "m"\n'
    file.write_text(provider, encoding="utf-8")

    done = llm_pool("infer", "hello", "--explain", "--config", str(file))
    as_json = llm_pool("infer", "hello", "--explain", "--json", "--config", str(file))

    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr.startswith("ask · no answer\n  p primary")
    assert "\nerror: no provider could answer task 'ask'\n" in done.stderr
    assert json.loads(as_json.stderr)["error"]["attempts"][0]["provider"] == "p"


@pytest.mark.usefixtures("degrading")
@pytest.mark.parametrize("words", [[], ["-q"], ["--explain"], ["--exit-status"]])
def test_strict_prints_no_degraded_answer(words: list[str], llm_pool: Run) -> None:
    """Nor any piece of one that would have been streamed."""
    done = llm_pool("infer", "hello", "--strict", *words)

    assert (done.returncode, done.stdout) == (ExitCode.DEGRADED, "")
    assert done.stderr.splitlines() == [
        "error: the answer is degraded: last resort: gemma2: nobody listens at 127.0.0.1:1",
        "hint: without --strict it is printed, with a note",
    ]


@pytest.mark.usefixtures("degrading")
@pytest.mark.parametrize("output", ["--json", "--jsonl"])
def test_strict_as_json_is_an_error_and_no_answer(output: str, llm_pool: Run) -> None:
    done = llm_pool("infer", "hello", "--strict", output)

    assert (done.returncode, done.stdout) == (12, "")
    error = json.loads(done.stderr)["error"]
    assert (error["code"], error["exit_code"]) == ("degraded_answer", 12)


@pytest.mark.parametrize("output", [[], ["--json"], ["--jsonl"]])
def test_strict_changes_nothing_of_a_sound_answer(output: list[str], llm_pool: Run) -> None:
    plain, strict = (llm_pool("infer", "hello there", *output, *words) for words in ([], ["--strict"]))

    assert (strict.returncode, strict.stderr) == (0, "")
    assert _kinds(strict.stdout) == _kinds(plain.stdout)


def _kinds(out: str) -> list[str]:
    """Each line as it is, or the type of its event; deltas that follow each other are one, as time alone parts them."""
    lines = (json.loads(line).get("type", "answer") if line[0] == "{" else line for line in out.splitlines())
    return [kind for kind, _ in groupby(lines)]


@pytest.mark.usefixtures("degrading")
@pytest.mark.parametrize("quiet", [[], ["-q"]])
def test_a_batch_says_once_that_answers_are_degraded(quiet: list[str], llm_pool: Run) -> None:
    done = llm_pool("infer", "--input", "-", *quiet, stdin='"one"\n"two"\n{"prompt": 7}\n')

    assert done.returncode == ExitCode.PARTIAL
    assert [json.loads(line).get("degraded") for line in done.stdout.splitlines()] == [True, True, None]
    assert [line for line in done.stderr.splitlines() if "degraded" in line] == [
        "note: degraded: 2 of the answers; the decision of each says why"
    ]


@pytest.mark.usefixtures("degrading")
def test_a_strict_batch_fails_the_degraded_lines(llm_pool: Run) -> None:
    """If all lines fail, the code is that of the first, whichever ended first."""
    lines = '"one"\n{"prompt": 7}\n"two"\n'
    done = llm_pool("infer", "--input", "-", "--strict", stdin=lines)

    codes = [json.loads(line)["error"]["code"] for line in done.stdout.splitlines()]
    assert codes == ["degraded_answer", "invalid_request", "degraded_answer"]
    assert "heard" not in done.stdout
    assert (done.returncode, "note: degraded" in done.stderr) == (ExitCode.DEGRADED, False)


@pytest.fixture
def slow(configure: Configure) -> Any:
    """A model that writes a word every 100 ms, for four askers at once."""
    speed = ("--ttft", "const:0.02", "--per-token", "const:0.1", "--slots", "4")
    with running_upstream("--model", "phi3:mini", *speed) as url:
        configure(url, "phi3:mini", more=f'[groups."{url}"]\nslots = 4\n')
        yield url


def test_ctrl_c_ends_at_once_and_closes_the_upstream(slow: str, command: list[str]) -> None:
    """Exit 130 within 300 ms, in the middle of an answer, and the model stops writing."""
    with subprocess.Popen(
        [*command, "infer", "--stream", " ".join(["word"] * 60)],
        bufsize=0,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        seen = b""
        while b"word word" not in seen:
            seen += process.stdout.read(10)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=10)
        took = time.monotonic() - began

    assert (process.returncode, err) == (130, b"interrupted\n")
    assert took < 0.3
    time.sleep(0.2)
    assert _endings(slow) == ["cancelled"]


def test_an_interrupted_batch_keeps_the_finished_lines(slow: str, command: list[str]) -> None:
    """Line 1 is long; lines 2 and 3 are done when Ctrl-C comes, and are printed."""
    lines = [json.dumps(" ".join(["word"] * 60)), '"a"', '"b"']
    with subprocess.Popen(
        [*command, "infer", "--input", "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        process.stdin.write("\n".join(lines).encode())
        process.stdin.close()
        process.stdin = None
        while _endings(slow).count("answered") < 2:
            time.sleep(0.05)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=10)

    assert process.returncode == 130
    assert [json.loads(line)["line"] for line in out.splitlines()] == [2, 3]


def _endings(url: str) -> list[str]:
    with urllib.request.urlopen(f"{url}/_upstream/journal", timeout=5) as reply:
        entries = json.load(reply)["entries"]
    return [entry["ending"] for entry in entries if entry["path"] == "/api/chat"]


def _answer(content: str, value: Any = None, **changes: Any) -> Answer:
    asked = changes.get("asked", StrategyName.FASTEST)
    used = changes.get("used", asked)
    decision = Decision(
        asked=asked, used=used, winner="p", model="m", reading=Reading(content, value), reason="", attempts=()
    )
    return Answer(
        request_id="r",
        task="t",
        content=content,
        json=value,
        winner="p",
        winner_model="m",
        strategy_used=used,
        decision=decision,
        usage=Usage(),
        duration=0.1,
    )


@pytest.mark.parametrize(
    "text",
    [
        *("No.", "no", "**No**", "NO!", "No, because it is even.", "No - it is even.", "No\n\nIt is even.", '"No"'),
        *("No it is not.", "No 16 is even.", "Answer: No", "The final answer is **No**.", r"\boxed{No}", "“No.”"),
        *("none", "Null.", "", "  ", "N/A", "False"),
    ],
)
def test_a_no_is_read_however_a_model_writes_it(text: str) -> None:
    assert is_negative(text)


@pytest.mark.parametrize(
    "text",
    [
        "Yes.",
        "Yes, no doubt.",
        "No doubt it is.",
        "No problem: yes.",
        "Norway",
        "none of them is even",
        "Nothing is lost",
    ],
)
def test_what_only_begins_like_a_no_is_none(text: str) -> None:
    assert not is_negative(text)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (_answer("Yes, it is."), ExitCode.OK),
        (_answer("No."), ExitCode.NEGATIVE),
        (_answer("  "), ExitCode.NEGATIVE),
        (_answer("false", False), ExitCode.NEGATIVE),  # the JSON value false
        (_answer("[]", []), ExitCode.NEGATIVE),
        (_answer('"no"', "no"), ExitCode.NEGATIVE),
        (_answer("0", 0), ExitCode.OK),
        (_answer("{}", {"a": 0}), ExitCode.OK),
        (_answer("Yes", asked=StrategyName.CONSENSUS, used=StrategyName.VOTING), ExitCode.UNDECIDED),
    ],
)
def test_exit_status_says_no_nothing_or_no_agreement(answer: Answer, code: ExitCode) -> None:
    """For ``if llm-pool infer --exit-status …; then``."""
    assert verdict(answer) is code


def test_a_first_load_that_takes_long_is_told_of_where_nobody_watches(configure: Configure, llm_pool: Run) -> None:
    """One line on stderr, the default deadline waits, and the answer comes; with a deadline of its own it does not."""
    with running_upstream("--model", "phi3:mini", "--cold", "--load-time", "2.3") as url:
        configure(url, "phi3:mini", more="[qos]\nmax_deadline_ms = 1000\n[tasks.expand_queries]\n")
        held = llm_pool("infer", "--task", "expand_queries", "cats", "--deadline-ms", "500")
        waited = llm_pool("infer", "--task", "expand_queries", "cats")

    assert held.returncode == ExitCode.DEADLINE
    assert "phi3:mini has been loading for 0.5 s" in held.stderr
    assert (waited.returncode, waited.stderr) == (0, "loading phi3:mini …\n")


def test_one_provider_alone_and_what_the_models_are_told(llm_pool: Run) -> None:
    """By its name or its model's; the plan has the words, and the backend gets temperature and seed."""
    words = ("infer", "hello", "--provider", "gemma2", "--provider", "llama3.1:8b", "--system", "Be brief.")
    plan = json.loads(llm_pool(*words, "--temperature", "0.7", "--dry-run", "--json").stdout)
    answer = json.loads(llm_pool(*words, "--seed", "7", "--json").stdout)
    wrong = llm_pool("infer", "hello", "--provider", "gema2")

    assert {member["provider"] for member in plan["panel"]} == {"gemma2", "llama31"}
    assert plan["temperature"] == 0.7
    assert answer["winner"] in {"gemma2", "llama31"}
    assert (wrong.returncode, wrong.stderr) == (
        2,
        "error: --provider: there is no provider 'gema2'\nhint: did you mean gemma2?\n",
    )


def test_an_answer_has_to_fit_a_schema_of_the_askers(llm_pool: Run, tmp_path: Path) -> None:
    schema = tmp_path / "city.json"
    schema.write_text('{"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}')

    fits = llm_pool("infer", "Name a city.", "--schema", str(schema), "--json")
    gone = llm_pool("infer", "x", "--schema", "gone.json")
    schema.write_text("[1]")
    wrong = llm_pool("infer", "x", "--schema", str(schema))

    assert isinstance(json.loads(fits.stdout)["json"]["city"], str)
    assert (gone.returncode, wrong.returncode) == (ExitCode.NO_INPUT, ExitCode.USAGE)
    assert "--schema: cannot open 'gone.json'" in gone.stderr
    assert "is no JSON Schema" in wrong.stderr


def test_candidates_have_their_text_on_request(llm_pool: Run) -> None:
    """Those that gave no answer have none."""
    whole = json.loads(llm_pool("infer", "hello", "-s", "voting", "--json", "--candidates").stdout)
    plain = json.loads(llm_pool("infer", "hello", "-s", "voting", "--json").stdout)

    texts = {one["model"]: one["text"] for one in whole["decision"]["attempts"] if one["outcome"] == "ok"}
    assert texts == {model: f"{model} heard: hello" for model in texts}
    assert len(texts) >= 2
    assert not any("text" in one for one in plain["decision"]["attempts"])
    assert "it goes with --json" in llm_pool("infer", "hello", "--candidates").stderr


def test_a_daemon_is_asked_in_the_same_words(terminal: Callable[..., Any], llm_pool: Run) -> None:
    """One provider, a system text, a conversation, and feedback, all by ``--url``."""
    daemon = terminal("serve", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0")
    daemon.wait_for("try  curl")
    found = re.search(r"http://127\.0\.0\.1:\d+", daemon.screen)
    assert found is not None
    url = ("--url", found[0])

    answer = json.loads(llm_pool("infer", "hello", *url, "--provider", "gemma2", "--seed", "7", "--json").stdout)
    talk = llm_pool("chat", *url, stdin="one\n/model llama31\ntwo\n/why\n")
    heard = llm_pool("feedback", "nobody", "good", *url)
    refused = llm_pool("infer", "hello", *url, "--json", "--candidates")
    daemon.process.terminate()

    assert answer["winner"] == "gemma2"
    assert talk.stdout == "phi3:mini heard: one\nllama3.1:8b heard: two\n"
    assert "★ llama31 primary" in talk.stderr
    assert (heard.returncode, heard.stderr.partition(":")[0]) == (ExitCode.USAGE, "error")
    assert "--candidates: a daemon is not asked for that" in refused.stderr
    assert daemon.end() == 0
