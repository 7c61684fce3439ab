"""The keys of endpoints as the setting `serving.endpoint_keys` holds them, by the origin that each one belongs to."""

from collections.abc import Sequence

from conductor.adapters.endpoints.address import parse_address


def endpoint_keys(named: Sequence[str]) -> dict[str, str]:
    """Keys by origin, from entries such as `https://api.example.com=KEY`; what is no such entry was refused before."""
    pairs = (entry.partition("=") for entry in named)
    return {parse_address(origin).origin: key for origin, _, key in pairs}
