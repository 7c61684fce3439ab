"""Name the languages that NLLB-200 models translate: their code, their English name, and what else people call them.

The codes are those of FLORES-200: ISO 639-3, an underscore, ISO 15924. They are also what translation by a chat model
is told apart by here, so that one table serves both. A name is found by its code, by a BCP-47 tag (`de`, `pt-BR`,
`zh-Hant-TW`, `sr-Latn` is refused), or by its English name; what is not found is answered with the nearest that are.

Covered: the 202 codes of the published models, macrolanguages by the member that the models know (`ar`, `fa`, `sw`).
Not covered: names in other languages than English; regional varieties (`pt-BR` and `pt-PT` are one Portuguese here).

Source: NLLB Team 2022, table 1, arXiv:2207.04672.
"""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from conductor.domain.errors import InvalidInput

_TABLE: Final = """
ace_Arab Acehnese (Arabic script)|ace_Latn Acehnese|acm_Arab Mesopotamian Arabic|acq_Arab Ta'izzi-Adeni Arabic
aeb_Arab Tunisian Arabic|afr_Latn Afrikaans|ajp_Arab South Levantine Arabic|aka_Latn Akan
als_Latn Albanian|amh_Ethi Amharic|apc_Arab North Levantine Arabic|arb_Arab Arabic
ars_Arab Najdi Arabic|ary_Arab Moroccan Arabic|arz_Arab Egyptian Arabic|asm_Beng Assamese
ast_Latn Asturian|awa_Deva Awadhi|ayr_Latn Aymara|azb_Arab South Azerbaijani
azj_Latn Azerbaijani|bak_Cyrl Bashkir|bam_Latn Bambara|ban_Latn Balinese
bel_Cyrl Belarusian|bem_Latn Bemba|ben_Beng Bengali|bho_Deva Bhojpuri
bjn_Arab Banjar (Arabic script)|bjn_Latn Banjar|bod_Tibt Tibetan|bos_Latn Bosnian
bug_Latn Buginese|bul_Cyrl Bulgarian|cat_Latn Catalan|ceb_Latn Cebuano
ces_Latn Czech|cjk_Latn Chokwe|ckb_Arab Central Kurdish|crh_Latn Crimean Tatar
cym_Latn Welsh|dan_Latn Danish|deu_Latn German|dik_Latn Dinka
dyu_Latn Dyula|dzo_Tibt Dzongkha|ell_Grek Greek|eng_Latn English
epo_Latn Esperanto|est_Latn Estonian|eus_Latn Basque|ewe_Latn Ewe
fao_Latn Faroese|fij_Latn Fijian|fin_Latn Finnish|fon_Latn Fon
fra_Latn French|fur_Latn Friulian|fuv_Latn Nigerian Fulfulde|gaz_Latn Oromo
gla_Latn Scottish Gaelic|gle_Latn Irish|glg_Latn Galician|grn_Latn Guarani
guj_Gujr Gujarati|hat_Latn Haitian Creole|hau_Latn Hausa|heb_Hebr Hebrew
hin_Deva Hindi|hne_Deva Chhattisgarhi|hrv_Latn Croatian|hun_Latn Hungarian
hye_Armn Armenian|ibo_Latn Igbo|ilo_Latn Ilocano|ind_Latn Indonesian
isl_Latn Icelandic|ita_Latn Italian|jav_Latn Javanese|jpn_Jpan Japanese
kab_Latn Kabyle|kac_Latn Jingpho|kam_Latn Kamba|kan_Knda Kannada
kas_Arab Kashmiri|kas_Deva Kashmiri (Devanagari script)|kat_Geor Georgian|kaz_Cyrl Kazakh
kbp_Latn Kabiyè|kea_Latn Kabuverdianu|khk_Cyrl Mongolian|khm_Khmr Khmer
kik_Latn Kikuyu|kin_Latn Kinyarwanda|kir_Cyrl Kyrgyz|kmb_Latn Kimbundu
kmr_Latn Northern Kurdish|knc_Arab Central Kanuri (Arabic script)|knc_Latn Central Kanuri|kon_Latn Kikongo
kor_Hang Korean|lao_Laoo Lao|lij_Latn Ligurian|lim_Latn Limburgish
lin_Latn Lingala|lit_Latn Lithuanian|lmo_Latn Lombard|ltg_Latn Latgalian
ltz_Latn Luxembourgish|lua_Latn Luba-Kasai|lug_Latn Ganda|luo_Latn Luo
lus_Latn Mizo|lvs_Latn Latvian|mag_Deva Magahi|mai_Deva Maithili
mal_Mlym Malayalam|mar_Deva Marathi|min_Latn Minangkabau|mkd_Cyrl Macedonian
mlt_Latn Maltese|mni_Beng Meitei|mos_Latn Mossi|mri_Latn Maori
mya_Mymr Burmese|nld_Latn Dutch|nno_Latn Norwegian Nynorsk|nob_Latn Norwegian Bokmål
npi_Deva Nepali|nso_Latn Northern Sotho|nus_Latn Nuer|nya_Latn Nyanja
oci_Latn Occitan|ory_Orya Odia|pag_Latn Pangasinan|pan_Guru Punjabi
pap_Latn Papiamento|pbt_Arab Pashto|pes_Arab Persian|plt_Latn Malagasy
pol_Latn Polish|por_Latn Portuguese|prs_Arab Dari|quy_Latn Quechua
ron_Latn Romanian|run_Latn Rundi|rus_Cyrl Russian|sag_Latn Sango
san_Deva Sanskrit|sat_Beng Santali|scn_Latn Sicilian|shn_Mymr Shan
sin_Sinh Sinhala|slk_Latn Slovak|slv_Latn Slovenian|smo_Latn Samoan
sna_Latn Shona|snd_Arab Sindhi|som_Latn Somali|sot_Latn Southern Sotho
spa_Latn Spanish|srd_Latn Sardinian|srp_Cyrl Serbian|ssw_Latn Swati
sun_Latn Sundanese|swe_Latn Swedish|swh_Latn Swahili|szl_Latn Silesian
tam_Taml Tamil|taq_Latn Tamasheq|taq_Tfng Tamasheq (Tifinagh script)|tat_Cyrl Tatar
tel_Telu Telugu|tgk_Cyrl Tajik|tgl_Latn Tagalog|tha_Thai Thai
tir_Ethi Tigrinya|tpi_Latn Tok Pisin|tsn_Latn Tswana|tso_Latn Tsonga
tuk_Latn Turkmen|tum_Latn Tumbuka|tur_Latn Turkish|twi_Latn Twi
tzm_Tfng Central Atlas Tamazight|uig_Arab Uyghur|ukr_Cyrl Ukrainian|umb_Latn Umbundu
urd_Arab Urdu|uzn_Latn Uzbek|vec_Latn Venetian|vie_Latn Vietnamese
war_Latn Waray|wol_Latn Wolof|xho_Latn Xhosa|ydd_Hebr Yiddish
yor_Latn Yoruba|yue_Hant Cantonese|zho_Hans Chinese (simplified)|zho_Hant Chinese (traditional)
zsm_Latn Malay|zul_Latn Zulu
"""

