"""RTF, by striprtf: paragraphs are lines, table cells end with "|". Page headers and footers are left out."""

from __future__ import annotations

import re

from clinical.documents.extracted import Extracted, Unreadable

# Pictures are long runs of hexadecimal digits; striprtf would look at each of them.
_PICTURE = re.compile(rb"[0-9A-Fa-f\r\n]{4000,}")
_HIGH_BYTE = re.compile(rb"[\x80-\xff]")
_SYMBOL_FONT = re.compile(r"\\fcharset2\b")
_ESCAPED_HIGH = re.compile(r"\\'[89a-fA-F]")


def read_rtf(data: bytes) -> Extracted:
    """Return the text of an RTF document; raises `Unreadable` when its characters fit no code page."""
    from striprtf.striprtf import rtf_to_text

    if not data.lstrip().startswith(b"{\\rtf"):
        raise Unreadable("not an RTF document: it does not begin with {\\rtf")
    # Some writers leave bytes of the code page as they are; written as escapes they are decoded like the others.
    escaped = _HIGH_BYTE.sub(lambda byte: b"\\'%02x" % byte[0][0], _PICTURE.sub(b"", data)).decode("ascii")
    try:
        text = str(rtf_to_text(escaped, errors="strict"))  # type: ignore[no-untyped-call]
        # RTF writes characters beyond U+FFFF as two halves.
        joined = text.encode("utf-16", "surrogatepass").decode("utf-16")
    except (UnicodeDecodeError, ValueError, IndexError) as error:
        raise Unreadable("damaged RTF: its characters fit no code page; save it again") from error
    return Extracted(joined, warnings=_warnings(escaped))


def _warnings(rtf: str) -> tuple[str, ...]:
    if _SYMBOL_FONT.search(rtf) and _ESCAPED_HIGH.search(rtf):
        return ("uses a symbol font: signs such as ≥ may come out as other characters",)
    return ()
