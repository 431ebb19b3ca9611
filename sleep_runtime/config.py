"""Configuration: every setting, its default, and where a value came from.

Sources, the first wins: flags of the command line, environment names ``SLEEP_…`` (``__`` between
the parts of a key), the YAML file, the defaults here. Only ``load`` looks outside: a ``Settings``
sent to another process means the same there.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from sleep_runtime.core.access import NO_LIMITS, KeyLimits
from sleep_runtime.core.errors import InvalidConfig
from sleep_runtime.core.policy import Policy, PoolPolicy
from sleep_runtime.core.tokens import JwtPolicy

ENV_PREFIX = "SLEEP_"
ENV_CONFIG = "SLEEP_CONFIG"
ENV_URL = "SLEEP_URL"
ENV_API_KEY = "SLEEP_API_KEY"
ENV_SPOOL_DIR = "SLEEP_SPOOL_DIR"
ENV_FAILPOINTS = "SLEEP_FAILPOINTS"
RESERVED_ENV = frozenset({ENV_CONFIG, ENV_URL, ENV_API_KEY, ENV_SPOOL_DIR, ENV_FAILPOINTS})
MAX_FILE_BYTES = 1_000_000
MAX_FILE_VALUES = 100_000
_NULL = "tag:yaml.org,2002:null"
# What PyYAML's constructors raise for a scalar that its tag does not fit.
_UNREADABLE = (
    yaml.YAMLError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    OverflowError,
)
_JSON_MEND = 'write a list as ["a", "b"] and a mapping as {"a": 1}'


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HttpSettings(_Section):
    """Where the hot path listens and how much it takes at once."""

    host: str = Field(default="127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(default=8377, ge=1, le=65535, description="port to listen on")
    max_body_bytes: int = Field(
        default=16 * 1024 * 1024, gt=0, description="largest request body, after decompression"
    )
    body_timeout_s: float = Field(
        default=10.0, gt=0, description="longest that the body of one request may take to come"
    )
    max_bodies_bytes: int = Field(
        default=256 * 2**20,
        gt=0,
        description="bodies one replica holds at a time, together; more are refused",
    )
    max_ongoing_requests: int = Field(
        default=128, gt=0, description="requests one replica works on at a time"
    )
    max_queued_requests: int = Field(
        default=64, gt=0, description="requests that may wait for one; more are answered 503"
    )
    replicas: int = Field(default=1, gt=0, description="processes that serve requests")
    route_prefix: str = Field(
        default="/",
        pattern=r"^/([a-z0-9_-]+(/[a-z0-9_-]+)*)?$",
        description="where on the port; two runtimes of one cluster need two",
    )


class AuthSettings(_Section):
    """Who is let in beside those with a key: ``sleep-runtime keys``."""

    jwt: JwtPolicy = JwtPolicy()


class JournalSettings(_Section):
    """The raw event log."""

    max_batch: int = Field(default=512, gt=0, description="events made durable by one fsync")
    max_pending: int = Field(
        default=20_000, gt=0, description="events that may wait for the disk; more are refused"
    )
    max_pending_bytes: int = Field(
        default=256 * 2**20, gt=0, description="the same, in bytes of their JSON"
    )


class VllmSettings(_Section):
    """The engine inside the idle pool, with kind vllm."""

    tensor_parallel_size: int = Field(default=1, gt=0, description="GPUs the model is split over")
    quantization: str | None = Field(
        default=None, min_length=1, description="null takes what the weights say"
    )
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        default="auto", description="type of weights and activations"
    )
    max_model_len: int | None = Field(
        default=8192, gt=0, description="longest question and answer in tokens; null: the model's"
    )
    gpu_memory_utilization: float = Field(
        default=0.9, gt=0, le=1, description="share of a GPU's memory the engine takes"
    )
    kv_cache_bytes: int | None = Field(
        default=None, gt=0, description="memory for the cache instead of that share; for CPUs"
    )
    max_num_seqs: int = Field(default=64, gt=0, description="questions that run at a time")
    enforce_eager: bool = Field(
        default=False, description="no compilation: loads faster, answers slower"
    )
    sleep_level: int = Field(
        default=0,
        ge=0,
        le=2,
        description="what a pause gives back: 0 nothing, 1 to main memory, 2 all",
    )
    load_timeout_s: float = Field(default=600.0, gt=0, description="longest loading of the model")
    seed: int = Field(default=0, ge=0, description="of sampling, which is at temperature 0")


class EngineSettings(_Section):
    """Who reads sessions and compares claims at night."""

    kind: Literal["extractive", "openai", "vllm"] = Field(
        default="extractive",
        description=(
            "extractive needs no model; openai asks any OpenAI-compatible server; "
            "vllm runs a model in the idle pool"
        ),
    )
    base_url: str = Field(default="http://127.0.0.1:8000/v1", description="openai: the server")
    model: str = Field(
        default="", description="openai: the model's name there; vllm: its directory or id"
    )
    api_key: SecretStr = Field(
        default=SecretStr(""), description="openai: better given as SLEEP_ENGINE__API_KEY"
    )
    timeout_s: float = Field(default=60.0, gt=0, description="longest wait for an answer")
    max_concurrency: int = Field(default=8, gt=0, description="openai: questions in flight")
    retries: int = Field(default=2, ge=0, description="openai: repeats after a failed call")
    max_output_tokens: int = Field(default=1024, gt=0, description="longest answer in tokens")
    prefilter: bool = Field(
        default=True,
        description="leave out what cannot teach and pairs that have nothing in common",
    )
    sessions_per_question: int = Field(
        default=4, gt=0, description="short sessions of one scope that share a question"
    )
    pairs_per_question: int = Field(
        default=24, gt=0, description="pairs of notes that share a question"
    )
    vllm: VllmSettings = VllmSettings()

    @model_validator(mode="after")
    def _model_is_named(self) -> Self:
        if self.kind != "extractive" and not self.model.strip():
            raise ValueError(f"kind {self.kind} needs the name of a model: set engine.model")
        return self

    @model_validator(mode="after")
    def _answer_fits_the_model(self) -> Self:
        longest = self.vllm.max_model_len
        if self.kind == "vllm" and longest is not None and longest <= self.max_output_tokens:
            raise ValueError(
                "max_output_tokens leaves no room for a question in vllm.max_model_len: "
                "lower engine.max_output_tokens or raise engine.vllm.max_model_len"
            )
        return self


class IndexSettings(_Section):
    """Vectors of notes. Disposable: rebuilt from the ledger."""

    exact_limit: int = Field(
        default=100_000,
        ge=0,
        description="up to this many notes of a scope the vectors are held and searched exactly",
    )
    buckets: int = Field(default=16, gt=0, description="collections the organisations share")


class SearchSettings(_Section):
    """Defaults and limits of search."""

    k: int = Field(default=8, gt=0, description="notes a search gives when nothing is said")
    max_k: int = Field(default=100, gt=0, le=1000, description="notes a search gives at most")
    cache_mb: int = Field(
        default=384, gt=0, description="memory a replica uses for what is searched, in MB"
    )

    @model_validator(mode="after")
    def _default_within_limit(self) -> Self:
        if self.k > self.max_k:
            raise ValueError("k is larger than max_k: raise search.max_k or lower search.k")
        return self


class CompilerSettings(_Section):
    """How notes become prompt text when the caller does not say."""

    name: str = Field(default="markdown", min_length=1, description="the default compiler")
    budget_tokens: int = Field(default=800, gt=0, description="the default size of a context")
    tokenizer: str = Field(
        default="estimate",
        min_length=1,
        description="counts the tokens of a context: estimate, cl100k_base, o200k_base, or the"
        " path of a tokenizer.json",
    )


class TierShards(_Section):
    """Actors for each tier. More shards let more scopes of a tier consolidate at once."""

    org: int = Field(default=1, gt=0)
    team: int = Field(default=1, gt=0)
    individual: int = Field(default=1, gt=0)


class RaySettings(_Section):
    """The cluster the runtime runs on."""

    address: str = Field(default="", description="empty: start a local Ray; else join this one")
    namespace: str = Field(default="sleep-runtime", min_length=1, description="of named actors")
    num_cpus: int | None = Field(
        default=None, gt=0, description="processors of a local Ray; null means all"
    )
    object_store_bytes: int = Field(
        default=150_000_000, ge=75_000_000, description="shared memory of a local Ray"
    )
    dashboard: bool = Field(default=False, description="start Ray's dashboard")
    num_gpus: int | None = Field(
        default=None, ge=0, description="GPUs of a local Ray; null means those that are found"
    )
    nights_at_once: int = Field(
        default=1,
        ge=1,
        le=64,
        description="nights one actor of a tier runs at once; more feed an engine that batches",
    )
    tier_shards: TierShards = TierShards()


class SchedulerSettings(_Section):
    """How often due nights are looked for, and how a scope is held while one runs."""

    tick_s: float = Field(default=2.0, gt=0, description="time between two looks")
    lease_ttl_s: float = Field(default=30.0, gt=0, description="a silent owner loses the scope")
    heartbeat_s: float = Field(default=5.0, gt=0, description="how often an owner says it lives")
    max_due: int = Field(default=64, gt=0, description="nights started by one look")
    settle_s: float = Field(
        default=30.0, ge=0, description="longest a team waits for its people being distilled"
    )

    @model_validator(mode="after")
    def _heartbeat_within_lease(self) -> Self:
        if self.heartbeat_s * 2 > self.lease_ttl_s:
            raise ValueError("lease_ttl_s must be at least twice heartbeat_s")
        return self


class LogSettings(_Section):
    """What is logged, on stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = Field(
        default="console", description="console for people, json for machines"
    )


