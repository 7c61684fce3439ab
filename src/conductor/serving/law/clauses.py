"""Split a contract into its clauses by their numbers, and tell what kind of clause each one is.

A clause begins at a line that carries a number of the scheme: `1.`, `1.1`, `(a)`, `(iv)`, `§ 3`, `Article IV`,
`Section 2.3`, `Clause 7`, `Artikel 5`, `Ziffer 2`. Points such as `(a)` and lower levels belong to the clause above
them; they are found too, as its parts. What stands before the first number is the preamble.

The kind is told by the heading, and by words of the text where there is no heading; it is a reading aid, no judgement.

Not covered: contracts whose clauses carry no numbers (their headings are used where they stand alone in capitals).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from conductor.serving.texts.quotations import Span


class Depth(IntEnum):
    """How deep a number lies: articles and sections, `1.`, `1.1`, `(a)`."""

    ARTICLE = 0
    CLAUSE = 1
    PART = 2
    POINT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """One numbered piece of a contract.

    Args:
        number: as it is written, without its last dot: `4.2`, `(b)`, `§ 3`, `Article IV`; `preamble` before the first.
        heading: empty where it has none.
        text: all of it, number and heading included, up to the next number.
        kind: one of `KINDS`, or empty where nothing tells.
    """

    number: str
    heading: str
    text: str
    span: Span
    depth: Depth
    kind: str


_NUMBER: Final = re.compile(
    r"""^[ \t]*(?:\#{1,6}[ ]*)?(?:\*\*)?
    (?: (?P<article>(?:article|section|clause|artikel|abschnitt|ziffer|art\.)[ ]+(?:\d+(?:\.\d+)*|[IVXLC]+)\b)[.:]?
      | (?P<paragraph>§§?[ ]?\d+[a-z]?)[.:]?
      | (?P<part>\d{1,3}(?:\.\d{1,3})+)\.?(?=[\s*])
      | (?P<clause>\d{1,3})[.)](?=[\s*])
      | (?P<point>\((?:[a-z]|[ivx]{1,5}|\d{1,2})\))(?=\s)
    )[ \t]*(?:\*\*)?(?P<rest>[^\n]*)$""",
    re.VERBOSE | re.MULTILINE | re.IGNORECASE,
)
_CAPITALS: Final = re.compile(
    r"^[ \t]*(?:#{1,6}[ ]+(?P<titled>[^\n]{2,80})|(?P<capital>[A-Z][A-Z &/,'-]{3,78}))[ \t]*$", re.MULTILINE
)
_HEADING_END: Final = re.compile(r"(?<=[^\s.])[.:](?=\s|\*|$)|\s[–—-]\s|\*\*")
_LONGEST_HEADING: Final = 80
_PREAMBLE: Final = "preamble"

#: Kinds of clauses, and the words that tell them; in headings any of them, in texts the longer ones.
KINDS: Final = MappingProxyType({
    "parties": ("parties", "vertragsparteien", "by and between"),
    "definitions": ("definition", "begriffsbestimmung", "shall have the following meaning"),
    "scope": ("scope", "services", "statement of work", "leistungsumfang", "gegenstand", "shall perform the services"),
    "term": ("term and renewal", "term of", "duration", "laufzeit", "vertragsdauer", "shall commence on"),
    "termination": ("termination", "kündigung", "may terminate this agreement"),
    "payment": ("payment", "fees", "compensation", "salary", "rent", "price", "vergütung", "zahlung", "shall pay"),
    "confidentiality": ("confidential", "non-disclosure", "nondisclosure", "geheimhaltung", "vertraulichkeit"),
    "intellectual_property": ("intellectual property", "ownership", "work product", "urheberrecht", "all right, title"),
    "licence": ("licence", "license", "lizenz", "grants a non-exclusive"),
    "liability": ("limitation of liability", "liability", "haftung", "in no event shall"),
    "indemnity": ("indemnif", "indemnity", "freistellung", "hold harmless"),
    "warranty": ("warrant", "gewährleistung", "disclaimer", "as is"),
    "data_protection": ("data protection", "personal data", "privacy", "datenschutz", "gdpr", "hipaa"),
    "non_compete": ("non-compet", "noncompet", "non-solicit", "exclusivity", "wettbewerbsverbot", "shall not compete"),
    "assignment": ("assignment", "abtretung", "may not assign"),
    "force_majeure": ("force majeure", "höhere gewalt", "acts of god"),
    "governing_law": ("governing law", "applicable law", "anwendbares recht", "governed by the laws"),
    "dispute_resolution": ("dispute", "arbitration", "jurisdiction", "gerichtsstand", "schiedsverfahren"),
    "notices": ("notices", "mitteilungen", "notice shall be given"),
    "entire_agreement": ("entire agreement", "whole agreement", "entire understanding", "supersedes all prior"),
    "amendment": ("amendment", "modification", "schriftform", "amended only", "in writing signed"),
    "severability": ("severab", "salvatorische", "invalid or unenforceable"),
    "insurance": ("insurance", "versicherung"),
    "working_time": ("working time", "hours of work", "arbeitszeit", "holiday", "vacation", "urlaub"),
    "deposit": ("deposit", "kaution"),
    "maintenance": ("maintenance", "repairs", "instandhaltung", "service level", "support"),
    "delivery": ("delivery", "shipment", "lieferung", "acceptance"),
    "interest": ("interest", "zinsen"),
    "default": ("event of default", "default", "verzug"),
    "audit": ("audit", "records and inspection"),
})  # fmt: skip

#: What a contract of a type usually has; what it lacks is worth a question, not more.
USUAL: Final = MappingProxyType({
    "nda": ("parties", "definitions", "confidentiality", "term", "governing_law", "entire_agreement"),
    "services": (
        "scope", "payment", "term", "termination", "confidentiality", "intellectual_property", "warranty", "liability",
        "governing_law", "dispute_resolution", "force_majeure", "assignment", "entire_agreement",
    ),
    "employment": ("scope", "payment", "working_time", "term", "termination", "confidentiality", "governing_law"),
    "lease": ("parties", "term", "payment", "deposit", "maintenance", "termination", "insurance"),
    "sale": ("scope", "payment", "delivery", "warranty", "liability", "governing_law", "force_majeure"),
    "licence": (
        "definitions", "licence", "payment", "intellectual_property", "warranty", "liability", "term", "termination",
        "governing_law",
    ),
    "saas": (
        "definitions", "licence", "payment", "data_protection", "maintenance", "confidentiality", "warranty", "liability",
        "indemnity", "term", "termination", "governing_law",
    ),
    "loan": ("payment", "interest", "default", "term", "governing_law"),
})  # fmt: skip

_TYPE_WORDS: Final = MappingProxyType({
    "nda": ("non-disclosure agreement", "confidentiality agreement", "geheimhaltungsvereinbarung"),
    "employment": ("employment agreement", "employment contract", "employee", "arbeitsvertrag"),
    "lease": ("lease agreement", "landlord", "tenant", "mietvertrag"),
    "saas": ("software as a service", "saas", "subscription agreement", "subscription services"),
    "licence": ("license agreement", "licence agreement", "lizenzvertrag", "licensor"),
    "loan": ("loan agreement", "lender", "borrower", "darlehensvertrag"),
    "sale": ("purchase agreement", "sale of goods", "seller", "kaufvertrag"),
    "services": ("services agreement", "service agreement", "consulting agreement", "contractor", "dienstleistungsvertrag"),
})  # fmt: skip


def clauses(contract: str) -> list[Clause]:
    """The clauses in order; their spans do not overlap and, with the preamble, cover the contract."""
    begins = list(_begins(contract))
    if not begins:
        begins = [
            (found.start(), "", (found["titled"] or found["capital"]).strip(), Depth.CLAUSE)
            for found in _CAPITALS.finditer(contract)
        ]
    starts = [begin[0] for begin in begins]
    ends = [*starts[1:], len(contract)] if starts else []
    found = []
    if contract[: starts[0] if starts else None].strip():
        end = starts[0] if starts else len(contract)
        found.append(_clause(contract, Span(0, end), _PREAMBLE, "", Depth.ARTICLE))
    for (start, number, heading, depth), end in zip(begins, ends, strict=True):
        found.append(_clause(contract, Span(start, end), number or heading, heading, depth))
    return found


def units(found: list[Clause]) -> list[Clause]:
    """What is judged on its own: points go with the clause above them, and a bare heading with what it heads."""
    whole: list[Clause] = []
    above = ""
    kind_above = ""
    for clause in found:
        if clause.depth is Depth.POINT and whole:
            before = whole[-1]
            span = Span(before.span.start, clause.span.end)
            whole[-1] = replace(before, text=f"{before.text}\n{clause.text}", span=span)
            continue
        if clause.depth < Depth.PART:
            above, kind_above = clause.heading, clause.kind
            if _is_bare(clause):
                continue
        inherits = clause.depth is Depth.PART and not clause.heading
        whole.append(replace(clause, heading=above, kind=clause.kind or kind_above) if inherits else clause)
    return whole or found


def _is_bare(clause: Clause) -> bool:
    """Whether it is a number and a heading, and nothing else."""
    said = clause.text.strip(" #*")
    return bool(clause.heading) and "\n" not in said and len(said) <= len(clause.number) + len(clause.heading) + 8


def usual_but_missing(contract_type: str, found: list[Clause]) -> list[str]:
    """Kinds that contracts of this type usually have and that were not recognised; unknown types miss nothing."""
    there = {clause.kind for clause in found}
    # A preamble that names two parties says who they are, as well as a clause does.
    words = " ".join(clause.text.casefold() for clause in found)
    there |= {kind for kind, told in KINDS.items() if any(len(word) > 12 and word in words for word in told)}
    return [kind for kind in USUAL.get(contract_type, ()) if kind not in there]


def contract_type(contract: str) -> str:
    """The type that the words tell, the title above all; empty where none does."""
    title, words = contract[:400].casefold(), contract.casefold()
    scores = {
        name: sum(5 * (word in title) + min(words.count(word), 5) * (1 + word.count(" ")) for word in told)
        for name, told in _TYPE_WORDS.items()
    }
    best = max(scores, key=lambda name: scores[name])
    return best if scores[best] >= 2 else ""


def _begins(contract: str) -> Iterator[tuple[int, str, str, Depth]]:
    for found in _NUMBER.finditer(contract):
        depth, number = _depth(found)
        # `Section 4 shall survive` and `3.5 percent` are sentences that were broken there; points do begin small.
        if depth is not Depth.POINT and found["rest"].lstrip()[:1].islower():
            continue
        yield found.start(), number, _heading(found["rest"]), depth


def _depth(found: re.Match[str]) -> tuple[Depth, str]:
    for name, depth in (
        ("article", Depth.ARTICLE),
        ("paragraph", Depth.ARTICLE),
        ("clause", Depth.CLAUSE),
        ("part", Depth.PART),
        ("point", Depth.POINT),
    ):
        if found[name]:
            return depth, " ".join(found[name].split())
    raise AssertionError("one of the alternatives matched")


def _heading(rest: str) -> str:
    """What of the first line is a heading: it ends early, and does not begin in the middle of a sentence."""
    line = rest.strip(" *#:–—-")
    end = _HEADING_END.search(line)
    heading = line[: end.start()] if end else line
    heading = heading.strip(" *.:–—-")
    whole = end is None or end.end() >= len(line)
    if not heading or len(heading) > _LONGEST_HEADING or heading[:1].islower():
        return ""
    # A whole line with a full stop, or with many words, is a sentence.
    if (whole and line.endswith(".") and len(heading.split()) > 4) or len(heading.split()) > 9:
        return ""
    return heading


def _clause(contract: str, span: Span, number: str, heading: str, depth: Depth) -> Clause:
    text = contract[span.start : span.end].strip()
    return Clause(number=number, heading=heading, text=text, span=span, depth=depth, kind=_kind(heading, text))


def _kind(heading: str, text: str) -> str:
    low = heading.casefold()
    if low == "term":
        return "term"
    told = {kind: word for kind, words in KINDS.items() for word in words if word in low}
    if told:
        return max(told, key=lambda kind: len(told[kind]))
    plain = " ".join(text.casefold().split())
    said = {kind: word for kind, words in KINDS.items() for word in words if len(word) > 12 and word in plain}
    return max(said, key=lambda kind: len(said[kind]), default="")
