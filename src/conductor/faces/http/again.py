"""What an error's head says about asking again: when, or that it is in vain.

`Retry-After` is RFC 9110's (10.2.3). `x-should-retry: false` is what OpenAI's clients read: without it they send a request
that ended with 5xx twice more, though a file that is damaged, or a model that is larger than the machine, stays what it is.
"""

from conductor.domain.errors import ConductorError, Exhausted, ModelError, Overloaded


def again(error: ConductorError) -> dict[str, str]:
    """The headers; empty where nobody knows."""
    if isinstance(error, Overloaded):
        return {"Retry-After": str(max(1, round(error.retry_after_s)))}
    return {"x-should-retry": "false"} if is_in_vain(error) else {}


def is_in_vain(error: ConductorError) -> bool:
    """Whether asking again changes nothing until somebody does something. A request at fault says so by its status alone."""
    return isinstance(error, Exhausted) or (isinstance(error, ModelError) and error.lasts)