#: ISO 639-1 codes, and macrolanguages by the member that the models know.
_SHORT: Final = """
af afr_Latn ak aka_Latn am amh_Ethi ar arb_Arab as asm_Beng ay ayr_Latn az azj_Latn ba bak_Cyrl be bel_Cyrl bg bul_Cyrl
bm bam_Latn bn ben_Beng bo bod_Tibt bs bos_Latn ca cat_Latn cs ces_Latn cy cym_Latn da dan_Latn de deu_Latn dz dzo_Tibt
ee ewe_Latn el ell_Grek en eng_Latn eo epo_Latn es spa_Latn et est_Latn eu eus_Latn fa pes_Arab ff fuv_Latn fi fin_Latn
fj fij_Latn fo fao_Latn fr fra_Latn ga gle_Latn gd gla_Latn gl glg_Latn gn grn_Latn gu guj_Gujr ha hau_Latn he heb_Hebr
iw heb_Hebr hi hin_Deva hr hrv_Latn ht hat_Latn hu hun_Latn hy hye_Armn id ind_Latn ig ibo_Latn is isl_Latn it ita_Latn
ja jpn_Jpan jv jav_Latn ka kat_Geor kg kon_Latn ki kik_Latn kk kaz_Cyrl km khm_Khmr kn kan_Knda ko kor_Hang ks kas_Arab
ku kmr_Latn ky kir_Cyrl lb ltz_Latn lg lug_Latn li lim_Latn ln lin_Latn lo lao_Laoo lt lit_Latn lv lvs_Latn mg plt_Latn
mi mri_Latn mk mkd_Cyrl ml mal_Mlym mn khk_Cyrl mr mar_Deva ms zsm_Latn mt mlt_Latn my mya_Mymr nb nob_Latn ne npi_Deva
nl nld_Latn nn nno_Latn no nob_Latn ny nya_Latn oc oci_Latn om gaz_Latn or ory_Orya pa pan_Guru pl pol_Latn ps pbt_Arab
pt por_Latn qu quy_Latn rn run_Latn ro ron_Latn ru rus_Cyrl rw kin_Latn sa san_Deva sc srd_Latn sd snd_Arab sg sag_Latn
si sin_Sinh sk slk_Latn sl slv_Latn sm smo_Latn sn sna_Latn so som_Latn sq als_Latn sr srp_Cyrl ss ssw_Latn st sot_Latn
su sun_Latn sv swe_Latn sw swh_Latn ta tam_Taml te tel_Telu tg tgk_Cyrl th tha_Thai ti tir_Ethi tk tuk_Latn tl tgl_Latn
fil tgl_Latn tn tsn_Latn tr tur_Latn ts tso_Latn tt tat_Cyrl tw twi_Latn ug uig_Arab uk ukr_Cyrl ur urd_Arab uz uzn_Latn
vi vie_Latn wo wol_Latn xh xho_Latn yi ydd_Hebr yo yor_Latn zh zho_Hans zu zul_Latn cmn zho_Hans ara arb_Arab
fas pes_Arab msa zsm_Latn swa swh_Latn aze azj_Latn uzb uzn_Latn kur kmr_Latn mon khk_Cyrl lav lvs_Latn mlg plt_Latn
nep npi_Deva nor nob_Latn ori ory_Orya orm gaz_Latn pus pbt_Arab que quy_Latn sqi als_Latn yid ydd_Hebr ful fuv_Latn
aym ayr_Latn kau knc_Latn din dik_Latn
"""

