"""Find quantities with their units in a description, and bring them to base units.

Decides what a number means: how many things, how many bytes, seconds of material, hertz, pixels, parameters, epochs,
tokens or frames per second. What the numbers imply for time and memory is `priors`.

Covered: digits with grouping and decimal comma or point, k/M/B after a number, `1920x1080`, `4k video`, `1080p`,
clock notation, number words of ten languages before a countable noun, CJK counters.
Not covered: fractions in words, ranges (both ends are read as quantities of their own), roman numerals.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from conductor.decisions.vocabulary import COUNTABLE


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number found in a text: what it measures, its value in the base unit, and the words it was read from.

    `name` is one of count, bytes, seconds, hertz, pixels, parameters, epochs, tokens, frames_per_second.
    """

    name: str
    value: float
    text: str


_SCALE: Final = {"k": 1e3, "m": 1e6, "b": 1e9, "bn": 1e9, "mio": 1e6, "mrd": 1e9, "thousand": 1e3, "million": 1e6,
                 "millionen": 1e6, "millions": 1e6, "millones": 1e6, "milhões": 1e6, "milioni": 1e6, "miljoen": 1e6,
                 "milyon": 1e6, "billion": 1e9, "万": 1e4, "千": 1e3, "тыс": 1e3, "млн": 1e6}  # fmt: skip

_UNIT_WORDS: Final = {
    ("bytes", 1000.0): "kb ko кб",
    ("bytes", 1000000.0): "mb mo мб",
    ("bytes", 1000000000.0): "gb go гб gig gigs gigabytes gigabyte",
    ("bytes", 1000000000000.0): "tb to тб terabytes terabyte",
    ("bytes", 1024.0): "kib",
    ("bytes", 1048576.0): "mib",
    ("bytes", 1073741824.0): "gib",
    ("bytes", 1099511627776.0): "tib",
    ("seconds", 0.001): "ms msec мс 毫秒",
    ("seconds", 1.0): "s sec secs second seconds sek sekunde sekunden seconde secondes segundo segundos secondo "
    "secondi seconden sekund sekundy saniye сек секунд секунды 秒 초",
    ("seconds", 60.0): "min mins minute minutes minuten minuto minutos minuti minuut minut minuty dakika мин минут "
    "минуты 分钟 分 분",
    (
        "seconds",
        3600.0,
    ): "h hr hrs hour hours std stunde stunden heure heures hora horas ora ore uur uren godzin godziny "
    "saat час часа часов 小时 時間 시간",
    ("seconds", 86400.0): "day days tag tage tagen jour jours día días dias giorni dagen dni gün дней 天 日",
    ("hertz", 1.0): "hz",
    ("hertz", 1000.0): "khz кгц",
    ("hertz", 1000000.0): "mhz",
    ("hertz", 1000000000.0): "ghz",
    ("pixels", 1000000.0): "mp mpx megapixel megapixels",
    ("epochs", 1.0): "epoch epochs epoche epochen époque époques epoca épocas epocas epok epoki эпох эпохи эпоха 轮 "
    "エポック 에폭",
    ("tokens", 1.0): "token tokens tokeny токенов トークン 토큰",
    ("parameters", 1.0): "param params parameter parameters parametern paramètres parámetros",
    ("frames_per_second", 1.0): "fps",
}
_UNITS: Final = MappingProxyType({word: unit for unit, words in _UNIT_WORDS.items() for word in words.split()})

#: Only words that mean nothing else in another of the languages; Turkish ten is English “on”.
_NUMBER_LISTS: Final = {
    2: "two zwei deux dois due twee dwa iki два dos",
    3: "three drei trois tres três tre drie trzy üç три",
    4: "four vier quatre cuatro quatro quattro cztery dört четыре",
    5: "five fünf cinq cinco cinque vijf pięć beş пять",
    6: "six sechs seis zes sześć altı шесть",
    7: "seven sieben sept siete sete sette zeven siedem yedi семь",
    8: "eight acht huit ocho oito otto osiem sekiz восемь",
    9: "nine neun neuf nueve nove negen dziewięć dokuz девять",
    10: "ten zehn dix diez dez dieci tien dziesięć десять",
    12: "dozen dutzend douzaine docena dúzia dozzina dozijn tuzin düzine дюжина",
    20: "twenty zwanzig vingt veinte vinte venti twintig dwadzieścia yirmi двадцать",
    50: "fifty fünfzig cinquante cincuenta cinquenta vijftig пятьдесят",
    100: "hundred hundert cent cien cem cento honderd sto yüz сто hundreds hunderte",
    1000: "thousand tausend mille mil duizend tysiąc тысяча тысячи thousands tausende",
    1000000: "million",
}
_NUMBER_WORDS: Final = MappingProxyType(
    {word: number for number, words in _NUMBER_LISTS.items() for word in words.split()}
)

