from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sleep_runtime.config import InvalidSettings, Settings, env_name, flatten, leaf_keys, load
from sleep_runtime.core.errors import InvalidConfig

LOCAL = Path(__file__).parents[2] / "configs" / "local.yaml"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def problems_of(path: Path | None = None, **environ: str) -> list[InvalidConfig]:
    with pytest.raises(InvalidSettings) as caught:
        load(path, environ=environ)
    return list(caught.value.problems)


def test_without_any_source_every_value_is_its_default() -> None:
    loaded = load(environ={})
    assert loaded.settings == Settings()
    assert set(loaded.provenance.values()) == {"default"}
    assert list(loaded.provenance) == leaf_keys()


def test_flag_wins_over_environment_over_file_over_default(config: Path) -> None:
    config.write_text("http:\n  port: 1001\n  host: file\n  replicas: 3\nlog:\n  level: debug\n")
    environ = {"SLEEP_HTTP__PORT": "1002", "SLEEP_HTTP__HOST": "env", "PATH": "/bin"}
    settings, provenance = load(config, {"http.port": "1003"}, environ)
    assert (settings.http.port, settings.http.host, settings.http.replicas) == (1003, "env", 3)
    assert provenance["http.port"] == "flag"
    assert provenance["http.host"] == "env SLEEP_HTTP__HOST"
    assert provenance["http.replicas"] == f"file {config}:4"
    assert provenance["log.level"] == f"file {config}:6"
    assert provenance["journal.max_batch"] == "default"


def test_sleep_config_names_the_file_and_config_flag_wins(config: Path, tmp_path: Path) -> None:
    config.write_text("http: {port: 1001}\n")
    other = tmp_path / "other.yaml"
    other.write_text("http: {port: 1002}\n")
    environ = {"SLEEP_CONFIG": str(config)}
    assert load(environ=environ).settings.http.port == 1001
    assert load(other, environ=environ).settings.http.port == 1002


@pytest.mark.parametrize("key", leaf_keys())
def test_every_setting_has_an_environment_name(key: str) -> None:
    value = dict(flatten(Settings().model_dump(mode="json")))[key]
    text = json.dumps(value) if value is None or isinstance(value, list) else str(value)
    loaded = load(environ={env_name(key): text})
    assert loaded.settings == Settings()
    assert loaded.provenance[key] == f"env {env_name(key)}"


def test_deep_environment_name_reaches_the_policy() -> None:
    settings = load(environ={"SLEEP_POLICY__TRIGGERS__CADENCE_S": "60"}).settings
    assert settings.policy.triggers.cadence_s == 60


def test_weights_of_organisations_are_one_setting(config: Path) -> None:
    """Whatever an organisation is called: a dot in its name does not make it a section."""
    config.write_text("policy:\n  fairness:\n    weights: {acme.com: 3, other: 2}\n")
    loaded = load(config, environ={})
    assert loaded.settings.policy.fairness.weights == {"acme.com": 3, "other": 2}
    assert loaded.provenance["policy.fairness.weights"] == f"file {config}:3"
    name = "SLEEP_POLICY__FAIRNESS__WEIGHTS"
    from_environment = load(environ={name: '{"acme.com": 5}'})
    assert from_environment.settings.policy.fairness.weights == {"acme.com": 5}
    assert from_environment.provenance["policy.fairness.weights"] == f"env {name}"


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        ("{acme/team: 2}", "no organisation"),
        ("{acme: 0}", "greater than or equal to 1"),
        ("{acme: 1.5}", "integer"),
        ("{'a b': 2}", "not allowed"),
        ("3", "dictionary"),
    ],
)
def test_a_weight_that_makes_no_sense_is_refused(config: Path, weights: str, reason: str) -> None:
    config.write_text(f"policy:\n  fairness:\n    weights: {weights}\n")
    (problem,) = problems_of(config)
    assert problem.field.startswith("policy.fairness.weights")
    assert reason in problem.reason


@pytest.mark.parametrize(
    "key", ["tenant.max_tokens", "night.max_seconds", "window_s", "max_gpu_seconds"]
)
def test_a_budget_below_its_least_value_is_refused(key: str) -> None:
    name = env_name(f"policy.budget.{key}")
    (problem,) = problems_of(None, **{name: "-1"})
    assert problem.field == f"policy.budget.{key}"


def test_all_problems_are_told_at_once_with_field_reason_and_mend(config: Path) -> None:
    config.write_text(
        "http:\n  prt: 3\n  port: seventy\nengien:\n  kind: openai\n"
        "search: 3\nlog:\n  level: loud\n"
    )
    problems = problems_of(config, SLEEP_HTP__PORT="60")
    found = {problem.field: (problem.reason, problem.mend) for problem in problems}
    assert found["http.prt"] == (f"is not a setting, file {config}:2", "did you mean http.port?")
    assert found["SLEEP_HTP__PORT"] == ("is not a setting", "did you mean SLEEP_HTTP__PORT?")
    assert found["engien"][1] == "did you mean engine?"
    assert found["search"][0] == "is a section, not a value"
    assert "'seventy'" in found["http.port"][0]
    assert found["http.port"][1] == f"set by file {config}:3"
    assert "'debug', 'info', 'warning' or 'error'" in found["log.level"][0]
    assert len(problems) == 6


