"""A call to a language model is seen by Prometheus once it has ended, whatever became of it."""

from tests.server.conftest import MakeServer
from tests.server.serving import eventually

PAGE = """# LLM Server Settings

| Category/Area | Best Open Source Model | VRAM/RAM Requirements | Technical Model Name | Stay Loaded | Precision |
|---|---|---|---|---|---|
| Summarization | Local | – | `/nowhere/model.gguf` | false | – |
"""


def test_a_call_whose_model_is_missing_is_counted_under_its_category_and_ending(make_server: MakeServer) -> None:
    server = make_server()
    server.data_dir.mkdir(mode=0o700)
    (server.data_dir / "SETTINGS.md").write_text(PAGE)
    client = server.start().client
    answer = client.post("/generate", {"prompt": "Shorten this.", "category": "summarization"})
    assert "/nowhere/model.gguf" in answer.expect(404)["detail"]

    wanted = 'conductor_generations_total{category="summarization",ending="refused",model="/nowhere/model.gguf"} 1.0'
    eventually(lambda: wanted in client.get("/metrics").body.decode(), "the call is counted")
