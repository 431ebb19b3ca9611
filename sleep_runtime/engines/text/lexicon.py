"""Closed word lists: function words, verbs of instruction, small families of values.

They are generic English, not the vocabulary of a trade. Everything else is open: a word that is
on no list is content, and content decides.
"""

from __future__ import annotations


def word_set(text: str) -> frozenset[str]:
    """The words of a text as a set."""
    return frozenset(text.split())


FUNCTION_WORDS = word_set(
    """a an the this that these those it its he she they them their there here we us our ours i
    me my
    mine you your yours who whom whose which what is are was were be been being am do does did done
    doing has have had having will would shall should must can could may might ought need needs and
    or but so if then than as of in on at to for from by with into onto over under via per about
    please just also too only very really quite again now always never ever every each all any both
    some such own same other no not nor n't don't doesn't didn't isn't aren't shouldn't mustn't
    won't can't cannot let let's sure up out off down when whenever while once because since
    instead rather than generally going forward onwards everything
    etc ok okay thing things stuff way one ones still kindly
    i'd we'd i'm we're it's that's they're you're i'll we'll"""
)

FRAME_VERBS = word_set(
    """use used using uses run runs running ran go goes going gone show shows showing shown shows
    show display displays displayed displaying keep keeps keeping kept put puts putting make makes
    making made want wants wanted prefer prefers preferred preferring like likes liked set sets
    present presents presented presenting stick sticks sticking follow follows following remember
    render renders rendered rendering state states stated stating express expressed give gives
    given ensure come comes take takes taken expect expects expected appear appears get gets
    do be have need needs refer say says provide provides default defaults"""
)
"""Verbs that carry an instruction without adding to it. Left out when claims are compared."""

POLICY_VERBS = word_set(
    """use show display keep put prefer stick follow present render express quote label name call
    format write spell sort order group list round align set state include exclude omit leave drop
    avoid skip hide prefix suffix capitalise capitalize tag title colour color report plot draw
    annotate abbreviate default pin indent limit cap wrap lint sign address send assign route
    escalate log record classify treat count book measure calculate compute convert base run do
    make have quote refer cite store save version squash rebase deploy ship release schedule notify
    cc ask confirm get take go give start end close open_with document test mock wait require"""
)
"""Verbs a rule can begin with."""

TASK_VERBS = word_set(
    """open fix redo rerun check look undo revert regenerate try proceed continue stop see explain
    tell find search read review commit push merge install implement complete finish restart
    investigate debug add remove delete update change create build generate rename move copy
    download upload attach fetch pull help summarise summarize compare analyse analyze
    print paste edit rewrite rework refactor rerender reopen switch replace clean tidy bump
    append insert extend translate prepare draft forward reply respond schedule resend verify
    validate double-check go come wait hold let give get send start show tell
    deploy ship release commit test run make set address consider apply confirm take record"""
)
"""Verbs a task begins with. Some are both: without a cue they count as tasks."""

RULE_ONLY_VERBS = POLICY_VERBS - TASK_VERBS | word_set("use show run set")

OTHER_VERBS = word_set(
    """accept acknowledge allow apply approve archive arrange avoid back batch begin block break
    bring cache carry charge choose collapse combine consider contact cut declare define deny
    deprecate describe disable discount enable enforce enter estimate expand export fill filter flag
    freeze handle highlight import inform invoice involve join link load lock mark mask match
    mention mute offer pass pick place plan post prioritise prioritize process promise propose
    protect publish query raise reach reconcile redact reduce refund reject remind renew
    repeat resolve restrict retry return rotate route sanitize scan separate serve share shorten
    page drain patch target upgrade onboard negotiate clear encrypt
    split stage store strip submit subtract surface tell thank touch track trim trust turn
    upgrade warn watch work bcc never always don't merge reject speak skip attach prepend"""
)

ALL_VERBS = POLICY_VERBS | TASK_VERBS | OTHER_VERBS

EXCLUSION_VERBS = word_set("avoid skip omit exclude drop hide stop ban forbid disable refuse deny")
"""Verbs that turn an instruction round, as *not* does."""

SAYING_VERBS = word_set(
    """report write quote print plot draw format name call label express record put book spell
    handle treat
    label state render start happen do end open build close"""
)
"""Verbs that may be said another way without another meaning: left out where they alone differ."""

FILLER_NOUNS = word_set("format form style basis term mode fashion manner")

ADDITIVE_VERBS = word_set("include add mention cite cc bcc list notify log record tag attach run")
"""Verbs whose objects add up: two of them with different objects do not exclude each other."""

NUMBER_WORDS = {
    word: str(number)
    for number, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
        ]
    )
} | {
    word: str(10 * number)
    for number, word in enumerate(
        ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety", "hundred"],
        start=2,
    )
}

