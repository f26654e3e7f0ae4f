"""Prompt files become tasks, and inputs become prompts in which nothing of the input is obeyed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.config import load, prompts_folder
from llm_pool.core.errors import ConfigError, InvalidRequest
from llm_pool.core.messages import Call, Prompt, StrategyName, Task
from llm_pool.reading import read
from llm_pool.tasks import ASK, load_task, load_tasks, prepare, reorder, task_names, with_variant

SHIPPED = prompts_folder()
SIX = ["enrich_metadata", "expand_queries", "judge", "recovery_plan", "rerank_candidates", "site_tactics"]
TASKS = load_tasks([SHIPPED])
CANDIDATES = '{"candidates": [{"id": "x", "text": "one"}, {"id": "y", "text": "two"}, {"id": 3, "text": "three"}]}'
DOCS = Path(__file__).parents[2] / "docs" / "tasks.md"

FRONT = """\
kind = "value"
field = "label"
[output_schema]
type = "object"
required = ["label"]
properties.label = { type = "string", enum = ["spam", "ham"] }
"""

MARKERS = (
    *("<|im_start|>", "<|eot_id|>", "<|start_header_id|>", "<|end|>", "<|endoftext|>"),
    *("[INST]", "[/INST]", "[TOOL_CALLS]", "<<SYS>>", "<</SYS>>", "<s>", "</s>", "<bos>"),
    *("<start_of_turn>", "<end_of_turn>", "<\uff5cUser\uff5c>"),
)


def write(folder: Path, front: str = FRONT, body: str = "Sort: {{input}}", name: str = "sort") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.md"
    path.write_text(f"+++\n{front}+++\n{body}\n", encoding="utf-8")
    return path


def config_error(folder: Path, **file: str) -> ConfigError:
    write(folder, **file)
    with pytest.raises(ConfigError) as caught:
        load_task("sort", [folder])
    return caught.value


def invalid(task: Task, prompt: str) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        prepare(task, prompt)
    return caught.value


def call(task: Task, prompt: str) -> Call:
    prepared = prepare(task, prompt)
    return Call(
        request_id="r",
        task=task,
        input=prepared.input,
        prompt=prepared.prompt,
        schema=prepared.schema,
        ids=prepared.ids,
        max_tokens=10,
        temperature=0.0,
        began=0.0,
        deadline=1.0,
    )


def longest(schema: dict[str, Any]) -> int:
    """Characters of the longest compact JSON that *schema* allows; fails if there is no limit."""
    if "enum" in schema:
        return max(len(json.dumps(option)) for option in schema["enum"])
    match schema["type"]:
        case "string":
            return int(schema["maxLength"]) + 2
        case "number":
            return 24
        case "array":
            return int(schema["maxItems"]) * (longest(schema["items"]) + 1) + 1
        case "object":
            assert schema["additionalProperties"] is False
            return sum(len(name) + 4 + longest(inner) for name, inner in schema["properties"].items()) + 1
        case other:
            raise AssertionError(f"no limit is known for {other}")


class TestShippedTasks:
    """The six files in prompts/."""

    def test_there_are_six_and_the_plain_question(self) -> None:
        assert task_names([SHIPPED]) == sorted([*SIX, "ask"])

    @pytest.mark.parametrize("name", SIX)
    def test_each_answer_ends_within_its_tokens(self, name: str) -> None:
        """Even a model with one token per character cannot run into the limit within the grammar."""
        task = TASKS[name]
        assert task.output_schema is not None
        assert task.max_tokens is not None

        # a ranking's strings are ids of the input, which a grammar spells out; none of its text is free
        assert longest(task.output_schema) <= task.max_tokens * (3 if task.kind == "ranking" else 1)

    @pytest.mark.parametrize("name", SIX)
    def test_the_worked_example_is_valid(self, name: str) -> None:
        """What the prompt shows as right is accepted by its own schemas, word for word."""
        task = TASKS[name]
        shown = re.search(r"^Input: (.+)\nOutput: (.+)$", task.template, re.MULTILINE)
        assert shown is not None

        prepared = prepare(task, shown[1])
        reading = read(shown[2], schema=prepared.schema, kind=task.kind, field=task.field, ids=prepared.ids)

        assert reading.repair == "strict"

    @pytest.mark.parametrize("name", SIX)
    def test_system_and_user_are_parted_and_limits_given(self, name: str) -> None:
        prompt = prepare(TASKS[name], CANDIDATES if TASKS[name].ids_from else "something").prompt

        assert "Output:" in prompt.system
        assert prompt.user.startswith("Input: ")
        assert TASKS[name].description
        assert TASKS[name].deadline is not None

    def test_outputs_have_the_promised_fields(self) -> None:
        fields = {name: list((TASKS[name].output_schema or {})["properties"]) for name in SIX}

        assert fields == {
            "judge": ["winner_id", "confidence", "reason"],
            "rerank_candidates": ["ranking"],
            "expand_queries": ["must_include", "optional", "negatives", "site_hints"],
            "recovery_plan": ["severity", "steps", "rollback"],
            "enrich_metadata": ["title", "one_liner", "tags"],
            "site_tactics": ["tactics"],
        }

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("enrich_metadata", {"title": "x" * 61, "one_liner": "x", "tags": list("abcd")}),
            ("enrich_metadata", {"title": "x", "one_liner": "x" * 121, "tags": list("abcd")}),
            ("enrich_metadata", {"title": "x", "one_liner": "x", "tags": list("abc")}),
            ("enrich_metadata", {"title": "x", "one_liner": "x", "tags": list("abcdefghi")}),
            ("recovery_plan", {"severity": "low", "rollback": "x", "steps": [{"action": "x", "guardrail": "y"}] * 4}),
            ("recovery_plan", {"severity": "low", "rollback": "x", "steps": [{"action": "x"}]}),
            ("recovery_plan", {"severity": "odd", "rollback": "x", "steps": [{"action": "x", "guardrail": "y"}]}),
            ("site_tactics", {"tactics": [{"tactic": "x"}]}),
        ],
    )
    def test_outputs_outside_the_limits_are_invalid(self, name: str, value: Any) -> None:
        assert not jsonschema_rs.is_valid(TASKS[name].output_schema or {}, value)


class TestLoading:
    """From a file to a task."""

    def test_reads_front_matter_and_body(self, tmp_path: Path) -> None:
        front = f'description = "d"\ntemperature = 1\nmax_tokens = 9\ndeadline_ms = 250\n{FRONT}'
        path = write(tmp_path, front, "You sort.\n---user---\nMail: {{input}}")

        task = load_task("sort", [tmp_path])

        assert (task.name, task.description, task.kind, task.field) == ("sort", "d", "value", "label")
        assert (task.temperature, task.max_tokens, task.deadline) == (1.0, 9, 0.25)
        assert task.source == str(path)
        assert prepare(task, "hi").prompt == Prompt("You sort.", "Mail: hi")

    def test_front_matter_may_be_empty(self, tmp_path: Path) -> None:
        """Then it is a task with a free answer."""
        write(tmp_path, "")

        assert load_task("sort", [tmp_path]).kind == "text"

    def test_a_schema_may_be_json_text(self, tmp_path: Path) -> None:
        write(tmp_path, """output_schema = '{"type": "object", "required": ["n"]}'\n""")

        assert load_task("sort", [tmp_path]).output_schema == {"type": "object", "required": ["n"]}

    def test_windows_line_ends_and_a_byte_order_mark_are_fine(self, tmp_path: Path) -> None:
        path = write(tmp_path, body="System\n---user---\n{{input}}")
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))

        assert prepare(load_task("sort", [tmp_path]), "x").prompt.system == "System"

    def test_a_later_folder_goes_before_and_a_named_file_before_all(self, tmp_path: Path) -> None:
        write(tmp_path / "one", body="one {{input}}")
        write(tmp_path / "two", body="two {{input}}")
        named = write(tmp_path / "three", body="three {{input}}", name="other")
        folders = [tmp_path / "one", tmp_path / "two", tmp_path / "absent"]

        assert load_task("sort", folders).template == "two {{input}}"
        assert load_task("sort", folders, {"sort": named}).template == "three {{input}}"
        assert task_names(folders, {"mail": named}) == ["ask", "mail", "sort"]

    def test_the_plain_question_needs_no_file(self, tmp_path: Path) -> None:
        assert load_task("ask", []) is ASK
        assert prepare(ASK, '{"a": 1}').prompt.user == '{"a": 1}'

        write(tmp_path, "", "Be brief: {{input}}", name="ask")
        assert load_task("ask", [tmp_path]).template == "Be brief: {{input}}"

    def test_variants_are_other_words_for_the_same(self, tmp_path: Path) -> None:
        write(tmp_path)
        (tmp_path / "tiny").mkdir()
        (tmp_path / "tiny" / "sort.md").write_text("sort {{input}}\n", encoding="utf-8")

        assert load_task("sort", [tmp_path]).variants == {"tiny": "sort {{input}}"}

    def test_any_change_changes_the_version(self, tmp_path: Path) -> None:
        """The version is part of every cache key."""
        versions = set()
        for body in ("a {{input}}", "b {{input}}"):
            write(tmp_path, body=body)
            versions.add(load_task("sort", [tmp_path]).version)
        write(tmp_path / "v", "", name="unused")
        (tmp_path / "v" / "sort.md").write_text("c {{input}}", encoding="utf-8")
        versions.add(load_task("sort", [tmp_path]).version)

        assert len(versions) == 3
        assert load_task("sort", [tmp_path]).version in versions

    def test_other_files_in_the_folder_are_no_tasks(self, tmp_path: Path) -> None:
        (tmp_path / "README.md").write_text("# Prompts", encoding="utf-8")

        assert task_names([tmp_path]) == ["ask"]

    @pytest.mark.parametrize(
        ("name", "hint"),
        [
            ("juge", "did you mean judge?"),
            ("../judge", "did you mean judge?"),
            ("zzz", f"tasks are {', '.join(sorted([*SIX, 'ask']))}"),
        ],
    )
    def test_an_unknown_task_is_the_requests_fault(self, name: str, hint: str) -> None:
        with pytest.raises(InvalidRequest, match=rf"^task: unknown task '{re.escape(name)}'$") as caught:
            load_task(name, [SHIPPED])

        assert (caught.value.field, caught.value.hint) == ("task", hint)


class TestMistakesInPromptFiles:
    """Each names the file, the line, the key, what stands there and what would be right."""

    @pytest.mark.parametrize(
        ("front", "line", "said", "hint"),
        [
            ("temprature = 0.2\n", 2, "temprature: expected one of description, kind", "did you mean temperature?"),
            ("\ntemperature = 'hot'\n", 3, 'temperature: expected float, got "hot"', ""),
            ("temperature = 9\n", 2, "temperature: expected `float` <= 2.0, got 9", ""),
            ("max_tokens = 0\n", 2, "max_tokens: expected `int` >= 1, got 0", ""),
            ("kind = 'objct'\n", 2, 'kind: expected one of text, value, object, ranking, got "objct"', ""),
            ("kind = \n", 2, "expected TOML in the front matter, got Invalid value (at line 2, column", ""),
            (
                """output_schema = '{"type": "obj'\n""",
                2,
                "output_schema: expected a JSON Schema, as TOML or as JSON",
                "",
            ),
            ("kind = 'object'\n", None, "output_schema: expected a JSON Schema, for kind = 'object', got nothing", ""),
            (FRONT.replace('"value"', '"text"'), None, "kind: expected value, object or ranking", ""),
            (
                FRONT.replace('"label"\n', '"lable"\n', 1),
                None,
                "field: expected the deciding one of label",
                "did you mean label?",
            ),
            (FRONT.replace('"value"', '"ranking"'), None, "ids_from: expected where the ids are", ""),
            ("ids_from = 'a[].id'\n" + FRONT, None, "input_schema: expected a JSON Schema, for ids_from", ""),
            ("ids_from = 'a.id'\n" + FRONT, None, "ids_from: expected a path such as candidates[].id", ""),
        ],
    )
    def test_in_the_front_matter(self, tmp_path: Path, front: str, line: int | None, said: str, hint: str) -> None:
        error = config_error(tmp_path, front=front)

        place = f"{tmp_path / 'sort.md'}:{line}: " if line else f"{tmp_path / 'sort.md'}: "
        assert str(error).replace("`", "").startswith(place + said.replace("`", ""))
        assert (error.line, error.hint) == (line, hint)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("---\nkind: text\n---\n{{input}}", "expected front matter, TOML between two +++ lines, got '---'"),
            ("+++\nkind = 'text'\n{{input}}", "expected a closing +++ line"),
            ("+++\n+++\nno place", "expected {{input}} once in the body"),
            ("+++\n+++\n{{input}} {{input}}", "expected {{input}} once in the body"),
            ("+++\n+++\n{{input}}\n---user---\nno", "expected {{input}} once in the body, after the ---user--- line"),
        ],
    )
    def test_around_it(self, tmp_path: Path, text: str, said: str) -> None:
        (tmp_path / "sort.md").write_text(text, encoding="utf-8")

        with pytest.raises(ConfigError, match=re.escape(said)):
            load_task("sort", [tmp_path])

    def test_bytes_that_are_no_text(self, tmp_path: Path) -> None:
        (tmp_path / "sort.md").write_bytes(b"+++\n+++\n\xff{{input}}")

        with pytest.raises(ConfigError, match="expected UTF-8 text, got byte 8"):
            load_task("sort", [tmp_path])

    def test_a_variant_with_front_matter(self, tmp_path: Path) -> None:
        write(tmp_path)
        write(tmp_path / "tiny")

        with pytest.raises(ConfigError, match="a variant has no front matter"):
            load_task("sort", [tmp_path])

    def test_a_named_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"tasks\.sort\.prompt: expected a prompt file"):
            load_task("sort", [], {"sort": tmp_path / "sort.md"})

    def test_a_schema_that_is_none_shows_when_the_task_is_used(self, tmp_path: Path) -> None:
        """Checking it means loading the validator, which most commands never need."""
        write(tmp_path, FRONT.replace('type = "object"', 'type = "objct"'))
        task = load_task("sort", [tmp_path])

        with pytest.raises(ConfigError) as caught:
            prepare(task, "x")

        assert (caught.value.path, caught.value.key) == (tmp_path / "sort.md", "output_schema.type")
        assert '"objct"' in caught.value.got

    def test_a_schema_may_not_fetch(self, tmp_path: Path) -> None:
        write(tmp_path, FRONT + 'properties.more = { "$ref" = "http://127.0.0.1:9/s.json" }\n')

        with pytest.raises(ConfigError, match="output_schema: expected JSON Schema"):
            prepare(load_task("sort", [tmp_path]), "x")


class TestPreparing:
    """From an input to a question."""

    def test_judge_takes_candidates_and_nothing_more(self) -> None:
        prepared = prepare(TASKS["judge"], CANDIDATES)

        assert prepared.ids == ("x", "y", "3")
        assert prepared.schema is not None
        assert prepared.schema["properties"]["winner_id"] == {"type": "string", "enum": ["x", "y", "3"]}
        assert list(prepared.schema["properties"]) == ["winner_id", "confidence", "reason"]
        assert TASKS["judge"].output_schema["properties"]["winner_id"] == {"type": "string", "maxLength": 64}  # type: ignore[index]  # it has one

    def test_a_ranking_must_name_every_id_once(self) -> None:
        schema = prepare(TASKS["rerank_candidates"], CANDIDATES).schema
        assert schema is not None

        for ranking, valid in ((["y", "3", "x"], True), (["y", "x"], False), (["y", "y", "x"], False)):
            assert jsonschema_rs.is_valid(schema, {"ranking": ranking}) is valid

    @pytest.mark.parametrize(
        ("prompt", "value"),
        [
            ("cinematic lounge videos", "cinematic lounge videos"),
            ('{"query": "lounge"}', {"query": "lounge"}),
            ("42", "42"),
            ("{lounge} videos", "{lounge} videos"),
            ("[urgent] lounge", "[urgent] lounge"),
        ],
    )
    def test_expand_queries_takes_text_or_an_object(self, prompt: str, value: Any) -> None:
        assert prepare(TASKS["expand_queries"], prompt).input == value

    @pytest.mark.parametrize(
        ("task", "prompt", "said"),
        [
            ("judge", "which?", "prompt: task 'judge' takes JSON: Expecting value: line 1 column 1 (char 0)"),
            ("judge", '{"candidates": [{"id": "a"}, {"text": "b"}]}', "prompt.candidates[1].id: is missing"),
            (
                "judge",
                '{"candidates": [{"id": "a"}, {"id": "a"}]}',
                "prompt.candidates[1].id: 'a' is there twice; ids must differ",
            ),
            (
                "judge",
                '{"candidates": [{"id": "1"}, {"id": 1}]}',
                "prompt.candidates[1].id: '1' is there twice; ids must differ",
            ),
            ("judge", '{"candidates": [{"id": ""}]}', "prompt.candidates[0].id: "),
            ("judge", '{"candidates": [{"id": 1.5}]}', "prompt.candidates[0].id: "),
            ("judge", '{"candidates": []}', "prompt.candidates: "),
            ("judge", '{"candidates": "a"}', "prompt.candidates: "),
            ("judge", "{}", "prompt.candidates: is missing"),
            ("judge", "[]", "prompt: "),
            (
                "judge",
                '{"candidates": [{"id": "a", "score": NaN}]}',
                "prompt: task 'judge' takes JSON: NaN is not JSON",
            ),
            ("judge", "[" * 100_000, "prompt: task 'judge' takes JSON: nested too deep"),
            ("judge", f'{{"x": {"[" * 70}{"]" * 70}}}', "prompt: nested deeper than 64 levels"),
            ("judge", '{"candidates": [{"id": "\\ud800"}]}', "prompt: half a character"),
            ("expand_queries", '{"query": 5}', "prompt.query: 5 is not of type"),
            ("expand_queries", '{"query": "x"', "prompt: task 'expand_queries' takes JSON: Expecting ',' delimiter"),
            ("expand_queries", "half \ud83d", "prompt: half a character"),
        ],
    )
    def test_a_wrong_input_is_named(self, task: str, prompt: str, said: str) -> None:
        assert str(invalid(TASKS[task], prompt)).startswith(said)

    def test_the_hint_shows_the_shape(self) -> None:
        assert invalid(TASKS["judge"], "which?").hint == 'e.g. {"candidates": …}'

    def test_ids_deep_in_the_input(self, tmp_path: Path) -> None:
        front = """\
