"""What models and servers answer: completions, objects in them, and our own HTTP answers."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from reliability.fuzz.shapes import (
    damaged,
    in_bytes,
    json_objects,
    json_strings,
    json_values,
    texts,
)
from reliability.fuzz.target import Target
from sleep_runtime.client import answers as client_answers
from sleep_runtime.client import wire
from sleep_runtime.client.errors import ClientError
from sleep_runtime.core.observation import Usage
from sleep_runtime.core.ports import ChatRequest
from sleep_runtime.engines import openai_wire
from sleep_runtime.engines.answers import checked
from sleep_runtime.engines.json_schema import schema_of, violation
from sleep_runtime.engines.llm_answers import CompareAnswer, DistilAnswer

_SCHEMAS = tuple(schema_of(model) for model in (DistilAnswer, CompareAnswer))
_REQUESTS = tuple(
    ChatRequest(id="q", messages=(("user", "?"),), json_schema=schema, max_output_tokens=9)
    for schema in _SCHEMAS
)
_ITEM = json_objects(
    {
        "lines": st.just('["L1"]') | json_values,
        "quote": json_strings(),
        "statement": json_strings(),
        "kind": st.just('"fact"') | json_values,
        **{name: json_strings() for name in ("subject", "aspect", "value", "applies_when")},
        "durability": st.just('"standing"'),
    }
)
_SAID = st.one_of(
    json_objects({"reasoning": json_strings(), "verdict": st.just('"same"') | json_values}),
    st.tuples(json_strings(), st.lists(_ITEM, max_size=3)).map(
        lambda given: f'{{"reasoning":{given[0]},"items":[{",".join(given[1])}]}}'
    ),
    json_values,
    texts.map(lambda text: f"<think>{text}</think>```json\n{text}\n```"),
    st.sampled_from((("<think>", " "), ("```json\n", "\n"), ("```\n", " \n"))).map(
        lambda given: given[0] * 20_000 + given[1] * 50_000
    ),
)


def _read_model(content: str) -> None:
    for request, schema in zip(_REQUESTS, _SCHEMAS, strict=True):
        found = checked(content, request, Usage())
        assert (found.object is None) == bool(found.problem)
        if found.object is not None:
            assert not violation(found.object, schema)
            model = DistilAnswer if "items" in schema["properties"] else CompareAnswer
            model.model_validate(found.object)


_COMPLETIONS = st.one_of(
    json_values,
    json_objects(
        {
            "choices": _SAID.map(lambda said: f'[{{"message":{{"content":{json.dumps(said)}}}}}]'),
            "usage": json_objects({"prompt_tokens": json_values}),
            "error": json_values | json_objects({"message": json_strings(), "param": json_values}),
        }
    ),
)
_COMPLETION_BYTES = damaged(_COMPLETIONS.map(lambda text: in_bytes(text, "utf-8")))


def _read_completion(raw: bytes) -> None:
    for request in _REQUESTS:
        openai_wire.read_completion(raw, request, calls=1)
    openai_wire.is_completion(raw)
    openai_wire.read_refusal(raw, secret="k")


_NOTE = json_objects(
    {
        **{name: json_strings() for name in ("id", "statement", "kind", "scope", "subject")},
        "status": json_strings(),
        "confidence": json_values,
    }
)
_REPLIES = st.tuples(
    st.sampled_from((100, 200, 200, 204, 301, 400, 401, 404, 408, 413, 422, 429, 500, 503, 999)),
    damaged(
        st.one_of(
            json_values,
            json_objects(
                {"accepted": json_values, "duplicates": json_values, "rejected": json_values}
            ),
            json_objects({"text": json_strings(), "notes": json_values, "tokens": json_values}),
            json_objects({"hits": _NOTE.map(lambda note: f'[{{"note":{note},"score":1e999}}]')}),
            json_objects({"error": json_values}),
        ).map(lambda text: in_bytes(text, "utf-8"))
    ),
    texts | st.sampled_from(("1", "-1", "1e999", "nan", "inf", "1e308")),
)


def _read_reply(given: tuple[int, bytes, str]) -> None:
    reply = wire.Reply(*given)
    wire.judge(reply, 2)
    refused: ClientError | None = None
    for read in (
        client_answers.Context.read,
        client_answers.Hit.read_all,
        client_answers.NotePage.read,
        client_answers.NoteDetail.read,
    ):
        try:
            read(wire.decode(reply))
        except ClientError as error:
            refused = error
    if refused is not None:
        raise refused


MODELS: tuple[Target, ...] = (
    Target("model-answers", _SAID, _read_model, ()),
    Target("completions", _COMPLETION_BYTES, _read_completion, ()),
    Target("client-replies", _REPLIES, _read_reply, (ClientError,), told=False),
)
