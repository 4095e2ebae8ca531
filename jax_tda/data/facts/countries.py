"""What the package countryinfo says of countries and territories, kept where it is one clear object."""

import json
from typing import Any

from jax_tda.data.facts import package_data
from jax_tda.data.facts.subject import Subject

# Codes of states that are no more; their entries repeat those of their successors.
_WITHDRAWN = ("AN", "CS")

# ISO 639-1, for the languages that are some country's only official one in the data.
_LANGUAGES = {
    **{"ar": "Arabic", "az": "Azerbaijani", "bg": "Bulgarian", "bn": "Bengali", "da": "Danish", "de": "German"},
    **{"dv": "Dhivehi", "dz": "Dzongkha", "el": "Greek", "en": "English", "es": "Spanish", "et": "Estonian"},
    **{"fa": "Persian", "fo": "Faroese", "fr": "French", "hr": "Croatian", "hu": "Hungarian", "hy": "Armenian"},
    **{"id": "Indonesian", "is": "Icelandic", "it": "Italian", "ja": "Japanese", "ka": "Georgian", "kl": "Greenlandic"},
    **{"km": "Khmer", "ko": "Korean", "la": "Latin", "lo": "Lao", "lt": "Lithuanian", "lv": "Latvian"},
    **{"mk": "Macedonian", "mn": "Mongolian", "ms": "Malay", "my": "Burmese", "ne": "Nepali", "nl": "Dutch"},
    **{"no": "Norwegian", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sk": "Slovak"},
    **{"sl": "Slovene", "so": "Somali", "sq": "Albanian", "sv": "Swedish", "th": "Thai", "ti": "Tigrinya"},
    **{"am": "Amharic", "tr": "Turkish", "uk": "Ukrainian", "uz": "Uzbek", "vi": "Vietnamese", "zh": "Chinese"},
}


def _only(value: Any) -> str:
    """The one entry of a field that may be a string or a list; "" where there is none or more than one."""
    entries = value if isinstance(value, list) else [value]
    named = [entry for entry in entries if entry]
    # A comma or slash inside an entry joins several answers: none of them alone would be right.
    return "" if len(named) != 1 or set(",/(") & set(named[0]) else named[0]


def _objects(entry: dict[str, Any]) -> dict[str, str]:
    code = _only([code for code in entry.get("callingCodes") or [] if code])
    return {
        "capital": _only(entry.get("capital")),
        "demonym": _only(entry.get("demonym")),
        "currency": _only(entry.get("currencies")),
        "calling_code": f"+{code}" if code.isdigit() else "",
        "internet_domain": _only([domain for domain in entry.get("tld") or [] if domain.isascii()]),
        "subregion": _only(entry.get("subregion")),
        "language": _LANGUAGES.get(_only(entry.get("languages")), ""),
        "country_code": _only(entry["ISO"].get("alpha3")),
    }


def read() -> list[Subject]:
    """The countries and territories, by their two-letter codes.

    Of two entries with one code the fuller is kept. An entry whose name needs a comma or brackets is left out: no
    sentence says it so.
    """
    fullest: dict[str, dict[str, Any]] = {}
    for path in sorted((package_data.directory("countryinfo", "countryinfo") / "data").glob("*.json")):
        entry = json.loads(path.read_text(encoding="utf-8"))
        code, name = entry["ISO"]["alpha2"], entry["name"]
        if code in _WITHDRAWN or set(",/(") & set(name):
            continue
        if code not in fullest or len(entry) > len(fullest[code]):
            fullest[code] = entry
    return [Subject(code, entry["name"], _objects(entry)) for code, entry in sorted(fullest.items())]
