import pytest
from tests.browser.conftest import OpenPage
from tests.server.serving import Server

api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: no browser to be had")
expect = api.expect
expect.set_options(timeout=60_000.0)


def test_a_task_opens_to_its_decision_and_is_explained(server: Server, open_page: OpenPage) -> None:
    task = server.client.settled(server.client.command("echo", "all is well"))
    page = open_page(server)
    shown = page.locator("details.task", has_text="run echo").first

    shown.locator("summary").click()
    expect(shown.locator("pre")).to_have_text("all is well")
    shown.get_by_role("button", name="Explain in full").click()

    expect(shown.locator("pre").last).to_contain_text("What the description says")
    expect(shown).to_contain_text(task["task_id"])


def test_a_task_is_cancelled(server: Server, open_page: OpenPage) -> None:
    task = server.client.command("sleep", "600")
    page = open_page(server, f"#{task['task_id']}")
    shown = page.locator("details.task", has_text=task["task_id"])

    shown.get_by_role("button", name="Cancel").click()

    expect(shown.locator("summary .state")).to_have_text("cancelled")


def test_every_byte_of_the_ledger_is_verified(server: Server, open_page: OpenPage) -> None:
    page = open_page(server)

    page.get_by_role("button", name="Verify every byte").click()

    expect(page.locator("#verdict")).to_contain_text("every byte as signed")


def test_without_tasks_the_page_says_how_to_give_one(empty_server: Server, open_page: OpenPage) -> None:
    page = open_page(empty_server)

    expect(page.locator("#tasks")).to_contain_text("conductor run")
