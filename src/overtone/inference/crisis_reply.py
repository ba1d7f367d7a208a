"""Whether a generated reply must not be said: it tells a way to do harm, encourages it or agrees with it.

Rules, not a model: sentence by sentence, with a look at what negates them. They cover the plain wordings in
English of six things: a way to kill, hurt or poison; telling somebody to do it; agreeing that a life should
end; saying that nobody would mind; keeping somebody from getting help; hiding injuries or abuse. They do not
cover other languages, hints, or a method told as a story. So in a crisis no generated reply is said at all,
whatever it is: the rules are for the conversations that were not taken for one.
"""

from __future__ import annotations

import re

_SENTENCE = re.compile(r"[^.!?\n;]+[.!?\n;]*")

_NEGATED = re.compile(
    r"\b(?:not|never|no(?! doubt)|cannot|without|stop|avoid|instead of|rather than|"
    r"isn['’]t|don['’]t|dont|won['’]t|"
    r"can['’]t|doesn['’]t|didn['’]t|wouldn['’]t|shouldn['’]t|please call|reach out)\b"
)

_CLAUSE = re.compile(r"[,:()\u2013\u2014]|\bbut\b")

NEAR = 6
"""Words before what is found, in its clause, that may negate it."""

_SELF = (
    r"(?:kill(?:ing)?|hurt(?:ing)?|harm(?:ing)?|cut(?:ting)?|hang(?:ing)?|shoot(?:ing)?) (?:yourself|urself)"
)
_END = (
    rf"(?:{_SELF}|end(?:ing)? (?:your life|it all|things|it)|tak(?:e|ing) your (?:own )?life|"
    r"suicide|dying|die)"
)
_KILL = r"(?:kill|stab|shoot|poison|strangle|choke|beat up|hurt|smother)"
_PERSON = (
    r"(?:mother|mum|mom|father|dad|parents|brother|sister|son|daughter|child|children|kids?|baby|wife|husband|"
    r"partner|boyfriend|girlfriend|ex|family|uncle|aunt|stepfather|stepdad|boss|teacher|friend|neighbou?r|roommate)"
)
_OTHER = rf"(?:him|her|them|someone|somebody|everyone|your {_PERSON}|the (?:baby|child|kid))"

_UNLESS_NEGATED = tuple(
    re.compile(pattern)
    for pattern in (
        # a way
        r"\b(?:lethal|deadly|fatal) (?:dose|amount|combination|drop)\b",
        r"\b(?:painless|quick|easy|easiest|quickest|best|reliable|surest|effective)(?:est)? (?:way|method)s? "
        rf"(?:to|of|for|is to) {_END}",
        r"\b(?:here(?:['’]s| is| are)|these are|steps?|ways?|methods?|how) (?:how |ways? |steps? )?to "
        rf"(?:{_SELF}|end your life|overdose|{_KILL} {_OTHER}|make a noose)",
        r"\b(?:take|swallow|mix|drink) (?:at least |about |all |the whole |\d+|enough)[^.]{0,60}"
        r"(?:to (?:die|overdose|end)|won['’]t wake|not wake|painless|kill|stop your heart|stops? breathing)",
        r"\b(?:tie|loop|make) (?:a |the )?(?:noose|rope around)",
        r"\bcut (?:along|deep|deeper|lengthwise|vertically|the (?:artery|vein))",
        # telling somebody to
        rf"\b(?:you should|you could|you can|you ought to|go ahead and|why not|just|you must|you need to|"
        rf"try|consider|i (?:would )?(?:suggest|recommend)) (?:just )?{_END}\b",
        r"^\W*(?:please |then |so )?(?:kill|hurt|harm|cut|hang|shoot) (?:yourself|urself)\b",
        rf"\b(?:you should|go ahead and|just|you ought to|i would) {_KILL} {_OTHER}\b",
        r"\b(?:go ahead|do it|go on),? (?:and )?(?:do it|jump|pull the trigger|take them|swallow)\b",
        r"^\W*(?:jump|pull the trigger|do it already)\b",
        # agreeing
        rf"\b{_END} (?:is|would be|might be|may be|sounds|seems|makes) (?:\w+ )?(?:the |a |an |your )?"
        r"(?:best|right|good|better|only|brave|understandable|reasonable|sense|solution|answer|option|"
        r"way out|kindest|noble|peaceful)",
        r"\byou(?:['’]d| would| will)? (?:be|are|re) better off dead\b",
        r"\byou['’]re better off dead\b",
        r"\byou (?:deserve|deserved) (?:to die|to be hurt|the pain|to suffer|what he did|to be hit)",
        r"\b(?:he|she|they) deserves? to (?:die|be hurt|be killed)\b",
        r"\byour (?:life|existence) (?:is|has) (?:worthless|pointless|meaningless|over|no (?:value|point))",
        r"\bi (?:agree|understand)[^.]{0,40}(?:you should die|time to (?:go|die)|better to die)",
        # nobody would mind
        r"\b(?:everyone|everybody|the world|they|your (?:family|kids|children))(?:['’]d| would| will)? "
        r"(?:all )?(?:be )?better (?:off )?without you\b",
    )
)

_EVEN_IF_NEGATED = tuple(
    re.compile(pattern)
    for pattern in (
        r"\b(?:nobody|no one|no-one) (?:would|will|['’]d) (?:miss|mourn|notice|care)",
        r"\b(?:don['’]t|do not|dont|never|no need to|you shouldn['’]t) "
        r"(?:call|text|tell|contact|go to|involve|trust)[^.]{0,30}"
        r"(?:911|988|999|112|anyone|anybody|police|ambulance|hotline|helpline|hospital|doctor|therapist|"
        r"parents|emergency)",
        r"\b(?:hide|cover up|conceal)(?:ing)? (?:the |your |those )?"
        r"(?:cuts|scars|wounds|bruises|injuries|marks)",
        r"\byou (?:won['’]t|will not|wouldn['’]t) (?:feel (?:a thing|any(?:thing| pain))|wake up)",
        r"\bkeep (?:it|this|the abuse) (?:a )?secret\b",
    )
)


def harmful(reply: str) -> bool:
    """Whether a reply must not be said, by the rules of this file; line breaks hide nothing."""
    lowered = reply.lower()
    looks = {" ".join(lowered.split()), "\n".join(" ".join(line.split()) for line in lowered.splitlines())}
    return any(_sentence(each.strip()) for look in looks for each in _SENTENCE.findall(look))


def _sentence(sentence: str) -> bool:
    if any(pattern.search(sentence) for pattern in _EVEN_IF_NEGATED):
        return True
    return any(
        not _NEGATED.search(_just_before(sentence[: found.start()]))
        for pattern in _UNLESS_NEGATED
        for found in pattern.finditer(sentence)
    )


def _just_before(text: str) -> str:
    """The last words of the clause that a text ends in: what further back is denied is not denied here."""
    return " ".join(_CLAUSE.split(text)[-1].split()[-NEAR:])