class Settings(BaseSettings):
    """Everything that can be set. Made by ``load``; made directly, it holds the defaults."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        env_parse_none_str="null",
    )

    data_dir: Path = Field(default=Path(".sleep"), description="where everything is kept")
    http: HttpSettings = HttpSettings()
    auth: AuthSettings = AuthSettings()
    limits: KeyLimits = NO_LIMITS
    journal: JournalSettings = JournalSettings()
    engine: EngineSettings = EngineSettings()
    index: IndexSettings = IndexSettings()
    search: SearchSettings = SearchSettings()
    compiler: CompilerSettings = CompilerSettings()
    ray: RaySettings = RaySettings()
    scheduler: SchedulerSettings = SchedulerSettings()
    pool: PoolPolicy = PoolPolicy()
    log: LogSettings = LogSettings()
    policy: Policy = Policy()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is the library's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)

    def absolute(self) -> Settings:
        """The same settings with an absolute data directory, fit for another process."""
        return self.model_copy(update={"data_dir": self.data_dir.expanduser().resolve()})


class Loaded(NamedTuple):
    """Settings and, for every dotted key, its source.

    A source reads ``default``, ``file PATH:LINE``, ``env NAME`` or ``flag``.
    """

    settings: Settings
    provenance: dict[str, str]


class InvalidSettings(InvalidConfig):
    """Several values of the configuration cannot be used."""

    def __init__(self, problems: Sequence[InvalidConfig]) -> None:
        self.problems = tuple(problems)
        first = self.problems[0]
        super().__init__(first.reason, field=first.field, mend=first.mend)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in getattr(self, "problems", ()))

    def __reduce__(self) -> tuple[object, ...]:
        return (InvalidSettings, (self.problems,))


class _Value(NamedTuple):
    key: str
    value: Any
    origin: str


def load(
    config_file: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """Read all sources. ``overrides`` are flags by dotted key; ``environ`` is ``os.environ``.

    Raises ``InvalidSettings`` naming every key that is unknown and every value that cannot be
    used, each with its source.
    """
    environ = os.environ if environ is None else environ
    problems: list[InvalidConfig] = []
    path = config_file or environ.get(ENV_CONFIG)
    values = _read_file(Path(path), problems) if path else []
    values += _env_values(environ, problems)
    values += [_Value(key, value, "flag") for key, value in (overrides or {}).items()]
    known = _only_known(values, problems)
    settings = _validated(known, problems)
    if settings is None or problems:
        raise InvalidSettings(problems)
    origins = {value.key: value.origin for value in known}
    return Loaded(settings, {key: origins.get(key, "default") for key in leaf_keys()})


def leaf_keys(model: type[BaseModel] = Settings, prefix: str = "") -> list[str]:
    """Every setting as a dotted key, in the order of the declaration."""
    keys: list[str] = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            keys += leaf_keys(kind, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys


def env_name(key: str) -> str:
    """The environment name of a dotted key: ``http.port`` is ``SLEEP_HTTP__PORT``."""
    return ENV_PREFIX + key.upper().replace(".", "__")


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of every setting; the value of one may be a mapping itself."""
    leaves = set(leaf_keys())
    for name, value in tree.items():
        if isinstance(value, Mapping) and prefix + name not in leaves:
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


