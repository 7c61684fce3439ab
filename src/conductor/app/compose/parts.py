"""The parts of the product, in the order in which they are built; `use_cases` makes one object of them."""

from dataclasses import dataclass

from conductor.app.compose.execution import Execution
from conductor.app.compose.fleet import Fleet
from conductor.app.compose.foundation import Foundation
from conductor.app.compose.minds import Minds
from conductor.app.compose.record import Record
from conductor.app.compose.serving import ServingParts


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the use cases are built from."""

    foundation: Foundation
    fleet: Fleet
    execution: Execution
    record: Record
    minds: Minds
    serving: ServingParts