def test_the_error_reads_one_line_a_problem_and_crosses_processes(config: Path) -> None:
    config.write_text("a_setting: 1\nb_setting: 2\n")
    with pytest.raises(InvalidSettings) as caught:
        load(config, environ={})
    assert len(str(caught.value).splitlines()) == 2
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("http: [", "is not YAML"),
        ("- a\n- b\n", "is not a mapping"),
        ("data_dir: &a [*a]\n", "without aliases"),
        ("data_dir: !!python/object:os.system x\n", "cannot be read"),
        ("http:\n  port: 1\nhttp:\n  port: 2\n", "is given twice"),
        ("http: &a\n  port: *a\n", "without aliases"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(config: Path, text: str, reason: str) -> None:
    config.write_text(text)
    with pytest.raises(InvalidConfig, match=reason):
        load(config, environ={})


def test_a_missing_or_binary_file_is_an_error_naming_it(config: Path) -> None:
    with pytest.raises(InvalidConfig, match=r"config\.yaml: cannot be read: No such file"):
        load(config, environ={})
    config.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidConfig, match="is not UTF-8"):
        load(config, environ={})


def test_an_empty_file_or_section_changes_nothing(config: Path) -> None:
    config.write_text("# nothing\nhttp:\n  # port: 1\n")
    assert load(config, environ={}).settings == Settings()


def test_engine_openai_needs_a_model() -> None:
    problem = problems_of(SLEEP_ENGINE__KIND="openai")[0]
    assert (problem.field, "engine.model" in problem.reason) == ("engine", True)
    named = load(environ={"SLEEP_ENGINE__KIND": "openai", "SLEEP_ENGINE__MODEL": "m"})
    assert named.settings.engine.model == "m"


def test_engine_vllm_needs_a_model_and_room_for_questions() -> None:
    with pytest.raises(InvalidConfig, match="needs the name of a model"):
        load(overrides={"engine.kind": "vllm"}, environ={})
    chosen = {"engine.kind": "vllm", "engine.model": "tiny", "engine.vllm.max_model_len": 1024}
    with pytest.raises(InvalidConfig, match="no room for a question"):
        load(overrides=chosen, environ={})
    fits = load(overrides={**chosen, "engine.max_output_tokens": 256}, environ={})
    assert fits.settings.engine.vllm.max_model_len == 1024


def test_a_lease_must_outlive_two_heartbeats() -> None:
    assert "twice" in problems_of(SLEEP_SCHEDULER__HEARTBEAT_S="29")[0].reason


def test_a_secret_is_shown_nowhere(config: Path) -> None:
    settings = load(environ={"SLEEP_ENGINE__API_KEY": "sk-hush"}).settings
    assert "hush" not in repr(settings) + settings.model_dump_json()
    assert settings.engine.api_key.get_secret_value() == "sk-hush"
    config.write_text("engine:\n  api_key: [sk-hush]\n  timeout_s: -1\n")
    assert "hush" not in str(problems_of(config))


def test_settings_are_frozen_and_survive_the_way_to_another_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = load(overrides={"http.port": 1234}, environ={}).settings
    with pytest.raises(ValueError, match="frozen"):
        settings.http.port = 1  # type: ignore[misc]
    monkeypatch.setenv("SLEEP_HTTP__PORT", "4321")
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert Settings().http.port == Settings.model_fields["http"].default.port


def test_absolute_fixes_the_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load(environ={}).settings
    assert settings.absolute().data_dir == tmp_path / ".sleep"


def test_the_shipped_file_holds_every_key_with_its_default() -> None:
    written = dict(flatten(yaml.safe_load(LOCAL.read_text("utf-8"))))
    assert set(written) == set(leaf_keys())
    loaded = load(LOCAL, environ={})
    assert loaded.settings == Settings()
    assert all(origin.startswith("file ") for origin in loaded.provenance.values())


def test_the_shipped_file_explains_every_value() -> None:
    lines = LOCAL.read_text("utf-8").splitlines()
    bare = [line for line in lines if ": " in line and "#" not in line]
    assert {line.split(":")[0].strip() for line in bare} == {"kind", "base_url"}


def test_the_json_schema_describes_every_leaf() -> None:
    schema = Settings.model_json_schema()
    names = {n for part in schema["$defs"].values() for n in part.get("properties", ())}
    names |= set(schema["properties"])
    assert {key.rpartition(".")[2] for key in leaf_keys()} <= names


def test_loading_the_config_does_not_load_ray_or_the_stores() -> None:
    code = "import sys, sleep_runtime.config; print([m for m in ('ray','chromadb','sqlalchemy') if m in sys.modules])"  # noqa: E501
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