# ---------------------------------------------------------------------------- sources


def _read_file(path: Path, problems: list[InvalidConfig]) -> list[_Value]:
    try:
        return _file_values(path, problems)
    except InvalidConfig as error:
        raise InvalidSettings([error]) from None


def _file_values(path: Path, problems: list[InvalidConfig]) -> list[_Value]:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InvalidConfig(f"is larger than {MAX_FILE_BYTES} bytes", field=str(path))
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise InvalidConfig(
            f"cannot be read: {error.strerror}", field=str(path), mend="check --config"
        ) from None
    except UnicodeDecodeError as error:
        raise InvalidConfig("is not UTF-8 text", field=str(path)) from error
    except yaml.YAMLError as error:
        raise InvalidConfig(_yaml_reason(error), field=str(path)) from None
    except RecursionError:
        raise InvalidConfig("is nested too deeply", field=str(path)) from None
    if root is None:
        return []
    _check_size(root, path)
    if not isinstance(root, yaml.MappingNode):
        raise InvalidConfig("is not a mapping of settings", field=str(path))
    return list(_walk(root, str(path), "", problems))


def _check_size(root: yaml.Node, path: Path) -> None:
    """Aliases let a small file stand for any number of values, or for itself."""
    values, waiting = 0, [root]
    while waiting:
        node = waiting.pop()
        values += 1
        if values > MAX_FILE_VALUES:
            raise InvalidConfig(
                f"holds more than {MAX_FILE_VALUES} values, aliases counted as what they stand for",
                field=str(path),
                mend="write what is meant without aliases",
            )
        if isinstance(node, yaml.MappingNode):
            waiting += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value


