"""What a decision says of the model table in force."""

import asyncio
from collections.abc import Mapping
from itertools import count

from tests.openai.scripted import ROWS, Table

from conductor.adapters.clock import SystemClock
from conductor.app.serving.decisions import Deciding
from conductor.app.serving.models import ServedModels
from conductor.domain.model import Category
from conductor.serving.registry import Registry
from conductor.serving.settings_md.table import ModelTable


def test_a_decision_names_the_table_whose_rows_it_chose_from() -> None:
    clock, table, ids = SystemClock(), Table(), count(1)
    digest = table.digest

    class Meanwhile:
        """Reads a request while another table comes into force."""

        async def categories(self, text: str) -> Mapping[Category, float]:
            table.table = ModelTable(rows=ROWS[:1])
            return {Category("translation"): 1.0}

    registry = Registry(clock=clock)
    served = ServedModels(table, registry)
    deciding = Deciding(served, registry=registry, reader=Meanwhile(), clock=clock, new_id=lambda: str(next(ids)))

    decision = asyncio.run(deciding.decide("auto", "please translate this into French"))

    assert table.digest != digest
    assert (decision.category, decision.table_digest) == ("translation", digest)
