"""Text made safe and legible for eyes: what would steer a terminal or a page becomes a visible sign."""

from __future__ import annotations

import re

# C0 controls become their pictures, C1 controls and halves of surrogate pairs the replacement character.
_SIGNS = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n\r"}
_SIGNS[0x7F] = 0x2421
_SIGNS |= dict.fromkeys([*range(0x80, 0xA0), *range(0xD800, 0xE000)], 0xFFFD)


def visible(text: str) -> str:
    r"""Return the text with one character for each: controls as pictures (`␛`), `\r\n` as blank and `\n`.

    Offsets into it are those of the text.
    """
    return re.sub("\r(?=\n)", " ", text).replace("\r", "\n").translate(_SIGNS)


def title(section: str) -> str:
    """Return "Past medical history" for `past_medical_history`."""
    words = one_line(section).replace("_", " ")
    return words[:1].upper() + words[1:]


def counted(number: int, thing: str) -> str:
    """Return "1 file" or "2,000 files".

    >>> counted(1, "file"), counted(0, "file"), counted(2000, "index")
    ('1 file', '0 files', '2,000 indexes')
    """
    return (
        f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}{'es' if thing.endswith('x') else 's'}"
    )


def one_line(text: str) -> str:
    """Return the text as it fits a cell: visible, and with one blank for each run of white space."""
    return " ".join(visible(text).split())