def _yaml_reason(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"is not YAML{where}: {getattr(error, 'problem', None) or 'cannot be parsed'}"


def _walk(
    node: yaml.MappingNode, path: str, prefix: str, problems: list[InvalidConfig]
) -> Iterator[_Value]:
    """Only known sections are descended into, so a file cannot nest or refer to itself forever."""
    seen: set[str] = set()
    for name_node, value_node in node.value:
        key = prefix + str(name_node.value)
        origin = f"file {path}:{name_node.start_mark.line + 1}"
        if key in seen:
            problems.append(
                InvalidConfig("is given twice", field=key or "''", mend=f"remove one: {origin}")
            )
        seen.add(key)
        if key not in _sections():
            yield _Value(key, _construct(value_node, key, problems), origin)
        elif isinstance(value_node, yaml.MappingNode):
            yield from _walk(value_node, path, f"{key}.", problems)
        elif value_node.tag != _NULL:  # a section with every line commented out is nothing
            yield _Value(key, None, origin)


def _construct(node: yaml.Node, key: str, problems: list[InvalidConfig]) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node, deep=True)
    except _UNREADABLE as error:
        reason = getattr(error, "problem", None) or str(error) or type(error).__name__
        mend = "write the value without a tag"
        problems.append(InvalidConfig(f"cannot be read: {reason}", field=key, mend=mend))
        return None
    finally:
        loader.dispose()


