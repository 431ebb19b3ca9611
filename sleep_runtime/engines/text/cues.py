"""Cues: what tells a rule from a task, a one-off, a question, a mention and a thank-you."""

from __future__ import annotations

import re
from dataclasses import dataclass


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_PLACE = (
    r"(?!(?:repo|repository|project|team|account|client|customer|company|codebase|org|"
    r"organi[sz]ation|workspace|firm|"
    r"region|service|module|package|product|department|group|office|desk|house|portfolio|fund|"
    r"side|way)\b)"
)
_THING = (
    r"(?:draft|deck|version|time|one|once|case|report|meeting|call|run|chart|slide|ticket|pr|"
    r"branch|release|"
    r"sprint|email|mail|message|document|doc|page|file|quarter|week|month|demo|review|round|"
    r"session|"
    r"task|job|iteration|export|order|request|proposal|pitch|presentation|build|commit|change|"
    r"order|deal|incident|"
    r"migration|deployment|deploy|memo|analysis|model|update|exercise|instance|occasion|batch|"
    r"test|edit|copy)"
)
ONE_OFF = _any(
    r"\b(?:for )?(?:today|tonight|tomorrow)(?:['\u2019]s) \w+(?: only)?\b",
    r"\b(?:just|only|but only|this is|that's|it's) (?:for|in|on|with|during) (?:this|that|today|"
    r"tonight|now|the moment|tomorrow)\b(?:['\u2019]s)?(?: \w+)?",
    rf"\b(?:for|in|on|with|during) (?:this|that) (?:\w+ )?{_THING}\b(?: only| alone)?",
    rf"\b(?:just|only) (?:for|in|on|during) the (?:\w+ )?{_THING}\b",
    r"\b(?:for|in|on|with) (?:the|this|that) (?:\w+ ){1,4}?only\b",
    r"\b(?:just|only)? ?(?:this|that) (?:one time|time|once)\b(?: only| around)?(?:,? (?:please|"
    r"though))?",
    r"\b(?:just|only) (?:for )?(?:once|today|tonight|tomorrow|now|here|here and now)\b",
    r"\bfor (?:now|today|tonight|tomorrow|the moment|the time being)\b(?: only)?",
    r"\b(?:today|tonight|tomorrow|this week|this month|this quarter) only\b",
    r"\b(?:as )?(?:a|an) (?:one[- ]off|one[- ]time|exception|temporary)\b(?: \w+)?|"
    r"\bone[- ]off\b|\btemporarily\b",
    r"\bin this (?:one|instance|case)\b|\b(?:in|for|on|with) this (?:one\b|only\b|"
    + _PLACE
    + r"\w+)(?: only)?|\bthis once\b|\bon this occasion\b",
    r"\buntil (?:then|tomorrow|next \w+|monday|tuesday|wednesday|thursday|friday|the end of)\b",
    r"\bjust (?:for )?the (?:one|next) \w+\b|\bno need to (?:do|keep) (?:this|it) (?:again|"
    r"next time)\b",
)
_NOT_ONE_OFF = _any(
    r"\bnot (?:just|only) (?:for |in |on )?(?:this|that|today|now|once|here)(?: \w+)?",
    r"\b(?:this|that) (?:time )?and every (?:other )?\w+",
)
STANDING = _any(
    r"\b(?:from (?:now|today|here|this point|this \w+) (?:on|onwards?|forward)|going forward|"
    r"moving forward|"
    r"henceforth|hereafter|in (?:the )?future|for (?:all )?future|from then on)\b",
    r"\b(?:always|never|every ?time|each time|at all times|in every case|in all cases|by default|"
    r"as a default|"
    r"as a (?:general )?rule|in general|generally|without exception|no exceptions|as standard|"
    r"(?:the|our|a) (?:house )?(?:rule|convention|standard|policy|default|norm|house style)\b)",
    r"\b(?:our|the|house|team|company) (?:convention|standard|policy|rule|default|practice|"
    r"house style|style guide)\b",
    r"\b(?:remember|keep in mind|for (?:next time|the future|future reference|all \w+)|next time|"
    r"make a note|"
    r"note for (?:next time|the future|later)|please note|whenever|any ?time)\b",
    r"\b(?:not (?:just|only) (?:for )?(?:this|that|today|now|once)|permanently|for good|on every|"
    r"in every|for every|"
    r"as usual|as always|the usual way|across the board|every single)\b",
    r"\b(?:i|we)(?:'ve| have)? (?:told|said|asked|mentioned|corrected)[^.]{0,40}\b(?:before|"
    r"already|again|times)\b",
)
_STANDING_NOISE = _any(
    r"\b(?:it|this|that|they|you|he|she|which|who|there) (?:(?!should|must|need|ought|"
    r"can)\w+ )?(?:always|never)\b",
    r"\bnever (?:seen|heard|had|been|met|known|thought|felt|tried|liked|got|worked|looked)\b",
    r"\bnever ?mind\b|\bi(?:'ve)? (?:always|never) (?:forget|forgot|know|knew|remember|seen|"
    r"heard|used|understood)\b",
    r"\b(?:has|have|had|was|were) (?:always|never)\b|\b(?:almost|nearly|not) (?:always|never)\b|"
    r"\bas always,? thanks\b",
    r"\b(?:don't|do not|can't|cannot|didn't) remember\b|\bremember (?:when|that time|how)\b|"
    r"\balways (?:a pleasure|great|happy)\b",
)
HEDGED = _any(
    r"\b(?:might|maybe|perhaps|possibly|probably|presumably|apparently|supposedly|allegedly|"
    r"potentially)\b",
    r"\b(?:someone|somebody|anyone|some people|people|folks|others|a (?:friend|colleague|guy|"
    r"person)|a few of us)\b"
    r"[^.]{0,30}?\b(?:mention\w*|said|says|saying|suggest\w*|brought|asked|think\w*|thought|"
    r"wonder\w*|talk\w*|prefer\w*|use[sd]?|like[sd]?|claim\w*|rais\w*)\b",
    r"\b(?:mentioned|mentions|wonder|wondering|wondered|considering|debating|discussing|"
    r"contemplating|toying|rumou?rs?|"
    r"heard|hearing|read somewhere|overheard|came up|brought up|not sure|unsure|unclear|"
    r"undecided|not decided|"
    r"no decision|tbd|up in the air|on the fence|still open|under discussion|floated|pondering|"
    r"being discussed|"
    r"haven't decided|have not decided|yet to decide|to be decided|to be confirmed|tbc)\b",
    r"\b(?:thinking (?:of|about)|thought about|what if|how about|what about|we could|i could|"
    r"one could|could be|may be|may want|might want|"
    r"would be (?:nice|cool|interesting|good)|in theory|hypothetically|if (?:we|they|"
    r"you) (?:ever|were to)|some day|someday|eventually)\b",
    r"\b(?:saw|seen|noticed|read) (?:a|an|that|some|somewhere|something|in)\b|\b(?:competitors?|"
    r"other (?:teams?|firms?|companies|people|clients?))\b",
    r"\b(?:let me|i'll|we'll|i will|we will|i'm going to|we're going to|i am|i was|i've|"
    r"we've) (?:think|check|see|look|ask|find|consider|get|go|do|be|try)\w*\b",
    r"\b(?:suggested|suggests|proposed|proposes|proposing|recommended) (?:that|we|to|using|"
    r"switching|moving|a|an|the)\b",
)
QUESTION = re.compile(
    r"(?:\A|[,—\u2013-]\s)\W*(?:(?:so|and|but|ok|okay|hey|hi|hmm+|um|also|btw|quick question|"
    r"wait)[,:]?\s+)*"
    r"(?:why|what|what's|whats|where|when (?:do|did|is|are|will|should|can)|which|who|how|"
    r"is (?:it|there|this|that|the)|are (?:we|you|there|these|the)|do (?:we|you|i|they)|"
    r"does|did|should (?:we|i|it|this|that|the)|shall|can (?:we|i|it)|could (?:we|i|it)|would it|"
    r"have (?:you|we)|has|was|were|isn't|aren't|don't you|any(?:one| idea))\b",
    re.IGNORECASE,
)
POLITE_REQUEST = re.compile(
    r"\b(?:can|could|would|will) you\s+(?:please\s+|kindly\s+|just\s+|also\s+|maybe\s+)*|"
    r"\bwould you mind\s+|\bi(?:'d| would) (?:like|want|need|love) you to\s+|\bi (?:want|"
    r"need) you to\s+|"
    r"\byou (?:should|must|need to|have to|can|could|ought to)\s+(?=(?:always|never|not|use|show|"
    r"keep|put|run)\b)",
    re.IGNORECASE,
)
_ACK = re.compile(
    r"\W*(?:(?:ok(?:ay)?|k|thanks?|thank you|thx|ty|cheers|great|perfect|nice|good|cool|awesome|"
    r"excellent|lovely|"
    r"yes|yep|yup|yeah|y|no|nope|sure|fine|right|agreed|got it|sounds good|looks? (?:good|great|"
    r"fine|right|better)|"
    r"lgtm|well done|done|proceed|continue|go ahead|go for it|ship it|hi|hello|hey|morning|"
    r"good (?:morning|evening|"
    r"afternoon)|bye|see you|so much|a lot|very much|again|all|job|work|stuff|much better|better|"
    r"team|everyone|"
    r"never ?mind|scratch that|ignore (?:that|this)|forget (?:it|that)|much appreciated|"
    r"appreciated?|that works|works|"
    r"that'?s (?:it|all|great|perfect|fine|right|good|better)|now|for (?:that|this|the \w+)|and|"
    r"you|too|have a \w+ \w+)"
    r"[\s,.!:;)(—\u2013-]*)+\Z",
    re.IGNORECASE,
)
_PAST = re.compile(
    r"\b(?:used to|last (?:year|quarter|month|week|time)|yesterday|back then|previously|"
    r"in the past|(?<!what )(?<!than )(?<!how )(?<!like )(?:we|i|they|he|she|it|you) "
    r"(?:just )?(?:used|had|did|made|went|got|ran|put|tried|showed|was|were|sent|saw|forgot|told|"
    r"asked|changed|updated|added|fixed|\w{3,}ed))\b",
    re.IGNORECASE,
)
CORRECTIVE = re.compile(
    r"\A\W*(?:no|nope|nah|wrong|incorrect|not (?:quite|right|like that|what)|actually|again|"
    r"still|that'?s (?:wrong|not)|"
    r"this is (?:wrong|not)|correction|as i said|like i said|i (?:said|told you|asked)|"
    r"please don'?t|stop|hmm+,? no)\b",
    re.IGNORECASE,
)
_FAULT = re.compile(
    r"\b(?:not|isn't|aren't|wasn't|weren't)\s+(?:\w+\s+)?(?:how|what|the way|right|correct|good|"
    r"okay|acceptable|like (?:this|that)|(?:this|that) way)\b|\b(?:wrong|incorrect|a mess)\b|"
    r"\b(?:won't|doesn't|don't|can't|(?:will|does|do) not|cannot)\s+(?:match|fit|look)\b|"
    r"\b(?:won't|doesn't|don't|can't|(?:will|does|do) not|cannot) work\Z|"
    r"\b(?:don't|doesn't|do not|does not) \w+ (?:like (?:this|that)|(?:that|this) (?:way|day))\b",
    re.IGNORECASE,
)
_ANSWER = re.compile(
    r"[:;=()\u2013\u2014]|[.!?,]\s+\w|\b(?:should|must|needs?|wants?|instead|rather|supposed|ought|use|"
    r"expect\w*|prefer\w*|but|because|since|when|if|please|always|never|only|every|until)\b|\d",
    re.IGNORECASE,
)
_FAULT_WORDS = 14
_ANAPHORIC = re.compile(
    r"\A\W*(?:(?:and|but|again)[,\s]+)*(?:(?:please )?(?:do|keep|remember|note|treat|"
    r"apply) (?:this|that|it|the same)|(?:this|that|it|these|those|same)"
    r"(?:'s|\u2019s| is| are| goes| holds| applies| stays)?|from now on|going forward|always|"
    r"every ?time|by default|only|just|not (?:just|only)|for (?:now|today|this|that|all|every)|"
    r"please remember|as a rule|next time|in general|in future)\b",
    re.IGNORECASE,
)


