"""Know which languages tell formal from informal address, how each says it, and when a translation mixed them up.

Only words that belong to one register alone count as signs: German `Sie` is also `they`, so it proves nothing, but `du`
does. A sign is a hint for a person, not a proof: quotations inside a text may rightly use the other register, and where
one word is formal and plural (French `vous`), several informal readers are addressed by it too.

Covered: the languages of the table. Not covered: honorific levels beyond two (Japanese, Korean and Javanese have more).
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Final


class Register(StrEnum):
    """How the reader is addressed."""

    AS_USUAL = ""
    FORMAL = "formal"
    INFORMAL = "informal"


@dataclass(frozen=True, slots=True)
class Address:
    """How one language does it: words for the model, and words that only occur in one register."""

    formal: str
    informal: str
    formal_signs: tuple[str, ...] = ()
    informal_signs: tuple[str, ...] = ()


_TABLE: Final = """
deu_Latn|Sie|du||du dich dir dein deine deinen deinem deiner deines euch euer eure
fra_Latn|vous|tu|vous votre vos|tu toi ton tes
spa_Latn|usted|tú|usted ustedes|tú ti contigo tus vosotros vuestra vuestro
ita_Latn|Lei|tu||tu ti tuo tua tuoi tue
por_Latn|o senhor / a senhora|você or tu|senhor senhora|tu ti contigo teu tua
nld_Latn|u|je / jij|u uw|je jij jou jouw jullie
pol_Latn|Pan / Pani|ty|pan pani panu państwo państwa|ty ciebie tobie tobą twój twoja twoje
ces_Latn|vy|ty|vy vás vám váš vaše|ty tebe tobě tvůj tvoje tvá
slk_Latn|vy|ty|vy vás vám váš vaše|ty teba tebe tvoj tvoja tvoje
hrv_Latn|Vi|ti||ti tebe tebi tvoj tvoja tvoje
srp_Cyrl|Ви|ти||ти тебе теби твој твоја твоје
slv_Latn|vi|ti|vas vam vaš vaša|tebe tebi tvoj tvoja tvoje
rus_Cyrl|вы|ты|вы вас вам ваш ваша ваше ваши|ты тебя тебе тобой твой твоя твоё твои
ukr_Cyrl|ви|ти|ви вас вам ваш ваша ваше ваші|ти тебе тобі тобою твій твоя твоє твої
bul_Cyrl|Вие|ти|вие вас ваш ваша|теб твой твоя твое
ron_Latn|dumneavoastră|tu|dumneavoastră|tu tine ție tău ta
hun_Latn|Ön|te|ön önnek önt önök|te téged neked
fin_Latn|te|sinä|teidän teille teitä|sinä sinun sinulle sinua
swe_Latn|ni|du||du dig din ditt dina
dan_Latn|De|du||du dig din dit dine
nob_Latn|De|du||du deg din ditt dine
ell_Grek|εσείς|εσύ|εσείς εσάς σας|εσύ εσένα σου
tur_Latn|siz|sen|siz size sizi sizin|sen sana seni senin
jpn_Jpan|polite form, です・ます|plain form, だ・である
kor_Hang|존댓말, 합니다 or 해요|반말, 해
hin_Deva|आप|तुम|आप आपको आपका आपकी आपके|तुम तुम्हें तुम्हारा तुम्हारी तू तुझे तेरा
urd_Arab|آپ|تم|آپ|تم تمہیں تمہارا
ben_Beng|আপনি|তুমি|আপনি আপনার আপনাকে|তুমি তোমার তোমাকে
pes_Arab|شما|تو
zho_Hans|您|你|您|你 你们
zho_Hant|您|你|您|你 你們
vie_Latn|quý vị|bạn
ind_Latn|Anda|kamu|anda|kamu kau
lit_Latn|Jūs|tu|jūs jums jūsų|tu tau tavo tave
lvs_Latn|Jūs|tu|jūs jums jūsu|tu tev tevi tavs tava
est_Latn|Teie|sina|teie teil teid|sina sinu sind
cat_Latn|vostè|tu|vostè vostès|tu teu teva
glg_Latn|vostede|ti|vostede|ti ti teu túa
isl_Latn|þér|þú||þú þig þér þinn þín þitt
"""

#: Written without spaces between words: a sign is looked for anywhere.
_UNSPACED: Final = frozenset({"zho_Hans", "zho_Hant"})
_PUNCTUATION: Final = ".,;:!?…¡¿\"'“”„«»‘’()[]{}*_-–—।،؟۔"


@lru_cache(maxsize=1)
def _addresses() -> MappingProxyType[str, Address]:
    found = {}
    for line in _TABLE.strip().splitlines():
        code, formal, informal, formal_signs, informal_signs = (*line.split("|"), "", "")[:5]
        found[code] = Address(formal, informal, tuple(formal_signs.split()), tuple(informal_signs.split()))
    return MappingProxyType(found)


def address(code: str) -> Address | None:
    """How the language with this FLORES-200 code addresses; None where it has one form only, or we do not know."""
    return _addresses().get(code)


def signs_against(register: Register, code: str, translation: str) -> list[str]:
    """Words of the translation that belong to the other register; empty where nothing can be told."""
    known = address(code)
    if known is None or register is Register.AS_USUAL:
        return []
    signs = known.informal_signs if register is Register.FORMAL else known.formal_signs
    if code in _UNSPACED:
        return [sign for sign in signs if sign in translation]
    # Vowel signs of Indic scripts are no word characters to `re`, so words are what stands between spaces.
    words = {word.strip(_PUNCTUATION) for word in translation.casefold().split()}
    return [sign for sign in dict.fromkeys(signs) if sign in words]
