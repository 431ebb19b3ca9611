"""Redaction takes out what must not leave the journal, and leaves what lessons are about."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sleep_runtime.capture.redact import redact

# Built from parts, so that no scanner takes this file for a leak.
_B62 = "Zk3Jp9Qw7Xv2Lm8Rt4Yn6Bc1"
_JWT = ".".join(["eyJ" + "hbGciOiJIUzI1NiJ9", "eyJ" + "zdWIiOiIxMjM0In0", "dozjgNryP4J3jVmNHl0w5N"])
_PEM = "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIEow\nabc\n-----END RSA " + "PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("key " + "AKIA" + "IOSFODNN7EXAMPLE.", "key [secret]."),
        ("push with " + "ghp_" + _B62 + _B62[:12], "push with [secret]"),
        ("github_pat_" + _B62, "[secret]"),
        ("xoxb-" + "1234567890-abcdefghij", "[secret]"),
        ("OPENAI_API_KEY=" + "sk-proj-" + _B62, "OPENAI_API_KEY=[secret]"),
        ("use " + "sk-ant-api03-" + _B62 + "-x_y", "use [secret]"),
        ("AIza" + "SyA1234567890abcdefghijklmnopqrstuv", "[secret]"),
        (f"cookie {_JWT};", "cookie [secret];"),
        (f"before\n{_PEM}\nafter", "before\n[secret]\nafter"),
        ("-----BEGIN PRIVATE KEY-----\ncut off here", "[secret]"),
        ("postgres://app:hunter2@db:5432/main", "postgres://[secret]@db:5432/main"),
        ("Authorization: Bearer abcdef0123456789abcdef", "Authorization: Bearer [secret]"),
        ("password=hunter2 next", "password=[secret] next"),
        ("DB_PASSWORD: 'correct horse battery'", "DB_PASSWORD: '[secret]'"),
        ('{"client_secret": "a1b2c3d4e5"}', '{"client_secret": "[secret]"}'),
        (r"{\"api_key\": \"a1b2c3d4e5\"}", r"{\"api_key\": \"[secret]\"}"),
        ("""password="don't-1" x""", 'password="[secret]" x'),
        ('token: "a1b2c3d4e5f6', 'token: "[secret]'),
        ("token: a1b2c3d4e5f6", "token: [secret]"),
        ("my password is hunter2", "my password is [secret]"),
        ("password=" + "a1" * 400, "password=[secret]"),
        (f"the run {_B62} leaked", "the run [secret] leaked"),
    ],
)
def test_secrets_become_placeholders(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mail ana.b+x@example.co.uk.", "mail [email]."),
        ("ask ana@example.com: now", "ask [email]: now"),
        ("<jörg@büro.de>", "<[email]>"),
        ("card 4111 1111 1111 1111 ok", "card [card] ok"),
        ("5500-0000-0000-0004", "[card]"),
        ("378282246310005", "[card]"),
        ("pay to DE89 3704 0044 0532 0130 00 now", "pay to [iban] now"),
        ("GB29NWBK60161331926819", "[iban]"),
        ("BE68 5390 0754 7034 THEN", "[iban] THEN"),
        ("ssn 123-45-6789", "ssn [ssn]"),
        ("call +49 171 1234567", "call [phone]"),
        ("(415) 555-2671", "[phone]"),
        ("415-555-2671", "[phone]"),
        ("0171 1234567", "[phone]"),
    ],
)
def test_personal_data_becomes_placeholders(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "commit 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b broke it",
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "session cabd64ae-252c-48d9-bbdb-3048d50abbf7",
        "/Users/dev/.claude/skills/lore/scripts/mine-skills.mjs",
        "test_parse_events_rejects_the_bad_lines_by_index",
        "AbstractSingletonProxyFactoryBeanConfiguration2",
        "git@github.com:acme/deck.git",
        r"origin\tgit@github.com:acme/deck.git",
        "for line in 175 307 415 1386; do",
        "pip install left-pad@1.2.3",
        "max_tokens: 4096, temperature: 0.2",
        "def login(token: str, password: Optional[str] = None) -> None:",
        "token = get_token(session)",
        "password=$DB_PASSWORD and password=${DB_PASSWORD}",
        'api_key = os.environ["API_KEY"]',
        "token: <your-token>",
        "the password is wrong",
        "the token: it expires after an hour",
        "use adjusted EBITDA, and run the waterfall quarter over quarter",
        "2026-11-22T09:00:00Z took 1763802000000000 us",
        "4111 1111 1111 1112 fails the check",
        "GB28 NWBK 6016 1331 9268 19 fails the check",
        "192.168.100.200:8080, v1.2.3, 10,000,000 rows, 12.5 %",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "risk-adjusted-return-on-capital and sk-loading-spinner-container",
        "",
    ],
)
def test_what_lessons_are_about_stays(text: str) -> None:
    assert redact(text) == text


_FRAGMENTS = st.sampled_from(
    [
        *["password=", "token: ", '"', "'", "\\", " is ", " ", "\n", "@", ".", "-", ":", "/", "+"],
        *["a.b@c.de", "[secret]", "[email]", "[", "]", "://u:p@h", "sk-", _B62, _JWT, "Bearer "],
        *["4111111111111111", "DE89370400440532013000", "+49 171 1234567", "123-45-6789", "0171 "],
        *["(415) 555-2671", "415-555-2671", "1234567", ":~", "=", ","],
        *["AKIAIOSFODNN7EXAMPLE", "$X", "git", "x", "7", "ä"],
    ]
)


@given(st.one_of(st.lists(_FRAGMENTS, max_size=14).map("".join), st.text(max_size=200)))
@settings(max_examples=500, deadline=None, derandomize=True)
def test_redacting_twice_changes_nothing(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


@pytest.mark.parametrize(
    "unit",
    [
        *["a", "1", "-", "_", "a.", "a@", "a@b.", "eyJ-", "eyJa.", "sk-", "sk-a", "AKIA", "1 "],
        *["a://", "a://b:", "://b:c", "password=", 'password="', "password='\"", "token: ", "is "],
        *["-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "bearer ", "Bearer a/", "+1", "(415) "],
        *["DE89 ", "aB3", "AB12 ", "0171 ", "password is ", '\\"', "[secret]", "\n", " ", "1-"],
        *["+491711234567", "a@b.cc", "password='\\\"`"],
    ],
)
def test_a_megabyte_of_anything_takes_linear_time(unit: str) -> None:
    text = unit * (1_000_000 // len(unit)) + "!"
    start = time.process_time()
    redact(text)
    assert time.process_time() - start < 4