SYNONYMS = {
    word: group.split()[0]
    for group in (
        "figure number",
        "chart graph plot diagram",
        "client customer",
        "deck slides presentation",
        "doc document",
        "picture image screenshot",
        "message msg",
        "config configuration settings",
        "repo repository",
        "db database",
        "email mail",
        "colour color coloured colored",
        "delete remove",
        "bullet bullets",
        "abbreviation acronym",
        "eur euro euros €",
        "usd dollar dollars us$ $",
        "gbp pound sterling £",
        "decimal decimals",
        "percent % percentage",
        "million millions mn mio",
        "thousand thousands",
        "billion billions bn",
        "kb kilobyte",
        "mb megabyte",
        "hour hours hr hrs",
        "minute minutes mins",
        "second seconds secs",
        "max maximum",
        "min minimum",
        "sort order sorted ordered sorting",
        "summary summaries recap",
        "short brief concise",
        "uppercase caps",
        "appendix annex",
        "holiday vacation",
        "error exception",
        "branch branches",
        "space spaces",
        "tab tabs",
        "dark-blue navy",
        "including incl",
        "excluding excl",
        "approximately approx",
    )
    for word in group.split()
}
"""Each word of a family to its first: units and everyday twins, nothing that carries a choice."""

ANTONYMS = tuple(
    frozenset(pair.split())
    for pair in [
        "on off",
        "before after",
        "ascending descending",
        "first last",
        "with without",
        "above below",
        "left right",
        "include exclude",
        "including excluding",
        "enable disable",
        "upper lower",
        "uppercase lowercase",
        "min max",
        "start end",
        "top bottom",
        "internal external",
        "open close",
        "horizontal vertical",
        "portrait landscape",
        "light dark",
        "short long",
        "formal informal",
        "formal casual",
        "singular plural",
        "net gross",
        "adjusted reported",
        "public private",
        "allow deny",
        "accept reject",
        "inside outside",
        "manual automatic",
        "manually automatically",
        "tab space",
        "newest oldest",
        "yes no",
        "sync async",
        "serif sans",
        "single double",
        "daily weekly",
        "weekly monthly",
        "monthly quarterly",
        "quarterly annually",
        "always never",
        "merge rebase",
        "increase decrease",
        "early late",
    ]
)
"""Closed pairs of which only one can hold in one place."""

ASPECTS = {
    "colour": """blue red green grey gray black white orange yellow purple teal navy pink brown
        magenta cyan beige turquoise colour color palette monochrome""",
    "period": """quarter quarterly year yearly annual annually month monthly week weekly daily
    qoq yoy
        mom wow ytd ltm ttm mtd qtd fiscal trailing sequential""",
    "currency": "currency eur usd gbp chf jpy euro euros dollar dollars pound pounds "
    "sterling yen franc",
    "scale": "million millions thousand thousands billion billions mn bn percent bps % basispoints",
    "basis": """adjusted reported gaap ifrs gross net normalised normalized underlying statutory
        organic constant-currency pro-forma recurring accrual cash""",
    "precision": "decimal decimals digit digits rounded whole integer integers",
    "length": """word words character characters char chars line lines page pages sentence sentences
        paragraph paragraphs short shorter brief concise long longer detailed column columns""",
    "format": """iso pdf csv json yaml markdown html xlsx docx bullet bullets table tables tabular
        prose list lists plaintext iso8601 tsv xml""",
    "order": """ascending descending alphabetical alphabetically chronological chronologically
    newest
        oldest""",
    "position": "top bottom left right beginning end start centre center footer header above below",
    "tone": "formal informal friendly casual polite neutral professional",
    "language": """english german french spanish italian dutch portuguese japanese chinese british
        american""",
    "time": """am pm monday tuesday wednesday thursday friday saturday sunday morning afternoon
        evening noon midnight utc cet est pst hour hours minute minutes
        january february march april june july august september october november december""",
    "case": """lowercase uppercase camelcase snake_case kebab-case pascalcase titlecase snakecase
        kebabcase capitals caps""",
    "orientation": "portrait landscape horizontal vertical",
    "duration": "day days night nights",
    "size": "px pt small large bigger smaller kb mb gb",
}
ASPECT_OF = {word: aspect for aspect, words in ASPECTS.items() for word in words.split()}

PREPOSITIONS = word_set(
    """in as to with by at under on from before after via into through without per within below
    above
    over for against behind between until onto during across inside outside including excluding"""
)
FUNCTIONAL_PREPOSITIONS = word_set(
    "in as to by at under from before after via into within below above including excluding every"
)
"""Prepositions whose complement is one choice: another complement is another answer."""
