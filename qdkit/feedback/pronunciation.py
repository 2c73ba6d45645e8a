"""How English words sound, guessed from their spelling: syllables and rhymes.

These are rules, not a dictionary: of words as poems use them about nineteen in twenty are counted
right, and some rhymes to the ear are missed. The guess is the same for every candidate.
"""

from __future__ import annotations

import re
from functools import lru_cache

_SILENT = "|".join(
    (
        r"[^aeiouy\Wl]es?$",  # stone, stones
        r"(?<=[aeiou])les?$",  # while
        r"[^aeiouytd\W]ed$",  # moved, but not wanted
        r"[^aeiouy\W]e(?=ly$|ful|less|ment|ness)",  # lonely
    )
)
_SOUNDED = "|".join(
    (
        r"(?:[sxzcg]|ch|sh)es$",  # roses
        r"i(?<![ctsgx]i)(?=a|ou)",  # radiant, glorious, but not special, gracious
        r"(?<=[^aeiouqg])u(?=[aeo][^aeiour])",  # duet
    )
)
_COUNTED = {
    1: "eyed tired fired hired world girl",
    2: "being seeing doing going lying dying trying crying flying sighing lion poem poet quiet "
    "diet trial dial riot science giant chaos fiery heaven evening people ruin fluid cruel fuel "
    "jewel naked wicked sacred crooked rugged hundred kindred every",
    3: "idea area beautiful violet violent influence piano theatre poetry created beloved "
    "different",
    4: "experience reality obedience",
}
_EXCEPTIONS = {word: count for count, words in _COUNTED.items() for word in words.split()}

# Spellings of one sound at the end of a word; the first that fits counts. Words that fit none are
# compared letter by letter.
_ENDINGS = (
    (r"ight$|ite$|yte$", "ite"),
    (r"(ay|ey|eigh)$", "ay"),
    (r"(igh|uy|ye|(?<![aeo])y)$|^[^aeiou]*ie$", "y"),
    (r"(ain|ane|eign|ein)$", "ane"),
    (r"(ail|ale|eil)$", "ale"),
    (r"(ade|aid|ayed)$", "ade"),
    (r"(air|are|eir|ere)$", "air"),
    (r"(eer|ear|ier)$", "eer"),
    (r"(ee|ea)$|^[^aeiouy]*e$", "ee"),
    (r"(eed|ead|ede)$", "eed"),
    (r"(een|ean|ene)$", "een"),
    (r"(eep|eap)$", "eep"),
    (r"(eet|eat|ete)$", "eet"),
    (r"(eel|eal)$", "eel"),
    (r"(eam|eem|eme)$", "eem"),
    (r"(ow|oe|(?<!o)o)$", "o"),
    (r"(oan|one)$", "one"),
    (r"(oad|ode|owed)$", "ode"),
    (r"(oal|ole|oll|oul)$", "ole"),
    (r"(oar|ore|oor|our|or)$", "ore"),
    (r"(oo|ue|ou|ew)$", "oo"),
    (r"(oon|une|ewn)$", "oon"),
    (r"(oom|ume|omb)$", "oom"),
    (r"(ood|ude|ewed)$", "ood"),
    (r"(ought|aught)$", "aut"),
    (r"(er|ir|ur)$", "er"),
    (r"(?<!h)eard$|eared$|eered$", "eerd"),
    (r"(ird|urd|erd|heard)$", "erd"),
)


def split_words(text: str) -> list[str]:
    """Returns the words of a text in lower case, with the apostrophes within them."""
    words = re.findall(r"[^\W\d_]+(?:['’][^\W\d_]+)*", text.lower())
    return [word.replace("’", "'") for word in words]


@lru_cache(100_000)
def syllables(word: str) -> int:
    """Returns the number of syllables of a word in lower case, 1 at least.

    It counts the groups of vowels, except a silent e.
    """
    word = re.sub(r"'s$|'", "", word)
    if word in _EXCEPTIONS or (plural := word.removesuffix("s")) in _EXCEPTIONS:
        return _EXCEPTIONS[word if word in _EXCEPTIONS else plural]
    groups = len(re.findall(r"[aeiouy]+", word))
    return max(1, groups - len(re.findall(_SILENT, word)) + len(re.findall(_SOUNDED, word)))


def line_syllables(line: str) -> int:
    """Returns the number of syllables of all words of a line."""
    return sum(map(syllables, split_words(line)))


def rhyme_sound(line: str) -> str:
    """Returns how a line sounds from its last vowel on; "" for a line without words."""
    return _sound(last) if (last := _last_word(line)) else ""


def rhymes(a: str, b: str) -> bool:
    """Whether two lines end alike in sound, though not in the same word."""
    sound = rhyme_sound(a)
    return sound != "" and sound == rhyme_sound(b) and _last_word(a) != _last_word(b)


def _last_word(line: str) -> str:
    return next(iter(split_words(line)[-1:]), "")


@lru_cache(100_000)
def _sound(word: str) -> str:
    word = re.sub(r"'s$|'", "", word)
    known = next((sound for spelling, sound in _ENDINGS if re.search(spelling, word)), "")
    from_last_vowel = re.search(r"[aeiouy]+[^aeiouy]*(?:e|es)?$", word)
    return known or (from_last_vowel[0] if from_last_vowel else word)