_POINTS_BACK = re.compile(
    r"\A\W*(?:(?:and|but|again|please|always)[,\s]+)*(?:(?:do|keep|treat|apply) (?:doing )?"
    r"(?:this|that|it|so|the same|them)\b|(?:remember|note) (?:this|that|it)"
    r"(?=\s*(?:[.,;!]|\Z|for|when|next))|(?:i|we) (?:\w+ ){0,2}?(?:like|prefer|want|need|do|have|"
    r"keep|use) (?:it|them|this|that|these|those) (?:that|this|the same) way\b)",
    re.IGNORECASE,
)
_THAT_WAY = re.compile(r"\b(?:that|this|the same) way\b|\blike (?:this|that)\b", re.IGNORECASE)
COMPLAINT = re.compile(
    r"\b(?:again|still|once more|yet again|too \w+|(?:is|are|was|looks?) (?:all )?(?:wrong|off|"
    r"missing|broken|incorrect|not right))\b",
    re.IGNORECASE,
)
"""What somebody finds wrong with the thing at hand: a state, and no rule."""


@dataclass(frozen=True, slots=True)
class Cues:
    """What the closed cues of one text say. All False: nothing either way."""

    one_off: bool
    standing: bool
    hedged: bool
    past: bool


def read(text: str) -> Cues:
    """The cues of a sentence or clause. Runs in time linear in its length."""
    text = text.replace("\u2019", "'")
    lasting = bool(_NOT_ONE_OFF.search(text))
    return Cues(
        one_off=not lasting and bool(ONE_OFF.search(text)),
        standing=lasting or bool(STANDING.search(_STANDING_NOISE.sub(" ", text))),
        hedged=bool(HEDGED.search(text)),
        past=bool(_PAST.search(text)),
    )


