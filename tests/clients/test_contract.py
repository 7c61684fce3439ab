"""The OpenAPI document holds for a server that has models, too."""

from pathlib import Path

import pytest
from tests.clients.conftest import MakeServer
from tests.clients.stand import Upstream, at_rest, elsewhere, page
from tests.server.test_contract import check

#: What makes it to a model.
MODELS = ("auto", "conversational_chat", "Steady", "embeddings", "legal_analysis")
BODIES = {
    "model": MODELS,
    "prompt": ("hello", "What is a river?"),
    "input": ("hello",),
}
#: The other routes do the same with models as without, which `tests/server` tries.
ROUTES = "^/(generate|models|stats|v1/(chat/completions|completions|embeddings|models|files|batches))"


def test_answers_are_as_documented_where_models_answer(
    make_server: MakeServer, upstream: Upstream, tmp_path: Path
) -> None:
    server = make_server(page(*elsewhere(upstream)), log__level="warning").start()

    check(
        server,
        tmp_path,
        "--max-examples",
        "4",
        "--phases",
        "examples,coverage,fuzzing",
        "--include-path-regex",
        ROUTES,
        "--workers",
        "1",
        bodies=BODIES,
    )
    at_rest(server, upstream)


@pytest.mark.soak
def test_answers_are_as_documented_where_models_answer_for_long(
    make_server: MakeServer, upstream: Upstream, tmp_path: Path
) -> None:
    server = make_server(page(*elsewhere(upstream)), log__level="warning").start()

    check(server, tmp_path, "--max-examples", "200", bodies=BODIES)
    at_rest(server, upstream)
