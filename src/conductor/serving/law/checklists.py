"""The questions of a compliance check: what a privacy notice or contract must answer, by regulation.

They ask whether a document says something, not whether an organisation does it. They follow the text of the law closely
enough to be looked up, and are no legal advice.

Not covered: national law beside the GDPR, state law beside HIPAA.

Source: Regulation (EU) 2016/679; 45 CFR parts 160 and 164.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Question:
    """One question: its id, what is asked, and the rule that asks for it."""

    question_id: str
    text: str
    rule: str


_GDPR: Final = (
    Question("controller", "Who is the controller, and how can they be reached?", "Art. 13(1)(a)"),
    Question("dpo", "How can the data protection officer be reached?", "Art. 13(1)(b), 37"),
    Question("purposes", "For which purposes are personal data processed?", "Art. 5(1)(b), 13(1)(c)"),
    Question("legal_basis", "What is the legal basis of each processing?", "Art. 6, 13(1)(c)"),
    Question("categories", "Which categories of personal data are processed?", "Art. 14(1)(d), 28(3)"),
    Question("recipients", "Who receives the data?", "Art. 13(1)(e)"),
    Question(
        "transfers", "Are data transferred to third countries, and under which safeguards?", "Art. 13(1)(f), 44-49"
    ),
    Question(
        "retention", "How long are the data kept, or by which criteria is that decided?", "Art. 5(1)(e), 13(2)(a)"
    ),
    Question("access", "Is the right of access and of a copy granted?", "Art. 15"),
    Question("rectification_erasure", "Are the rights to rectification and erasure granted?", "Art. 16, 17"),
    Question("restriction_objection", "Are the rights to restriction and to object granted?", "Art. 18, 21"),
    Question("portability", "Is the right to data portability granted?", "Art. 20"),
    Question("withdrawal", "Can consent be withdrawn at any time?", "Art. 7(3), 13(2)(c)"),
    Question("complaint", "Is the right to complain to a supervisory authority told?", "Art. 13(2)(d), 77"),
    Question(
        "automated_decisions",
        "Is automated decision-making told, with its logic?",
        "Art. 13(2)(f), 22",
    ),
    Question("security", "Which technical and organisational measures protect the data?", "Art. 32"),
    Question("processors", "Are processors bound by a contract with documented instructions?", "Art. 28(3)"),
    Question("breach", "How are breaches of personal data notified, and when?", "Art. 33, 34"),
)

_HIPAA: Final = (
    Question(
        "permitted_uses",
        "Which uses and disclosures of health information are permitted?",
        "164.504(e)(2)(i)",
    ),
    Question("no_further_use", "Is any other use or disclosure ruled out?", "164.504(e)(2)(ii)(A)"),
    Question(
        "safeguards", "Are administrative, physical and technical safeguards required?", "164.308, 164.310, 164.312"
    ),
    Question("minimum_necessary", "Are uses and disclosures limited to the minimum necessary?", "164.502(b)"),
    Question(
        "breach_report",
        "Must breaches and incidents be reported, and by when?",
        "164.410, 164.504(e)(2)(ii)(C)",
    ),
    Question("subcontractors", "Are subcontractors bound to the same restrictions?", "164.504(e)(2)(ii)(D)"),
    Question("access", "Do individuals get access to their information?", "164.524"),
    Question("amendment", "Can individuals have their information amended?", "164.526"),
    Question("accounting", "Is an accounting of disclosures provided?", "164.528"),
    Question("books_to_hhs", "Are books and records made available to the Secretary of HHS?", "164.504(e)(2)(ii)(I)"),
    Question("return_destroy", "Is the information returned or destroyed at termination?", "164.504(e)(2)(ii)(J)"),
    Question("termination", "May the contract be terminated for a material violation?", "164.504(e)(2)(iii)"),
    Question("authorization", "Is written authorization required for marketing and sale of information?", "164.508(a)"),
    Question("notice", "Is a notice of privacy practices provided?", "164.520"),
)

#: By regulation.
CHECKLISTS: Final = MappingProxyType({"gdpr": _GDPR, "hipaa": _HIPAA})
