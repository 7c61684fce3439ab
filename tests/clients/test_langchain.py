"""LangChain's OpenAI integration against a live server; it is no dependency of ours, so it may be absent."""

from typing import Any, Literal

import pytest
from pydantic import BaseModel
from tests.clients.stand import LOCAL
from tests.server.serving import Server

langchain = pytest.importorskip("langchain_openai", reason="`pip install langchain-openai` is not done here")


class Town(BaseModel):
    """A town and how many live there."""

    name: str
    people: int


@pytest.fixture
def chat(served: Server, model: str) -> Any:
    return langchain.ChatOpenAI(
        base_url=f"{served.url}/v1", api_key=served.client.key, model=model, temperature=0, max_tokens=200, timeout=120
    )


def test_it_converses_whole_and_in_pieces(chat: Any, model: str) -> None:
    whole = chat.bind(max_tokens=12).invoke("Say hello")
    pieces = list(chat.bind(max_tokens=12).stream("Say hello", stream_usage=True))

    assert "".join(piece.content for piece in pieces) == whole.content
    assert whole.usage_metadata["output_tokens"] > 0
    assert (
        sum(piece.usage_metadata["output_tokens"] for piece in pieces if piece.usage_metadata)
        == (whole.usage_metadata["output_tokens"])
    )
    if model != LOCAL:
        assert whole.content == "I heard: Say hello"


def test_it_calls_tools(chat: Any) -> None:
    def weather(town: Literal["Ulm", "Bonn"]) -> str:  # a random model need not come to the end of any other text
        """The weather of a town."""
        return f"rain in {town}"

    called = chat.bind_tools([weather], tool_choice="required").invoke("How is Ulm?")

    assert [call["name"] for call in called.tool_calls] == ["weather"]
    assert isinstance(called.tool_calls[0]["args"]["town"], str)


def test_it_gets_objects_of_a_class(chat: Any, model: str) -> None:
    if model == LOCAL:
        pytest.skip("a random model need not come to the end of a text that may be of any length")
    town = chat.with_structured_output(Town, method="json_schema").invoke("Which town?")

    assert town == Town(name="x", people=0)


def test_it_embeds(served: Server) -> None:
    embedder = langchain.OpenAIEmbeddings(
        base_url=f"{served.url}/v1", api_key=served.client.key, model="Vectors", check_embedding_ctx_length=False
    )

    one, other = embedder.embed_documents(["a river", "a sea"])
    assert one == embedder.embed_query("a river")
    assert one != other
