"""Labelled turns of people: what each means, and what is to be taken from it.

Trades other than those of ``extractive_cases``, in the words of several people.
"""

from __future__ import annotations

STANDING = (
    (True, "From now on round the fees to whole euros."),
    (False, "Please always use SI units for lab values."),
    (False, "Going forward every changelog entry names its ticket."),
    (True, "never ship the beta build to schools"),
    (False, "As a rule we answer complaints within one working day, so please stick to it."),
    (False, "By default put the legend below the map."),
    (True, "whenever you book a room, add the dial-in"),
)
CHANGE = (
    (True, "We moved from Slack to Teams for incident calls, it's Teams now."),
    (False, "The depot no longer takes pallets on Fridays, it's Thursdays now."),
    (True, "we switched the newsletter from weekly to monthly"),
    (False, "As of this month the invoices go to the shared inbox instead of to Petra."),
)
NOT_SAID_TO_LAST = (
    (True, "the totals belong in the footer, not in the header"),
    (True, "No, thousands are separated by a space."),
    (True, "client wants the glossary at the front"),
    (True, "use the landscape template for the floor plans"),
)
ONE_OFF = (
    (True, "just for this brochure, set the prices in francs"),
    (False, "for today's call only, skip the agenda"),
    (True, "this time leave the watermark out, it goes straight to the printer"),
    (False, "only this once: merge without the second review"),
)
WITHDRAWN = (
    (True, "Forget what I said about the watermark."),
    (False, "You don't need to attach the packing list any more."),
    (True, "the rule about the legend no longer applies"),
    (True, "Scrap the dial-in rule, we dropped it."),
)
NOTHING = (
    (False, "should we always round the fees?"),
    (False, "why do you always attach the packing list?"),
    (False, "someone mentioned that the depot always closes early"),
    (False, "a rival firm always ships overnight, they say"),
    (False, "I wonder whether we should move to Teams"),
    (False, "thanks, that is exactly what I needed"),
    (False, "what's the status of the floor plans?"),
    (False, "open the third sheet"),
    (False, "maybe we could put the legend elsewhere some day"),
)

# Pasted material around one sentence of the person's own, and that sentence.
PASTED = (
    (
        (
            "Lab values go in SI units from now on.\n\n"
            "On Mon, 3 Mar 2025 Petra wrote:\n> always use imperial\n> never use SI"
        ),
        "Lab values go in SI units from now on",
    ),
    (
        (
            "-----Original Message-----\nFrom: Petra\nAlways use imperial units.\n\n"
            "From now on lab values go in SI units."
        ),
        "From now on lab values go in SI units",
    ),
    (
        "From now on sort the list by surname.\n\nname,age,town\nKim,33,Oslo\nLee,41,Bern",
        "From now on sort the list by surname",
    ),
    (
        (
            "From now on sort the list by surname.\n"
            "[10:31] Kim: always sort by age\n[10:32] Lee: never do that"
        ),
        "From now on sort the list by surname",
    ),
    (
        "```\n# always use tabs\n```\nFrom now on comments are in English.",
        "From now on comments are in English",
    ),
)

# Several rules in one turn, and each of them.
LISTS = (
    (
        (
            "Two rules for the depot:\n- pallets are always weighed\n"
            "- never stack more than three crates"
        ),
        ("pallets are always weighed", "never stack more than three crates"),
    ),
    (
        "Always sign the slip; never leave the gate open.",
        ("Always sign the slip", "never leave the gate open"),
    ),
    (
        "use metric units, and put the legend below the map",
        ("use metric units", "put the legend below the map"),
    ),
)

# A rejection and, in the next turn, what the answer is.
SPREAD = (
    ("no, not that one", "the floor plans in landscape"),
    ("That's wrong again.", "Lab values in SI units."),
    ("why the header?", "the totals belong in the footer"),
)
