import re

from tests.server.serving import Client, Server


def test_the_page_names_only_parts_that_are_there(client: Client) -> None:
    page = client.get("/")

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    parts = re.findall(r'(?:href|src)="(/[^"]+)"', page.body.decode())
    assert parts
    while parts:
        part = client.get(name := parts.pop())
        assert part.status == 200, name
        parts += [f"/page/{other}" for other in re.findall(r'from "\./([^"]+)"', part.body.decode())]


def test_scripts_and_styles_come_from_the_server_alone_and_none_stands_in_the_page(client: Client) -> None:
    page = client.get("/")
    policy = dict(rule.split(" ", 1) for rule in page.headers["content-security-policy"].split("; "))

    assert (policy["default-src"], policy["script-src"], policy["style-src"]) == ("'none'", "'self'", "'self'")
    assert not re.search(r"<script[^>]*>[^<]|<style| on\w+=| style=", page.body.decode())


def test_who_has_no_key_sees_no_part_of_the_page(server: Server) -> None:
    assert [server.stranger.get(path).status for path in ("/", "/page/overview.js")] == [401, 401]


def test_a_part_that_is_not_there_is_a_problem(client: Client) -> None:
    assert client.get("/page/other.js").expect(404)["detail"] == "the page has no part 'other.js'"
    client.get("/page/..%2fserver.py").expect(404)
