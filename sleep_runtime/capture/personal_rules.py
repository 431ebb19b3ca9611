"""What personal data looks like where form alone tells: mail, phone, card, account, number.

Names, addresses and dates of birth have no form of their own; they are not found here. Addresses
of machines stay: lessons are about them.
"""

from __future__ import annotations

import re

from sleep_runtime.capture.masking import Rule

# Not where a path follows: git@host:repo and user@host:/path name machines, not people.
_EMAIL = re.compile(
    r"(?<![\w.%+-])(?!git@)[\w.%+-]+@(?:[^\W_](?:[\w-]{0,62})\.){1,8}[^\W\d_]{2,24}(?![\w-]|:[\w~/][\w.~/%+-]*+(?!@))"
    r"(?:[\w.%+-]*@[\w.%+-]*)*+"
)

# ---------------------------------------------------------------------------- bank accounts

_ACCOUNT = re.compile(
    r"[A-Za-z]{2}[0-9]{2}(?<![A-Za-z0-9][A-Za-z]{2}[0-9]{2})(?:[ ]?[A-Za-z0-9]){11,30}"
)
# Lengths by country, from the registry of ISO 13616.
_ACCOUNT_CHARS = {
    country: chars
    for chars, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FK FO GL NL SD",
        19: "MK SI",
        20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}


def _account(match: re.Match[str], text: str) -> str:
    """An IBAN of its country's length whose check holds, and what was caught behind it."""
    chars = _ACCOUNT_CHARS.get(match[0][:2].upper())
    places = [at for at, char in enumerate(match[0]) if char != " "]
    if chars is None or len(places) < chars:
        return match[0]
    end = places[chars - 1] + 1
    after = text[match.start() + end : match.start() + end + 1]
    account = match[0][:end].replace(" ", "")
    if after.isalnum() or not _mod_97(account):
        return match[0]
    return f"[iban]{match[0][end:]}"


def _mod_97(account: str) -> bool:
    """The check of ISO 13616: the account, read as one number, is 1 modulo 97."""
    return int("".join(str(int(char, 36)) for char in account[4:] + account[:4])) % 97 == 1


# ---------------------------------------------------------------------------- numbers

# The numbers of people are groups of digits on one line; the rules below see only those.
_DIGIT_GROUPS = re.compile(r"[(+]?[0-9][0-9 ()./+-]{5,}[0-9]")
_MARGIN = 2
_CARD = re.compile(r"(?<![\w.-])[1-6][0-9]{3}(?:[ -]?[0-9]){8,15}(?![\w-])")
_SSN = re.compile(
    r"(?<![\w-])(?!000|666|9[0-9]{2})[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}(?![\w-])"
)
_PHONE = re.compile(
    r"(?:(?<![+])\+[0-9]{1,3}[ .-]?(?:\([0-9]{1,4}\)[ .-]?)?[0-9](?:[ ./-]?[0-9]){6,12}"
    r"|(?:\([2-9][0-9]{2}\)[ ]?|(?<![\w+.-])(?<![0-9] )(?:(?:00)?1[ .-])?[2-9][0-9]{2}([ .-]))"
    r"[2-9][0-9]{2}(?(1)\1|[ .-])[0-9]{4}(?! [0-9])"
    r"|(?<![\w+.-])0[0-9]{2,4}[ /-][0-9]{5,9}"
    r"|(?<![\w+.-])(?<![0-9] )0[1-9][0-9]{1,3}(?:[ ][0-9]{2,4}){2,4}(?! ?[0-9])"
    r"|(?<![\w+.-])(?<![0-9] )0[1-9](?:\.[0-9]{2}){4}(?!\.[0-9])"
    r")(?!x?[0-9]{7}|[A-Za-wyz_0-9]|x(?![0-9])|-[0-9])"
)
_CARD_ISSUERS = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})\Z"  # Visa
    r"|(?:5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720))[0-9]+\Z(?<=[0-9]{16})"  # Mastercard
    r"|3[47][0-9]{13}\Z"  # American Express
    r"|(?:6011|64[4-9]|65|62|35)[0-9]+\Z(?<=[0-9]{16})"  # Discover, UnionPay, JCB
    r"|(?:1800|2131)[0-9]{11}\Z|3(?:0[0-5]|[689])[0-9]{11,12}\Z"  # JCB, Diners Club
    r"|(?:5018|5020|5038|5893|6304|6759|676[1-3])[0-9]{8,15}\Z"  # Maestro
    r"|62[0-9]{15,17}\Z"  # UnionPay, long
)
_PHONE_DIGITS = range(8, 16)