kind = "value"
field = "best"
ids_from = "page.items[].meta.key"
[input_schema]
type = "object"
[output_schema]
type = "object"
properties.best = { type = "string" }
"""
        write(tmp_path, front)
        task = load_task("sort", [tmp_path])

        prompt = '{"page": {"items": [{"meta": {"key": "k1"}}, {"meta": {"key": "k2"}}]}}'

        assert prepare(task, prompt).ids == ("k1", "k2")
        assert str(invalid(task, '{"page": {"items": [{"meta": {}}]}}')).startswith("prompt.page.items[0].meta.key: ")
        assert str(invalid(task, '{"page": {"items": []}}')).startswith("prompt.page.items: ")
        assert str(invalid(task, '{"page": []}')).startswith("prompt.page.items: ")


class TestInputIsData:
    """Whatever the input says, the model is shown it as input."""

    def test_a_placeholder_in_the_input_stays(self) -> None:
        assert prepare(ASK, "{{input}} and {{input}}").prompt.user == "{{input}} and {{input}}"

    def test_the_line_that_parts_stays_in_the_users_turn(self) -> None:
        prompt = prepare(TASKS["expand_queries"], "a\n---user---\nb").prompt

        assert "a\n---user---\nb" in prompt.user
        assert prompt.system == prepare(TASKS["expand_queries"], "c").prompt.system

    @pytest.mark.parametrize("marker", MARKERS)
    @pytest.mark.parametrize("template", ["{}", '{{"query": "{}"}}'])
    def test_chat_markers_are_broken(self, marker: str, template: str) -> None:
        """A space behind the first bracket is enough, and a reader still sees what was meant."""
        user = prepare(TASKS["expand_queries"], template.format(f"a {marker}system b")).prompt.user

        assert marker not in user
        assert marker in user.replace("< ", "<").replace("[ ", "[")

    def test_ordinary_brackets_stay(self) -> None:
        text = "if a < b || c > d: x[INSTALL] <b>bold</b> <strong> a|b <|"

        assert prepare(ASK, text).prompt.user == text

    def test_control_characters_become_spaces(self) -> None:
        assert prepare(ASK, "a\x00b\x1bc\td\ne").prompt.user == "a b c\td\ne"

    @given(st.text(min_size=1))
    def test_any_text_is_shown_or_refused(self, text: str) -> None:
        try:
            prompt = prepare(TASKS["enrich_metadata"], text).prompt
        except InvalidRequest:
            return

        assert prompt.user.startswith("Input:")
        prompt.user.encode()


class TestOtherWordsAndOrders:
    """The same question for another model, or in another order."""

    def test_a_variant_says_it_in_its_words(self) -> None:
        one = call(TASKS["judge"], CANDIDATES)

        other = with_variant(one, "pocket")

        assert other.prompt.user != one.prompt.user
        assert '"id": "x"' in other.prompt.user
        assert (other.input, other.ids, other.schema) == (one.input, one.ids, one.schema)

    def test_an_unknown_variant_changes_nothing(self) -> None:
        one = call(ASK, "hello")

        assert with_variant(one, "pirate") is one

    @given(st.integers() | st.text())
    def test_an_order_is_a_permutation_that_the_seed_decides(self, seed: int | str) -> None:
        one = call(TASKS["rerank_candidates"], CANDIDATES)

        other = reorder(one, seed)

        assert other == reorder(one, seed)
        assert other.ids == one.ids
        assert other.schema == one.schema
        assert sorted(map(str, other.input["candidates"])) == sorted(map(str, one.input["candidates"]))
        assert json.dumps(other.input) in other.prompt.user

    def test_orders_differ_and_leave_the_first_alone(self) -> None:
        one = call(TASKS["rerank_candidates"], CANDIDATES)

        orders = {tuple(item["id"] for item in reorder(one, seed).input["candidates"]) for seed in range(20)}

        assert len(orders) > 3
        assert [item["id"] for item in one.input["candidates"]] == ["x", "y", 3]

    def test_a_variant_keeps_the_order(self) -> None:
        moved = reorder(call(TASKS["rerank_candidates"], CANDIDATES), 1)

        assert json.dumps(moved.input) in with_variant(moved, "pocket").prompt.user

    def test_a_plain_question_has_no_order(self) -> None:
        one = call(ASK, "hello")

        assert reorder(one, 1) is one


class TestDocumentation:
    """docs/tasks.md shows what works."""

    def test_the_example_is_a_task_of_the_configuration_beside_it(self, tmp_path: Path) -> None:
        """The prompt file, the TOML and the question of the page, as a reader would copy them."""
        page = DOCS.read_text(encoding="utf-8")
        for path, text in re.findall(r"^(?:````md|```toml) (\S+)\n(.*?)^````?$", page, re.DOTALL | re.MULTILINE):
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_text(text, encoding="utf-8")
        question = re.search(r'--task triage "(.+)"', page)
        assert question is not None

        config = load(tmp_path / "llm-pool.toml")
        task = load_task("triage", config.prompt_folders, config.prompt_files)
        prepared = prepare(task, question[1])
        answer = '{"team": "Payments", "why": "charged twice"}'
        reading = read(answer, schema=prepared.schema, kind=task.kind, field=task.field)

        assert config.strategy_for("triage") is StrategyName.VOTING
        assert prepared.prompt.user == f"Input: {question[1]}\nOutput:"
        assert reading.value["team"] == "payments"

    @pytest.mark.parametrize("name", SIX)
    def test_every_task_is_in_the_table(self, name: str) -> None:
        row = re.search(rf"^\| `{name}` \|.*$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
        assert row is not None

        assert all(f"`{field}`" in row[0] for field in (TASKS[name].output_schema or {})["properties"])
