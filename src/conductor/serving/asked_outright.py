"""Hear what a request says outright that it wants: a verb of its own at the head of it, or of its last paragraph.

`Summarize: the river …` is a summary whatever the river reminds of; likeness to examples looks at the whole text and is led
astray by its subject. Only what leaves little doubt is heard, in English, German, French, Spanish and Italian, behind words
of politeness; a verb that goes with several categories (`write`, `solve`, `review`) counts together with its object.

Pure. Not covered: orders that are negated or come as a question about the subject; they are left to the likeness.
"""

import re
from operator import itemgetter
from typing import Final

from conductor.domain.model import Category

#: So much of a paragraph's beginning says what is wanted.
_HEAD_CHARACTERS: Final = 200
#: What stands before an order and changes nothing about it.
_POLITE: Final = re.compile(
    r"""(?:\W*(?:
        please | kindly | pls | hi | hello | hey | ok(?:ay)? | now | so | then | just
      | (?:can|could|would|will) \s+ (?:you|u) (?:\s+(?:please|kindly|help\s+me(?:\s+to)?))?
      | i(?:'d|\s+would)? \s+ (?:like|want|need) \s+ you \s+ to
      | (?:help|let)\s+me (?:\s+to)? | your\s+(?:task|job)\s+is\s+to | you\s+(?:must|should|are\s+to)
      | bitte | mal | kannst\s+du (?:\s+(?:mir|bitte))* | könn(?:t)?est\s+du (?:\s+(?:mir|bitte))*
      | s'il\s+(?:te|vous)\s+pla[iî]t | peux-tu | pouvez-vous | por\s+favor | puedes | per\s+favore | puoi
    )\b)*\W*""",
    re.IGNORECASE | re.VERBOSE,
)
#: Those whose names are words of English too only with their capital.
_LANGUAGE: Final = (
    r"(?:python|java(?:script)?|typescript|golang|c\+\+|c\#|bash|shell|powershell|sql|html|css|php|kotlin|perl|lua|haskell|"
    r"django|fastapi|pytest|node(?:\.js)?|(?-i:Go|C|R|React|Swift|Rust|Ruby|Scala|Flask|Pandas))(?![\w+#])"
)
_CODE: Final = (
    r"(?:function|regex(?:es)?|regular\s+expressions?|unit\s+tests?|rest\s+api|api|endpoints?|dockerfile|"
    r"makefile|decorators?|command[- ]line\s+tools?|cli|sql\s+quer(?:y|ies)|web\s+servers?|parsers?|linked\s+lists?|"
    r"quicksort|binary\s+search|funktion|fonction|funci[oó]n|funzione)\b"
)
_OF_CODE: Final = (
    r"(?:code|functions?|class(?:es)?|methods?|scripts?|programs?|quer(?:y|ies)|apps?|tools?|modules?|librar(?:y|ies)|"
    r"components?|tests?|snippets?)\b"
)
_WRITE: Final = (
    r"(?:write|create|implement|build|code|generate|develop|make|program|schreibe?|[ée]cri[st]|escribe|scrivi)\b"
)
#: Some words of an object's description: `a short and very sad`.
_SOME: Final = r"(?:\W+[\w'’#+-]+){0,5}?\W+"
_LITERARY: Final = (
    r"(?:poems?|stor(?:y|ies)|haikus?|limericks?|sonnets?|songs?|lyrics|fairy\s+tales?|fables?|ballads?|novels?|dialogues?|"
    r"monologues?|screenplays?|opening\s+scene|geschichte|gedicht|märchen|po[eè]me|po[ée]sie|conte|cuento|poema|racconto|"
    r"poesia)\b"
)
_MATHS: Final = (
    r"(?:\d\s*[-+*/×÷^=]|[=^√∫∑π]|\b(?:equations?|integrals?|derivatives?|matri(?:x|ces)|theorem|irrational|polynomials?|"
    r"fractions?|probability|square\s+root|logarithm|inequality|eigenvalues?)\b)"
)
_CONTRACT: Final = r"(?:contracts?|agreements?|ndas?|leases?|clauses?|terms\s+of\s+(?:service|use)|privacy\s+policy)\b"
_GIVE: Final = r"(?:write|give|create|make|provide|list|tell)\b(?:\s+(?:me|us))?"
_COMPUTE: Final = r"(?:solve|compute|calculate|evaluate|simplify|factor(?:i[sz]e)?|differentiate|integrate|prove)"
_UNFINISHED: Final = r"(?:code|function|method|loop|snippet)\b"
_REFACTORED: Final = r"(?:function|method|class|interface)\b"
_ON: Final = r"based\s+(?:only\s+)?on|using\s+only"
_SOURCE: Final = r"(?:text|passage|paragraph|document|article|context|excerpt|report|manual|email|letter)\b"

