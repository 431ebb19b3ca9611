"""A fixed share of the fuzzing of the HTTP interface against its own description."""

from __future__ import annotations

from pathlib import Path

import pytest

from reliability.fuzz import api

SEED = 20_261_127
INPUTS = 10


@pytest.mark.timeout(300)
def test_every_answer_is_one_that_the_description_names(tmp_path: Path) -> None:
    answers, failures, inputs = api.Answers(), list[str](), 0
    with api.store(tmp_path) as app:
        for ways in api.ways(app, api.page_of(app)):
            for way in ways:
                tried = api.run(way, seeded=SEED, inputs=INPUTS, answers=answers)
                failures += tried.failures
                inputs += tried.inputs
    print(f"{inputs} requests: {dict(answers.statuses)}")
    assert not failures
    assert answers.server_errors == 0
    assert inputs > 250
    good = {label.split()[1] for label in answers.statuses if label.endswith((" 200", " 202"))}
    for path in ("/v1/notes/{note_id}", "/v1/runs/{run_id}", "/v1/search", "/v1/feedback"):
        assert path in good, "the fuzzer never got past the refusals"


def test_an_answer_the_description_does_not_name_is_found(tmp_path: Path) -> None:
    with api.store(tmp_path) as app:
        page = api.page_of(app)
        del page["paths"]["/v1/notes/{note_id}"]["get"]["responses"]["404"]
        made = {way.label: way for ways in api.ways(app, page) for way in ways}
        way = made["GET /v1/notes/{note_id}"]
        tried = api.run(way, seeded=SEED, inputs=5, answers=api.Answers())
    assert any("404" in failure for failure in tried.failures)