def _numbers(match: re.Match[str], text: str) -> str:
    """The digit groups with cards, social security and phone numbers masked.

    The rules look at the neighbours too, which stay as they are: no rule can match them.
    """
    left = text[max(0, match.start() - _MARGIN) : match.start()]
    right = text[match.end() : match.end() + _MARGIN]
    window = f"{left}{match[0]}{right}"
    window = _CARD.sub(_card, window)
    window = _SSN.sub("[ssn]", window)
    window = _PHONE.sub(_phone, window)
    return window[len(left) : len(window) - len(right)]


def _card(match: re.Match[str]) -> str:
    digits = re.sub(r"[ -]", "", match[0])
    return "[card]" if _CARD_ISSUERS.match(digits) and _luhn(digits) else match[0]


def _phone(match: re.Match[str]) -> str:
    return "[phone]" if sum(map(str.isdigit, match[0])) in _PHONE_DIGITS else match[0]


def _luhn(digits: str) -> bool:
    """The check digit of payment cards, ISO/IEC 7812-1."""
    total = 0
    for place, char in enumerate(reversed(digits)):
        number = int(char) * (2 if place % 2 else 1)
        total += number - 9 if number > 9 else number
    return total % 10 == 0


# ---------------------------------------------------------------------------- numbers by their name

_NAMED_PHONE = re.compile(
    r"(?:phone|telephone|tel|mobile|cellphone|fax|whatsapp)"
    r"(?:[ ](?:number|no\.?|nr\.?))?[ ]?(?:[ ]is[ ]|[:.#=-]{1,2}\s{0,2})"
    r"(?P<number>[+(]?[0-9][0-9 ()./-]{4,18}[0-9])(?![\w.-]?[0-9])"
)
_NAMED_SSN = re.compile(
    r"(?:ssn|social[ ]security(?:[ ](?:number|no\.?))?)(?:[ ]is)?[ :#=]{1,3}"
    r"(?P<number>[0-9]{3}[ -]?[0-9]{2}[ -]?[0-9]{4})(?![\w-])"
)
_NAMED_CARD = re.compile(
    r"(?:card|cc|visa|mastercard|amex)(?:[ ](?:number|no\.?))?(?:[ ]is)?[ :#?.]{1,3}"
    r"(?P<number>[0-9](?:[ -]?[0-9]){11,18})(?![\w-])"
)
_CALL = re.compile(
    r"(?:call|ring|text|dial|reach)[ ](?:(?:me|us|him|her|them)(?:[ ]back)?[ ])?(?:on|at)[ ]"
    r"(?P<number>[+(]?[0-9][0-9 ()./-]{5,18}[0-9])(?![\w.-]?[0-9])"
)
_EXTENSION = re.compile(r"\[phone\](?:[ ]?(?:x|ext\.?)[ ]?[0-9]{1,6}(?!\w))++")
_NAMED_PHONE_DIGITS = range(7, 16)


def _named_phone(match: re.Match[str], text: str) -> str:
    digits = sum(map(str.isdigit, match["number"]))
    return _named(match, text, "[phone]" if digits in _NAMED_PHONE_DIGITS else "")


def _named_ssn(match: re.Match[str], text: str) -> str:
    return _named(match, text, "[ssn]")


def _named_card(match: re.Match[str], text: str) -> str:
    return _named(match, text, "[card]" if _luhn(re.sub(r"[ -]", "", match["number"])) else "")


def _named(match: re.Match[str], text: str, placeholder: str) -> str:
    """The match with its number masked, or as it was where that is none of the kind.

    Only here is it checked that the name starts a word: a pattern that starts with its letters
    is found ten times faster.
    """
    start = match.start("number")
    if match.start() and text[match.start() - 1].isalnum():
        placeholder = ""
    return f"{text[match.start() : start]}{placeholder or text[start : match.end()]}"


_CARD_HINTS = ("card", "cc", "visa", "amex")
_PHONE_HINTS = ("phone", "tel", "mobile", "fax", "whatsapp")
_CALL_HINTS = ("call ", "ring ", "text ", "dial ", "reach ")
PERSONAL_RULES = (
    Rule(_ACCOUNT, _account),
    Rule(_NAMED_SSN, _named_ssn, ("ssn", "social security"), folded=True),
    Rule(_DIGIT_GROUPS, _numbers),
    Rule(_NAMED_CARD, _named_card, _CARD_HINTS, folded=True),
    Rule(_NAMED_PHONE, _named_phone, _PHONE_HINTS, folded=True),
    Rule(_CALL, _named_phone, _CALL_HINTS, folded=True),
    Rule(_EXTENSION, "[phone]", ("[phone]",)),
    Rule(_EMAIL, "[email]", ("@",)),
)