_OTHER_NAMES: Final = MappingProxyType({
    "chinese": "zho_Hans", "mandarin": "zho_Hans", "simplified chinese": "zho_Hans", "traditional chinese": "zho_Hant",
    "modern standard arabic": "arb_Arab", "standard arabic": "arb_Arab", "farsi": "pes_Arab", "norwegian": "nob_Latn",
    "kurdish": "kmr_Latn", "kurmanji": "kmr_Latn", "sorani": "ckb_Arab", "filipino": "tgl_Latn", "flemish": "nld_Latn",
    "castilian": "spa_Latn", "myanmar": "mya_Mymr", "oriya": "ory_Orya", "panjabi": "pan_Guru", "chichewa": "nya_Latn",
    "sepedi": "nso_Latn", "sesotho": "sot_Latn", "setswana": "tsn_Latn", "luganda": "lug_Latn", "uighur": "uig_Arab",
    "irish gaelic": "gle_Latn", "gaelic": "gla_Latn", "manipuri": "mni_Beng", "cambodian": "khm_Khmr",
    "moldovan": "ron_Latn", "brazilian portuguese": "por_Latn", "levantine arabic": "apc_Arab",
    # FLORES-200 writes Santali in Ol Chiki; the published models know it by a code with another script.
    "sat_olck": "sat_Beng", "sat": "sat_Beng",
})  # fmt: skip

#: Varieties of Chinese that a tag tells by place, where it does not tell by script.
_TRADITIONAL_PLACES: Final = frozenset({"TW", "HK", "MO"})
_TAG: Final = re.compile(r"([a-z]{2,3})(?:[-_]([a-z]{4}))?(?:[-_]([a-z]{2}|[0-9]{3}))?", re.IGNORECASE)
_LONGEST_NAME: Final = 80


@dataclass(frozen=True, slots=True)
class Language:
    """A language as the models know it: FLORES-200 code and English name."""

    code: str
    name: str

    @property
    def script(self) -> str:
        """ISO 15924, for example `Latn`."""
        return self.code[4:]


@lru_cache(maxsize=1)
def languages() -> MappingProxyType[str, Language]:
    """All of them, by code."""
    rows = (row.split(" ", 1) for line in _TABLE.split("\n") for row in line.split("|") if row)
    return MappingProxyType({code: Language(code, name) for code, name in rows})


def language(called: str, *, field: str) -> Language:
    """The language that a code, a BCP-47 tag or an English name means.

    Raises:
        InvalidInput: none of ours; the message names the nearest.
    """
    found = _by_name(called) or _by_tag(called)
    if found is None:
        near = _nearest(called)
        advice = f"; did you mean {' or '.join(near)}?" if near else "."
        shown = called[:_LONGEST_NAME]
        raise InvalidInput(
            f"{field}: {shown!r} is no language known here{advice} Give a FLORES-200 code (deu_Latn), a BCP-47 tag (de) "
            "or an English name (German)",
            field=field,
            details={"nearest": near},
        )
    return languages()[found]


def _by_name(called: str) -> str | None:
    name = " ".join(called.split()).casefold()
    return _names().get(name)


def _by_tag(called: str) -> str | None:
    tag = _TAG.fullmatch(called.strip())
    if tag is None:
        return None
    primary, script, place = tag[1].lower(), (tag[2] or "").title(), (tag[3] or "").upper()
    known = _short().get(primary) or next((code for code in languages() if code.startswith(f"{primary}_")), None)
    if known is None:
        return None
    if known == "zho_Hans" and not script and place in _TRADITIONAL_PLACES:
        return "zho_Hant"
    if script and script != known[4:]:
        known = f"{known[:3]}_{script}"
    return known if known in languages() else None


def _nearest(called: str) -> list[str]:
    asked = " ".join(called.split()).casefold()[:_LONGEST_NAME]
    found = get_close_matches(asked, _names(), n=3, cutoff=0.6)
    return list(dict.fromkeys(f"{languages()[_names()[name]].name} ({_names()[name]})" for name in found))


@lru_cache(maxsize=1)
def _names() -> MappingProxyType[str, str]:
    names = {known.name.casefold(): code for code, known in languages().items()}
    names |= {code.casefold(): code for code in languages()}
    return MappingProxyType(names | dict(_OTHER_NAMES))


@lru_cache(maxsize=1)
def _short() -> MappingProxyType[str, str]:
    words = _SHORT.split()
    return MappingProxyType(dict(zip(words[::2], words[1::2], strict=True)))