_NUMBER: Final = re.compile(
    r"(?<![\w.,])(\d{1,3}(?:[ ',.\u00a0\u202f]\d{3}){1,4}(?![\d])|\d{1,15}(?:[.,]\d{1,6})?)"
    r"[ \u00a0-]{0,2}([^\W\d_]{1,12}|万|千)?(?:[ -]{1,2}([^\W\d_]{1,16}))?(?:[ -]{1,2}([^\W\d_]{1,16}))?"
)
_FRAME_SIZE: Final = re.compile(r"(?<![\w.])(\d{2,5}) ?[x×*] ?(\d{2,5})(?![\w.])", re.IGNORECASE)
_LINES: Final = re.compile(r"(?<![\w.])(480|576|720|1080|1440|2160|4320)[pi](?!\w)", re.IGNORECASE)
_K_FRAMES: Final = re.compile(r"(?<![\w.])([248])k(?!\w)", re.IGNORECASE)
_CLOCK: Final = re.compile(r"(?<![\d:])(\d{1,2}):([0-5]\d):([0-5]\d)(?![\d:])")
_CJK_COUNT: Final = re.compile(
    r"(\d{1,12}) ?([万千])? ?(?:个|個|枚|张|張|本|件|部|段|篇|条|條|份|首|幅|つ|개|장|편|건)(?!月)"
)
_CJK_UNIT: Final = re.compile(r"(\d{1,12}(?:\.\d{1,3})?) ?(毫秒|秒|分钟|分|小时|時間|시간|분|초|轮|エポック|에폭)")
_WORD: Final = re.compile(r"[^\W\d_]+")
#: Before a span of time these make it a deadline, a period or a limit, not a length of material.
_NOT_MATERIAL: Final = re.compile(
    r"(?:within|in|every|each|timeout|after|for at most|under|than|innerhalb|alle|binnen|nach|dans|toutes les|en|cada|"
    r"em|entro|ogni|elke|co|her|через|каждые|每)\W{0,3}$",
    re.IGNORECASE,
)
_PIXELS: Final = MappingProxyType({2: 2048 * 1080, 4: 3840 * 2160, 8: 7680 * 4320})


def quantities_in(text: str) -> tuple[Quantity, ...]:
    """Every quantity of a text in reading order; linear in its length."""
    taken = [False] * (len(text) + 1)
    found: list[tuple[int, Quantity]] = []
    for reader in (_frames, _clocks, _east_asian, _numbers):
        for start, end, quantity in reader(text):
            if not any(taken[start:end]):
                taken[start:end] = [True] * (end - start)
                found.append((start, quantity))
    found.extend((start, quantity) for start, quantity in _in_words(text) if not taken[start])
    return tuple(quantity for _, quantity in sorted(found, key=lambda item: item[0]))


_Reading = Iterator[tuple[int, int, Quantity]]


def _frames(text: str) -> _Reading:
    for match in _FRAME_SIZE.finditer(text):
        yield match.start(), match.end(), Quantity("pixels", float(match[1]) * float(match[2]), match[0])
    for match in _LINES.finditer(text):
        lines = int(match[1])
        yield match.start(), match.end(), Quantity("pixels", float(lines * round(lines * 16 / 9)), match[0])
    for match in _K_FRAMES.finditer(text):
        follower = _WORD.match(text, match.end() + 1)
        if follower is None or _count_noun(follower[0]) in ("video", "image", ""):
            plural = follower is not None and follower[0].lower() in COUNTABLE and follower[0].lower().endswith("s")
            if not plural or match[1] in "48":
                yield match.start(), match.end(), Quantity("pixels", float(_PIXELS[int(match[1])]), match[0])


def _clocks(text: str) -> _Reading:
    for match in _CLOCK.finditer(text):
        seconds = int(match[1]) * 3600 + int(match[2]) * 60 + int(match[3])
        yield match.start(), match.end(), Quantity("seconds", float(seconds), match[0])


def _east_asian(text: str) -> _Reading:
    for match in _CJK_COUNT.finditer(text):
        yield match.start(), match.end(), Quantity("count", float(match[1]) * _SCALE.get(match[2] or "", 1.0), match[0])
    for match in _CJK_UNIT.finditer(text):
        name, factor = _UNITS[match[2]]
        yield match.start(), match.end(), Quantity(name, float(match[1]) * factor, match[0])


def _numbers(text: str) -> _Reading:
    for match in _NUMBER.finditer(text):
        read = _read_number(text, match)
        if read is not None:
            name, value, last_word = read
            end = match.end(1 + last_word)
            yield match.start(), end, Quantity(name, value, " ".join(text[match.start() : end].split()))


def _read_number(text: str, match: re.Match[str]) -> tuple[str, float, int] | None:
    """Name, value, and how many of the (at most three) words after the number belong to it."""
    value = _value(match[1])
    words = [(match[group] or "").lower() for group in (2, 3, 4)]
    scaled = words[0] in _SCALE
    factor = _SCALE.get(words[0], 1.0)
    after = words[scaled:]
    if words[0] in ("b", "m") and COUNTABLE.get(after[0], "model") == "model":
        # "7B" by itself is how people name language models by size; "5M" by itself is anybody's guess.
        named = words[0] == "b" or after[0].startswith(("param", "model"))
        return ("parameters", value * factor, 1) if named else None
    if after[0] in _UNITS:
        name, unit = _UNITS[after[0]]
        before = text[max(match.start() - 14, 0) : match.start()]
        material = name != "seconds" or not _NOT_MATERIAL.search(before)
        return (name, value * factor * unit, 1 + scaled) if material else None
    for position, word in enumerate(after):
        if word in COUNTABLE:
            return "count", value * factor, position + 1 + scaled
    return None


def _value(digits: str) -> float:
    """`1,500` and `1.500` are fifteen hundred; `1,5` and `1.5` are one and a half."""
    if re.fullmatch(r"\d{1,3}(?:[ ',.\u00a0\u202f]\d{3})+", digits):
        return float(re.sub(r"\D", "", digits))
    return float(digits.replace(",", "."))


def _in_words(text: str) -> Iterator[tuple[int, Quantity]]:
    """`a dozen clips`, `zwei Videos`: a number word with a countable noun within two words after it."""
    words = [(match.start(), match[0].lower()) for match in _WORD.finditer(text)]
    for index, (start, word) in enumerate(words):
        number = _NUMBER_WORDS.get(word)
        if number is None:
            continue
        for _, noun in words[index + 1 : index + 4]:
            if noun in COUNTABLE:
                yield start, Quantity("count", float(number), f"{word} {noun}")
                break


def _count_noun(word: str) -> str:
    return COUNTABLE.get(word.lower(), "")
