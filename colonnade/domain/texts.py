# SPDX-License-Identifier: Apache-2.0
"""Texts that came from outside, as the store and a terminal can take them.

Pure. PostgreSQL stores no NUL, UTF-8 has no lone surrogates, and a control character can move
the cursor of whoever reads it.
"""

from typing import Final

TEXT_MAX: Final = 4000  # characters of anything that is kept for people
_DROPPED: Final = {
    code: None
    for code in (*range(0x20), *range(0x7F, 0xA0), *range(0xD800, 0xE000))
    if code != ord("\n")
}


def storable(text: str, longest: int = TEXT_MAX) -> str:
    """The text without what cannot be stored or shown, lines kept, cut to `longest`."""
    return text[: 2 * longest].translate(_DROPPED)[:longest]
