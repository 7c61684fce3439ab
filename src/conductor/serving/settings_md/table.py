"""The model table as data: who answers (persona) and which model serves which category, with a digest of its meaning.

The order of rows and the spelling of a page mean nothing: two pages that say the same have the same digest.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Final

from conductor.domain.model import Category, ServedModel

_NO_WORD: Final = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTable:
    """What a `SETTINGS.md` says.

    Args:
        persona: how conversations are led, Markdown; empty where the page says nothing.
        rows: at most one a category, in the order of the page.
        titles: how the page writes a category, where `slug` of the plain form would not give it back.
    """

    persona: str = ""
    rows: tuple[ServedModel, ...] = ()
    titles: Mapping[Category, str] = field(default_factory=lambda: MappingProxyType({}))

    def served(self) -> dict[Category, ServedModel]:
        """The rows by category."""
        return {row.category: row for row in self.rows}

    def title_of(self, category: Category) -> str:
        """A category for people: `Conversational Chat`."""
        return self.titles.get(category) or plain_title(category)

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical table, lowercase hex; what a decision names."""
        rows = sorted((asdict(row) for row in self.rows), key=lambda row: str(row["category"]))
        canonical = json.dumps(
            {"persona": self.persona, "rows": rows}, sort_keys=True, ensure_ascii=False, separators=(",", ":")
        )
        return hashlib.sha256(canonical.encode("utf-8")).hexdigest()


def slug(title: str) -> Category:
    """`Conversational Chat` → `conversational_chat`; empty where there is neither letter nor digit in it."""
    seen = "".join(sign for sign in unicodedata.normalize("NFKC", title) if unicodedata.category(sign) != "Cf")
    folded = unicodedata.normalize("NFKC", seen.casefold())
    return Category("_".join(word for word in _NO_WORD.split(folded) if word))


def plain_title(category: Category) -> str:
    """`conversational_chat` → `Conversational Chat`."""
    return " ".join(word.capitalize() for word in category.split("_"))