def is_acknowledgement(text: str) -> bool:
    """Thanks, greetings, yes and no: nothing that an agent could do differently."""
    return len(text) < 120 and bool(_ACK.match(text))


def is_question(sentence: str) -> bool:
    """True when something is asked. A polite request ("could you …") is none by itself."""
    text = sentence.replace("\u2019", "'")
    if POLITE_REQUEST.search(text):
        return False
    return text.rstrip(" \"')").endswith("?") or bool(QUESTION.match(text))


def points_back(sentence: str) -> bool:
    """True for "do this every time": an instruction whose object is the sentence beside it."""
    return bool(_POINTS_BACK.match(sentence))


def endorses(clause: str) -> bool:
    """True for "I always like them that way": what was said beside it is meant to last."""
    return points_back(clause) and (bool(_THAT_WAY.search(clause)) or bool(STANDING.search(clause)))


def is_anaphoric(sentence: str) -> bool:
    """True when the sentence only says how long something said beside it holds."""
    return len(sentence.split()) <= 12 and bool(_ANAPHORIC.match(sentence.replace("\u2019", "'")))


def finds_fault(text: str) -> bool:
    """True for "these totals are wrong": it rejects what there is and puts nothing in its place."""
    plain = CORRECTIVE.sub("", text.replace("\u2019", "'").strip()).strip(" ,.!?")
    rejects = plain and (_FAULT.search(plain) or _FAULT.search(text))
    return bool(rejects) and len(plain.split()) <= _FAULT_WORDS and not _ANSWER.search(plain)
