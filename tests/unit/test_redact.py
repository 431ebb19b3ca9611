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
_PUTTY = "PuTTY-User-Key-File-2: ssh-rsa\nPublic-Lines: 6\nAAAA\nPrivate-MAC: 0a1b2c"
_MANY = "Zk3Jp9Qw7Xv2Lm8Rt4Yn6Bc1aD5fG0hJ"
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
        (f"code is 4/0{_MANY}_{_B62[:22]}-E_gG-1w", "code is 4/[secret]"),
        (f"SG.{_B62[:22]}.{_MANY}_a", "SG.[secret]"),
        ("hvs." + "a" * 20 + "1", "hvs.[secret]"),
        ("bot 123456789:" + "AA" + _MANY, "bot 123456789:[secret]"),
        ("dop_v1_" + "0a" * 32, "[secret]"),
        ("shpat_" + "0a" * 16 + " is live", "[secret] is live"),
        ("---- BEGIN SSH2 " + "PRIVATE KEY ----\nx", "[secret]"),
        (f"key:\n{_PUTTY}\nafter", "key:\n[secret]\nafter"),
        ("AccountKey=" + "aB3/x+" * 14 + "==;Suffix=x", "AccountKey=[secret];Suffix=x"),
        ("export AWS_SECRET=" + "aB3/x+" * 6, "export AWS_SECRET=[secret]"),
        ('["api_key"]=>"a1b2c3d4e5"', '["api_key"]=>"[secret]"'),
        ("DB_PASS=hunter2 make", "DB_PASS=[secret] make"),
        ("<db_password>correct horse</db_password>", "<db_password>[secret]</db_password>"),
        ("tool --api-key 0a1b2c3d -v", "tool --api-key [secret] -v"),
        ("curl -u admin:hunter2 https://x.io", "curl -u admin:[secret] https://x.io"),
        ("mysql -u root -phunter2 -h db", "mysql -u root -p[secret] -h db"),
        ("https://x.io/c?sig=aB3x9Zk3Jp9Qw7Xv&se=2", "https://x.io/c?sig=[secret]&se=2"),
        ("Authorization: Basic QWxhZGRpbjpvcGVu", "Authorization: Basic [secret]"),
        ("İstanbul DB_PASSWORD=hunter2 x", "İstanbul DB_PASSWORD=[secret] x"),
        (
            f"use the staging key {_B62} only for tests",
            "use the staging key [secret] only for tests",
        ),
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
        ("gb29nwbk60161331926819", "[iban]"),
        ("card 30569309025904", "card [card]"),
        ("card number is 501800000009", "card number is [card]"),
        ("her SSN is 123 45 6789", "her SSN is [ssn]"),
        ("0688 872 49 99", "[phone]"),
        ("01.84.17.61.18", "[phone]"),
        ("Fax: 9498777106, ask", "Fax: [phone], ask"),
        ("call me on 9472 7916 after six", "call me on [phone] after six"),
        ("259.735.7502x459", "[phone]"),
        ("+44 7700 900 815-Home", "[phone]-Home"),
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
        "tool use toolu_01A5kqsoBwUvJzHyZpBcTnHt, price_1QxT8nK3sD9fG2hJ5kL7mN0p",
        "diff-9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08R103",
        "mysql -u root -p and mysql -P3306",
        "docker run -u 1000:1000 app; curl https://x.io",
        "pass --token-file, use the --password flag, pass: 12 fail: 0",
        "Authorization: Basic authentication is off",
        "the total is 1234567890123, intel: 123456789",
        "call them on 3 July, reach 10000000 rows",
        "the 12 (2010) and 0000 0010 0020",
        "breakpoints, mobile: 320-768, cell: 10000000",
        "10.128.0.42 stays, like 8.8.8.8",
        "GB29 NWBK is how ours begin",
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
        *[
            "AKIAIOSFODNN7EXAMPLE",
            "$X",
            "git",
            "x",
            "7",
            "ä",
            "İ",
            "?sig=",
            "--token ",
            "curl -u a:",
        ],
        *["mysql -p", "<password>", "</", "Fax: ", "call on ", "ext. 1", "SG.", "hvs.", "4/0", "_"],
        *[
            "card ",
            "gb29nwbk60161331926819",
            "ssn ",
            "0688 872 49 99",
            "DB_PASS=",
            "[phone]",
            "01.84",
        ],
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
        *["+491711234567", "a@b.cc", "password='\\\"`", "İ", "mysql ", "mysql -p", "curl -u a:"],
        *["<password>", "<a", "-key ", "--token a1", "?sig=", "Fax: 1", "call on 1", "[phone] x1"],
        *["PuTTY-User-Key-File-2", "GB29", "aB3-", "aB3.", "card 1", "(1", "+1 (0)", "01.84"],
    ],
)
def test_a_long_run_of_anything_takes_linear_time(unit: str) -> None:
    text = unit * (300_000 // len(unit)) + "!"
    start = time.process_time()
    redact(text)
    assert time.process_time() - start < 2
