import pytest
from tests.browser.conftest import ABSENT, OpenPage
from tests.clients.stand import Upstream, under_way
from tests.server.serving import Server, eventually

api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: no browser to be had")
expect = api.expect
LONG_MS = 60_000.0
expect.set_options(timeout=LONG_MS)


def row(page: "api.Page", title: str) -> "api.Locator":
    return page.locator(".model", has=page.get_by_role("heading", name=title, exact=True))


def ask(page: "api.Page", category: str, prompt: str) -> None:
    page.get_by_label("Who answers").select_option(category)
    page.get_by_label("Prompt").fill(prompt)
    page.get_by_role("button", name="Ask").click()


def state_of(server: Server, category: str) -> str:
    return str(server.client.get(f"/models/{category}").expect(200)["state"])


def test_a_model_of_two_categories_is_one_row_that_loads_and_unloads(server: Server, open_page: OpenPage) -> None:
    page = open_page(server, "#models")
    steady = row(page, "Steady")
    expect(steady).to_contain_text("conversational chat, general reasoning")

    steady.get_by_role("button", name="Load: Steady").click()
    expect(steady.get_by_role("button", name="Unload: Steady")).to_be_visible()
    loaded = state_of(server, "general_reasoning")
    steady.get_by_role("button", name="Unload: Steady").click()
    expect(steady.get_by_role("button", name="Load: Steady", exact=True)).to_be_visible()

    assert (loaded, state_of(server, "general_reasoning")) == ("loaded", "absent")


def test_the_keyboard_is_enough_and_what_happens_is_read_out(server: Server, open_page: OpenPage) -> None:
    page = open_page(server, "#models")
    button = row(page, "Other").get_by_role("button")

    button.focus()
    page.keyboard.press("Enter")

    expect(row(page, "Other").get_by_role("button", name="Unload: Other")).to_be_focused()
    expect(page.locator("#models-told")).to_have_text("Other: loaded")


def test_a_model_that_cannot_be_loaded_says_why(server: Server, open_page: OpenPage) -> None:
    page = open_page(server, "#models")
    nowhere = row(page, "Nowhere")

    nowhere.get_by_role("button").click()

    expect(nowhere.locator(".told")).to_contain_text(ABSENT)
    expect(nowhere.locator(".told")).to_have_count(1)
    expect(nowhere.locator(".model-head .state")).to_have_text("error")
    expect(page.get_by_role("link", name="Models")).to_contain_text("1 failed")


def test_words_that_are_selected_stay_so_while_the_page_looks_again(server: Server, open_page: OpenPage) -> None:
    server.client.post("/models/load", {"model": "Nowhere"})
    page = open_page(server, "#models")
    why = row(page, "Nowhere").locator(".told")

    why.dblclick()
    word = page.evaluate("() => getSelection().toString()")
    for _ in range(2):
        page.wait_for_event("response", lambda response: response.url.endswith("/stats"))

    assert word
    assert page.evaluate("() => getSelection().toString()") == word


def test_an_answer_tells_who_gave_it_and_why(server: Server, open_page: OpenPage) -> None:
    page = open_page(server, "#models")

    ask(page, "conversational_chat", "hello there")

    expect(page.get_by_label("Answer", exact=True)).to_have_text("(Be brief.) I heard: hello there")
    expect(page.locator("#who")).to_have_text("Steady for conversational chat: it was asked for.")
    expect(page.locator("#spent")).to_contain_text("6 tokens in")
    expect(row(page, "Steady").locator(".figures")).to_contain_text("Tokens/s")
    expect(page.get_by_role("img", name="Tokens a second")).to_be_visible()


def test_what_was_passed_on_before_the_page_was_opened_counts_too(server: Server, open_page: OpenPage) -> None:
    asked = {"model": "Passed on", "messages": [{"role": "user", "content": "hello"}]}
    assert server.client.post("/v1/chat/completions", asked).status == 200

    page = open_page(server, "#models")

    expect(row(page, "Passed on").locator(".figures dd").first).to_have_text("1")
    expect(page.get_by_role("img", name="Tokens a second")).to_be_visible()


def test_without_a_category_conductor_says_which_one_it_took(server: Server, open_page: OpenPage) -> None:
    page = open_page(server, "#models")

    ask(page, "auto", "Write a poem about the sea")

    expect(page.locator("#who")).to_contain_text("Other for creative writing: the request reads like")


def test_an_answer_is_shown_as_it_is_written_and_ends_when_it_is_stopped(
    server: Server, upstream: Upstream, open_page: OpenPage
) -> None:
    page = open_page(server, "#models")

    ask(page, "conversational_chat", "fail slow")
    expect(page.get_by_label("Answer", exact=True)).to_contain_text("word word word")
    page.get_by_role("button", name="Stop").click()

    expect(page.locator("#spent")).to_have_text("Stopped.")
    eventually(lambda: under_way(server) == 0 and upstream.state()["open"] == 0, "nobody writes any more")


@pytest.mark.parametrize(
    ("prompt", "told"), [("fail 500", "answered 500: asked to fail with 500"), ("fail cut", "broke off")]
)
def test_what_goes_wrong_is_told_in_words(server: Server, open_page: OpenPage, prompt: str, told: str) -> None:
    page = open_page(server, "#models")

    ask(page, "legal_analysis", f"This agreement, {prompt}, is between Ann and Bob.")

    expect(page.locator("#failure")).to_contain_text(told)
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    expect(row(page, "Unlucky").locator(".figures .failed")).to_have_text("100 %")


def test_no_more_is_written_than_is_allowed(server: Server, open_page: OpenPage) -> None:
    page = open_page(server, "#models")
    page.get_by_text("Options", exact=True).click()

    page.get_by_label("Tokens at most").fill("3")
    ask(page, "conversational_chat", "one two three four five")

    expect(page.locator("#spent")).to_contain_text("3 tokens in")
    expect(page.locator("#spent")).to_contain_text("cut off at the most that was allowed")


def test_options_go_to_the_engine_and_those_that_are_no_object_go_nowhere(server: Server, open_page: OpenPage) -> None:
    page = open_page(server, "#models")
    page.get_by_text("Options", exact=True).click()

    page.get_by_label("Of the engine").fill("[1]")
    ask(page, "creative_writing", "the sea")
    expect(page.locator("#failure")).to_contain_text("must be a JSON object")

    page.get_by_label("Of the engine").fill('{"wörds": 5}')
    ask(page, "creative_writing", "the sea")
    expect(page.locator("#failure")).to_contain_text("wörds")


def test_without_models_the_page_says_how_to_come_by_some(empty_server: Server, open_page: OpenPage) -> None:
    page = open_page(empty_server, "#models")

    expect(page.locator("#models")).to_contain_text("conductor settings validate --example")
    expect(page.get_by_label("Prompt")).to_be_hidden()


def test_nothing_is_wider_than_a_telephone(server: Server, open_page: OpenPage) -> None:
    page = open_page(server, "#models", width=390)
    ask(page, "conversational_chat", "a" * 300)
    expect(page.get_by_label("Answer", exact=True)).to_contain_text("aaaa")

    page.mouse.wheel(500, 0)

    right = [box["x"] + box["width"] for part in page.locator("main *:visible").all() if (box := part.bounding_box())]
    assert max(right) <= 390
