"""What a turn holds, read from clients: text, or parts of text and pictures.

Pictures go on as they came, to models that see; nothing here fetches an address or decodes more than it takes to know that
the data is base64. Whether the model sees is found out when it is asked. Not covered: sound and files in turns; they are
refused by name.
"""

import binascii
import re
from typing import Any, Final

from conductor.domain.generation import Picture, Role
from conductor.domain.plain_data import check_text
from conductor.faces.http.openai.errors import Refused

UNSUPPORTED: Final = "unsupported_parameter"
_PICTURE_DATA: Final = re.compile(r"data:image/(png|jpeg|jpg|gif|webp);base64,")
_ADDRESS: Final = re.compile(r"https?://[^\s/]", re.IGNORECASE)
_LONGEST_ADDRESS: Final = 8192
_DETAILS: Final = ("auto", "low", "high")

Part = str | Picture


def parts_of(content: str | list[dict[str, Any]] | None, where: str, role: Role) -> tuple[Part, ...]:
    """What the content holds, in order.

    Args:
        where: its name, for errors.

    Raises:
        Refused: a part is of a kind that is not taken, or has not the form of its kind.
    """
    if content is None:
        return ()
    if isinstance(content, str):
        check_text(content, field=where)
        return (content,)
    if not content:
        raise Refused(f"{where} has no part; send text, or a list with something in it", param=where)
    return tuple(_part(part, f"{where}[{place}]", role) for place, part in enumerate(content))


def text_of(parts: tuple[Part, ...]) -> str:
    """The text among the parts, a line each."""
    return "\n".join(part for part in parts if isinstance(part, str))


def _part(part: dict[str, Any], where: str, role: Role) -> Part:
    kind = part.get("type")
    if kind is None:
        raise Refused(f"{where}.type is missing", param=f"{where}.type", code="missing_required_parameter")
    if kind in ("text", "refusal"):
        return _text(part.get(kind), f"{where}.{kind}")
    if kind == "image_url":
        if role is not Role.USER:
            raise Refused(f"{where} is a picture; only the user's turns hold pictures", param=where)
        return _picture(part.get("image_url"), f"{where}.image_url")
    raise Refused(f"{where} is {kind!r}; text and image_url are taken here"[:300], param=where, code=UNSUPPORTED)


def _text(text: object, where: str) -> str:
    if not isinstance(text, str):
        raise Refused(f"{where} must be text", param=where, code="invalid_type")
    check_text(text, field=where)
    return text


def _picture(told: object, where: str) -> Picture:
    if not isinstance(told, dict):
        raise Refused(f"{where} must be an object with url", param=where, code="invalid_type")
    url, detail = _text(told.get("url"), f"{where}.url"), told.get("detail")
    if detail is not None and detail not in _DETAILS:
        raise Refused(f"{where}.detail must be one of {', '.join(_DETAILS)}", param=f"{where}.detail")
    head = _PICTURE_DATA.match(url)
    if head is not None:
        _check_data(url[head.end() :], f"{where}.url")
    elif len(url) > _LONGEST_ADDRESS or not _ADDRESS.match(url):
        raise Refused(
            f"{where}.url must be data:image/png;base64,… (png, jpeg, gif, webp), or an http(s) address of at most "
            f"{_LONGEST_ADDRESS:,} characters",
            param=f"{where}.url",
            code="invalid_image_url",
        )
    return Picture(url=url, detail=detail or "")


def _check_data(data: str, where: str) -> None:
    try:
        if binascii.a2b_base64(data, strict_mode=True):
            return
    except ValueError:
        pass
    raise Refused(f"{where} holds no base64 data", param=where, code="invalid_base64_image")
