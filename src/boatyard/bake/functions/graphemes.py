"""Characters as people see them: grapheme clusters, by which texts are counted, cut and reversed.

Specification: Unicode UAX #29, extended grapheme clusters, as far as `unicodedata` knows the properties: combining
marks, joined and modified emoji, flags, Hangul syllables, CR LF.
"""

from __future__ import annotations

import unicodedata

_JOINER = "\u200d"


def graphemes(text: str) -> list[str]:
    if text.isascii() and "\r" not in text:
        return list(text)
    clusters: list[str] = []
    for character in text:
        if clusters and _joined(clusters[-1], character):
            clusters[-1] += character
        else:
            clusters.append(character)
    return clusters


def _joined(cluster: str, character: str) -> bool:
    last = cluster[-1]
    if last == "\r":
        return character == "\n"
    if unicodedata.category(last) in ("Cc", "Zl", "Zp") or unicodedata.category(character) in ("Cc", "Zl", "Zp"):
        return False
    if character == _JOINER or _extends(character):
        return True
    if last == _JOINER:
        return _pictographic(character) and any(map(_pictographic, cluster))
    if _regional(character):
        return _regional(last) and len(cluster) % 2 == 1
    return _hangul(last, character)


def _extends(character: str) -> bool:
    return unicodedata.category(character) in ("Mn", "Me", "Mc") or "\U0001f3fb" <= character <= "\U0001f3ff"


def _pictographic(character: str) -> bool:
    return (character >= "\u203c" and unicodedata.category(character) == "So") or character >= "\U0001f000"


def _regional(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _hangul(last: str, character: str) -> bool:
    """Leading consonant, vowel, trailing consonant, or a syllable that has the first two, or all."""
    vowel, trailing = "\u1160" <= character <= "\u11a7", "\u11a8" <= character <= "\u11ff"
    if "\u1100" <= last <= "\u115f":
        return vowel or "\u1100" <= character <= "\u115f" or "\uac00" <= character <= "\ud7a3"
    syllable = "\uac00" <= last <= "\ud7a3"
    if (syllable and (ord(last) - 0xAC00) % 28 == 0) or "\u1160" <= last <= "\u11a7":
        return vowel or trailing
    return (syllable or "\u11a8" <= last <= "\u11ff") and trailing
