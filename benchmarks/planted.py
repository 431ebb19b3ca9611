"""Planted secrets and harmless look-alikes, made from a seed: none was ever a credential."""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable, Iterator
from typing import NamedTuple

UPPER, LOWER, DIGITS = string.ascii_uppercase, string.ascii_lowercase, string.digits
B62 = UPPER + LOWER + DIGITS
B64URL = B62 + "-_"
HEX = DIGITS + "abcdef"
Make = Callable[[random.Random], str]


class Planted(NamedTuple):
    """A text, the secret in it that must not survive, and what kind of secret it is."""

    shape: str
    secret: str
    text: str


def _chars(size: int, alphabet: str, *, before: str = "", after: str = "") -> Make:
    return lambda rng: before + "".join(rng.choices(alphabet, k=size)) + after


def _bytes(size: int) -> Make:
    return lambda rng: base64.b64encode(rng.randbytes(size)).decode()


def _jwt(rng: random.Random) -> str:
    parts = (rng.randbytes(size) for size in (40, 32))
    middle, end = (base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode()
    return f"{head}.eyJ{middle}.{end}"


def _words(rng: random.Random) -> str:
    return " ".join(rng.sample(["orbit", "lemon", "quartz", "violin", "harbour", "maple"], 4))


# Known by their beginning, wherever they stand.
MARKED: dict[str, Make] = {
    "aws_id": _chars(16, UPPER + "234567", before="AKIA"),
    "github": _chars(36, B62, before="ghp_"),
    "github_fine": _chars(80, B62 + "_", before="github_pat_"),
    "gitlab": _chars(20, B64URL, before="glpat-"),
    "slack": _chars(24, B62, before="xoxb-123456789012-"),
    "stripe": _chars(24, B62, before="sk_" + "live_"),
    "openai": _chars(48, B62, before="sk-proj-"),
    "anthropic": _chars(93, B64URL, before="sk-ant-api03-"),
    "google": _chars(35, B64URL, before="AIza"),
    "google_refresh": _chars(80, B64URL, before="1//0"),
    "jwt": _jwt,
    "sendgrid": _chars(43, B64URL, before="SG.abcdefghij0123456789ab."),
    "twilio": _chars(32, HEX, before="SK"),
    "telegram": _chars(33, B64URL, before="AA"),
    "npm": _chars(36, B62, before="npm_"),
    "pypi": _chars(70, B64URL, before="pypi-AgEIcHlwaS5vcmc"),
    "huggingface": _chars(34, UPPER + LOWER, before="hf_"),
    "digitalocean": _chars(64, HEX, before="dop_v1_"),
    "vault": _chars(90, B64URL, before="hvs."),
    "databricks": _chars(32, HEX, before="dapi"),
    "shopify": _chars(32, HEX, before="shpat_"),
    "age": _chars(58, UPPER + DIGITS, before="AGE-SECRET-KEY-1"),
    "grafana": _chars(40, B62, before="glsa_"),
    "unknown_maker": _chars(40, B62, before="zz"),
}
# Known by the name before them only.
NAMED: dict[str, Make] = {
    "aws_secret": _chars(40, B62 + "/+"),
    "hex_key": _chars(32, HEX),
    "base64_key": _bytes(32),
    "password": _chars(4, DIGITS, before="Winter-"),
    "passphrase": _words,
}
_BARE = (
    "use the staging key {} only for smoke tests",
    "curl https://api.example.com/v1 -H 'X-Thing: {}'",
    "log: sending {}\nnext line",
    "the value `{}` was pasted by mistake",
)
_NAMES = ("API_KEY", "client_secret", "db-password", "auth_token", "SecretKey")
_AFTER_NAME = (
    '{name}="{value}"',
    '{{"{name}": "{value}", "region": "eu"}}',
    '{{\\"{name}\\": \\"{value}\\"}}',
    "{name} = '{value}'",
    "<{name}>{value}</{name}>",
)
_AFTER_NAME_BARE = (
    "export {name}={value}",
    "  {name}: {value}",
    "GET /v1/items?{name}={value}&page=2",
    "the {name} is {value}, for staging only",
)
_PLACED: tuple[tuple[str, str, Make], ...] = (
    ("url_login", "postgres://app:{}@db.internal:5432/main", _chars(10, B62 + "!$")),
    ("bearer", "Authorization: Bearer {}", _chars(40, B62)),
    ("basic", '-H "Authorization: Basic {}"', _bytes(14)),
    ("azure", "AccountName=x;AccountKey={};EndpointSuffix=core.windows.net", _bytes(64)),
    ("connection", "Server=db;User Id=sa;Password={};Encrypt=true", _chars(14, B62)),
    ("signature", "https://x.blob.core.windows.net/c?sv=2022&sig={}&se=2026", _chars(43, B62)),
    ("flag", "tool --api-key {} --verbose", _chars(24, HEX)),
    ("user_flag", "curl -u admin:{} https://x.example.com", _chars(11, B62)),
    ("mysql_flag", "mysql -u root -p{} -h db", _chars(11, B62)),
    ("slack_hook", "https://hooks.slack.com/services/{}", _chars(24, B62, before="T0AB12/B0CD34/")),
)


def planted(seed: int, *, each: int = 20) -> Iterator[Planted]:
    """``each`` secrets of every shape, in the places people and tools leave them."""
    rng = random.Random(seed)
    for _ in range(each):
        for shape, make in MARKED.items():
            secret = make(rng)
            shown = f"12345678:{secret}" if shape == "telegram" else secret
            yield Planted(shape, secret, rng.choice(_BARE).format(shown))
        for shape, make in NAMED.items():
            secret = make(rng)
            forms = _AFTER_NAME if " " in secret else _AFTER_NAME + _AFTER_NAME_BARE
            name = "db_password" if shape.startswith("pass") else rng.choice(_NAMES)
            yield Planted(shape, secret, rng.choice(forms).format(name=name, value=secret))
        for shape, form, make in _PLACED:
            secret = make(rng)
            yield Planted(shape, secret, form.format(secret))


_HARMLESS: tuple[tuple[str, Make], ...] = (
    ("commit {} broke the build", _chars(40, HEX)),
    ("image @sha256:{} is pinned", _chars(64, HEX)),
    ("session {}", lambda rng: str(_uuid(rng))),
    ("tool use toolu_{}", _chars(24, B62, before="01")),
    ("see message msg_{}", _chars(22, B62, before="01")),
    ("the price price_{} is live", _chars(24, B62)),
    ("trace 01{} failed", _chars(24, UPPER + DIGITS)),
    ("took {} us since the epoch", _chars(13, DIGITS, before="176")),
    ("diff-{}R103", _chars(64, HEX)),
    ("/var/lib/app/{}/cache/build-output-directory/index.html", _chars(12, LOWER)),
    ("com.example.platform.{}.AbstractProxyFactoryBean", _chars(10, LOWER)),
    ("ticket {} is done", _chars(6, DIGITS, before="INC-")),
    ("row {} of 10,000,000, 12.5 %", _chars(7, DIGITS)),
    ("the {} test is flaky", _chars(12, LOWER, before="test_parse_events_rejects_")),
    ("version 10.{}.100.200 and v1.2.3", _chars(2, DIGITS)),
)


def _uuid(rng: random.Random) -> str:
    run = "".join(rng.choices(HEX, k=32))
    return "-".join((run[:8], run[8:12], run[12:16], run[16:20], run[20:]))


def harmless(seed: int, *, each: int = 20) -> Iterator[str]:
    """Texts full of hashes, ids, paths and numbers, with nothing to hide."""
    rng = random.Random(seed)
    for _ in range(each):
        for form, make in _HARMLESS:
            yield form.format(make(rng))