def _env_values(environ: Mapping[str, str], problems: list[InvalidConfig]) -> list[_Value]:
    known = {env_name(key) for key in leaf_keys()}
    ours = {n for n in environ if n.startswith(ENV_PREFIX) and n not in RESERVED_ENV}
    names = sorted(known | RESERVED_ENV)
    problems += [_unknown(name, names, f"env {name}") for name in sorted(ours - known)]
    values: list[_Value] = []
    for name in sorted(ours & known):
        source = EnvSettingsSource(Settings)
        source.env_vars = {name.lower(): None if environ[name] == "null" else environ[name]}
        try:
            found = dict(flatten(source()))
        except (SettingsError, RecursionError):  # no JSON, or nested too deeply to be a setting
            problems.append(
                InvalidConfig(f"{environ[name][:80]!r} is not JSON", field=name, mend=_JSON_MEND)
            )
        else:
            values += [_Value(key, value, f"env {name}") for key, value in found.items()]
    return values


# ---------------------------------------------------------------------------- checks


def _sections() -> set[str]:
    """The dotted names of everything that holds settings: ``http``, ``policy.triggers``."""
    parts = [key.split(".") for key in leaf_keys()]
    return {".".join(path[:n]) for path in parts for n in range(1, len(path))}


def _only_known(values: Sequence[_Value], problems: list[InvalidConfig]) -> list[_Value]:
    leaves, sections = leaf_keys(), _sections()
    known = []
    for value in values:
        if value.key in leaves:
            known.append(value)
        elif value.key in sections:
            problems.append(
                InvalidConfig(
                    "is a section, not a value",
                    field=value.key,
                    mend=f"name one of its settings: {value.origin}",
                )
            )
        else:
            problems.append(_unknown(value.key, [*leaves, *sorted(sections)], value.origin))
    return known


def _unknown(name: str, names: Sequence[str], origin: str) -> InvalidConfig:
    near = _nearest(name, names)
    mend = f"did you mean {near}?" if near else "see: sleep-runtime config show"
    where = "" if origin.endswith(name) else f", {origin}"
    return InvalidConfig(f"is not a setting{where}", field=name or "''", mend=mend)


def _nearest(name: str, names: Sequence[str]) -> str:
    """The nearest name: spelled like it, or the same last part in another section."""
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.75)
    if near:
        return near[0]
    last = name.rpartition(".")[2]
    tails = [known for known in names if known.rpartition(".")[2] == last]
    loose = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return (tails or loose or [""])[0]


def _validated(values: Sequence[_Value], problems: list[InvalidConfig]) -> Settings | None:
    try:
        return Settings(**_nested(values))
    except ValidationError as error:
        origins = {value.key: value.origin for value in values}
        problems += [_problem(detail, origins) for detail in error.errors(include_url=False)]
        return None


def _nested(values: Sequence[_Value]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value, _ in values:
        *path, leaf = key.split(".")
        branch = tree
        for part in path:
            branch = branch.setdefault(part, {})
        branch[leaf] = value
    return tree


def _problem(detail: Any, origins: Mapping[str, str]) -> InvalidConfig:
    key = ".".join(str(part) for part in detail["loc"])
    origin = origins.get(key)
    reason = detail["msg"].removeprefix("Value error, ")
    reason = reason[:1].lower() + reason[1:]
    if origin and "api_key" not in key:
        reason = f"{str(detail['input'])[:80]!r}: {reason}"
    return InvalidConfig(reason, field=key, mend=f"set by {origin}" if origin else "")
