"""Secrets in addresses are masked wherever a text is shown; everything else stays readable."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.domain.errors import ConductorError, InvalidInput
from conductor.domain.redaction import without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://user:hunter2@host/v1", "http://user:****@host/v1"),
        ("'https://user:hunter2@host:8000/v1#m' is wrong", "'https://user:****@host:8000/v1#m' is wrong"),
        ("HTTP://user:hunter2@host", "HTTP://user:****@host"),
        ("http://:hunter2@host", "http://:****@host"),
        ("http://user:hun/ter@2:x@host/v1", "http://user:****@host/v1"),
        ("http://user:my hunter2@host/v1 is wrong", "http://user:****@host/v1 is wrong"),
        ("http://sk-hunter2@host/v1", "http://****@host/v1"),
        ("postgresql://me@host/name", "postgresql://me@host/name"),
        ("postgresql://me:hunter2@host/name?sslpassword=hunter2", "postgresql://me:****@host/name?sslpassword=****"),
        ("https://host/v1?api_key=hunter2&model=m", "https://host/v1?api_key=****&model=m"),
        ("two: http://a:b@c and http://d:e@f", "two: http://a:****@c and http://d:****@f"),
    ],
)
def test_what_an_address_hides_is_masked(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mail me@example.org",
        "http://127.0.0.1:11434/v1#llama3.2:3b",
        "http://host:8000/v1#model@latest",
        "cannot ask http://host:8000: write to me@example.org",
        "cannot ask http://host: write to me@example.org",
        "http://[::1]:8000/v1",
        "a:b@c",
        "batch=12 key = 3",
    ],
)
def test_what_hides_nothing_stays_as_it_is(text: str) -> None:
    assert without_secrets(text) == text


@given(
    password=st.text(st.characters(codec="utf-8", categories=["L", "P", "S"]), min_size=9),
    before=st.sampled_from(["", "cannot reach ", '{"value": "']),
)
def test_no_password_of_a_web_address_survives(password: str, before: str) -> None:
    assert password not in without_secrets(f"{before}http://user:{password}@host/v1")


def test_no_error_repeats_a_secret() -> None:
    told = InvalidInput("http://me:hunter2@host is wrong", details={"given": "http://me:hunter2@host", "line": 3})

    assert told.message == str(told) == "http://me:****@host is wrong"
    assert told.details == {"given": "http://me:****@host", "line": 3}
    assert "hunter2" not in repr(ConductorError("http://me:hunter2@host"))