#: In this order; the first that fits counts, and of those in `_BY_OBJECT` the one whose object comes first.
_ORDERS: Final[tuple[tuple[str, str], ...]] = (
    ("code_generation", rf"(?:translate|convert|port|rewrite)\b{_SOME}(?:to|into|in|from)\s+{_LANGUAGE}"),
    ("code_generation", rf"(?:translate|convert|port)\b{_SOME}{_LANGUAGE}\s+{_OF_CODE}"),
    ("translation", r"(?:translate|übersetzen?|übersetze?|traduis(?:ez)?|traduce|traducir|traduci|traducete)\b"),
    ("translation", r"how\s+do\s+(?:you|i)\s+say\b.{1,80}?\bin\s+[A-Z]"),
    ("legal_analysis", rf"summari[sz]e\b{_SOME}legal\s+(?:risks|obligations)\b"),
    ("summarization", r"(?:summari[sz]e|sum\s+up|tl;?\s?dr|r[ée]sumez|résume|riassumi|condense)\b"),
    ("summarization", r"resume\s+(?:el|la|los|las|este|esta|lo)\b|fass?e?\b.{1,200}?\bzusammen\b"),
    ("summarization", rf"{_GIVE}\s+(?:an?\s+)?(?:\w+\s+){{0,3}}(?:summary|abstract)\b"),
    ("summarization", rf"{_GIVE}\s+the\s+(?:main|key)\s+points\b"),
    ("summarization", r"shorten\s+(?:this|the)\b|summary\s*(?:of\b|:)"),
    ("scientific_research", r"(?:write|do|prepare|make)\s+a\s+(?:literature|peer|systematic)\s+review\b"),
    ("scientific_research", r"review\s+the\s+literature\b"),
    ("legal_analysis", rf"(?:review|check|analy[sz]e|assess|examine)\b{_SOME}{_CONTRACT}"),
    ("code_completion", rf"(?:complete|finish|continue|fill\s+in)\b{_SOME}{_UNFINISHED}"),
    (
        "data_extraction",
        rf"(?:extract|extrahiere|extrais|extrayez|extrae|estrai)\b(?!\s+of\b|.{{0,40}}\b{_REFACTORED})",
    ),
    (
        "data_extraction",
        r"(?:pull|get|parse|turn|convert|find|list)\b.{1,120}?\b(?:as|to|into|return)\s+(?:valid\s+)?json\b",
    ),
    ("creative_writing", rf"(?:{_WRITE}|tell|compose|invent|make\s+up)(?:\s+me)?{_SOME}{_LITERARY}"),
    ("code_generation", rf"{_WRITE}{_SOME}(?:{_CODE}|{_LANGUAGE}\s+{_OF_CODE}|{_OF_CODE}\s+in\s+{_LANGUAGE})"),
    ("code_generation", rf"implement\b{_SOME}in\s+{_LANGUAGE}"),
    ("mathematical_reasoning", rf"{_COMPUTE}\b.{{0,150}}?{_MATHS}"),
    ("mathematical_reasoning", r"(?:compute|calculate)\b.{0,150}?\d"),
    ("question_answering", rf"(?:according\s+to|{_ON}|from)\s+(?:the|this|that)\s+(?:\w+\s+)?{_SOURCE}"),
    ("question_answering", r"answer\s+the\s+(?:following\s+)?questions?\b.{0,30}\b(?:using|from|based|with)\b"),
)
#: What they write tells them apart, and may in turn tell of something else: tests for a story generator.
_BY_OBJECT: Final = frozenset({"creative_writing", "code_generation"})
_READ: Final = tuple((Category(name), re.compile(order, re.IGNORECASE | re.DOTALL)) for name, order in _ORDERS)


def asked_outright(text: str) -> Category | None:
    """The category that the request names by what it orders; None where it does not, or not clearly."""
    paragraphs = [part for part in re.split(r"\n\s*\n", text.strip()) if part.strip()]
    if paragraphs and paragraphs[0].endswith((":", "?")):
        del paragraphs[1:]  # what follows is what is asked about
    for paragraph in dict.fromkeys((*paragraphs[:1], *paragraphs[-1:])):
        head = _POLITE.sub("", paragraph[:_HEAD_CHARACTERS], count=1)
        found = [(category, match.end()) for category, order in _READ if (match := order.match(head))]
        if found and found[0][0] in _BY_OBJECT:
            found = sorted((one for one in found if one[0] in _BY_OBJECT), key=itemgetter(1))
        if found:
            return found[0][0]
    return None
