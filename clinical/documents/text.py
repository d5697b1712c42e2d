"""Plain text: which encoding it is in, decoded strictly.

The text as decoded is the document: nothing is normalised, so CR LF stays two characters and a tab one. The one
thing dropped is a byte order mark at the very start, which belongs to the encoding; offsets count from after it.

Encodings are tried in this order, each strictly, so that no character is ever replaced by "�":
a byte order mark; UTF-16 without one (most characters Latin); UTF-8; Windows-1252, when what it gives looks like
Western text; what charset-normalizer finds. Everything after UTF-8 is a guess and becomes a warning.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from clinical.documents.extracted import Extracted, Unreadable

MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

MAGIC = (
    (b"%PDF-", "a PDF"),
    (b"{\\rtf", "an RTF document"),
    (b"PK\x03\x04", "a zip archive or an Office document"),
    (b"\xd0\xcf\x11\xe0", "an old Word or Excel document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"SQLite format 3", "a database"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
)

OTHER_ENCODINGS = [
    *("cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "iso8859_2"),
    *("koi8_r", "mac_roman", "cp437", "cp850", "cp932", "gb18030", "big5", "euc_kr"),
]

# Letters that Windows-1252 has for Icelandic and a few names: a file with them is more often in the code page of
# another language, where the same bytes are other letters.
_NOT_WESTERN = re.compile("[ŠšŽžÐðÝýÞþ]")
_SIGN_INSIDE_WORD = re.compile(r"[^\W\d_][\xa1-\xb4\xb6\xb8-\xbf‚„ˆ˜][^\W\d_]")
_CONTROLS = re.compile(rb"[\x00-\x07\x0e-\x19\x1c-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Encoding:
    """A codec, how many bytes of mark stand before the text, and the warning when it was guessed."""

    codec: str
    skip: int = 0
    warnings: tuple[str, ...] = ()


def read_text(data: bytes) -> Extracted:
    """Return the text of the bytes; raises `Unreadable` for what is binary or in no encoding that fits."""
    text, warnings = decode(data)
    return Extracted(text, warnings=warnings)


def decode(data: bytes) -> tuple[str, tuple[str, ...]]:
    """Return the decoded text and the warnings about a guessed encoding."""
    encoding = recognize_encoding(data)
    return _strictly(data, encoding), encoding.warnings


def recognize_encoding(data: bytes) -> Encoding:
    """Return the encoding of the bytes; raises `Unreadable` for what is binary or damaged."""
    for mark, codec in MARKS:
        # The mark of UTF-32 is that of UTF-16 and a NUL.
        if data.startswith(mark) and (
            codec != "utf-32-le" or (len(data) % 4 == 0 and decodes(data[4:], codec))
        ):
            return Encoding(codec, len(mark))
    wide = _wide_encoding(data)
    if wide:
        return Encoding(wide, 0, (f"decoded as {wide.upper()}, a guess: there is no byte order mark",))
    _refuse_binary(data)
    if decodes(data, "utf-8"):
        return Encoding("utf-8")
    _refuse_damaged(data)
    return _guess(data)


def decodes(data: bytes, codec: str) -> bool:
    """Return whether the bytes are valid in a codec."""
    try:
        data.decode(codec)
    except UnicodeDecodeError:
        return False
    return True


def _strictly(data: bytes, encoding: Encoding) -> str:
    try:
        return data[encoding.skip :].decode(encoding.codec)
    except UnicodeDecodeError as error:
        name = encoding.codec.removesuffix("-le").removesuffix("-be").upper()
        place = error.start + encoding.skip
        raise Unreadable(f"not valid {name} at byte {place}; save it again as UTF-8") from error


def _wide_encoding(data: bytes) -> str | None:
    """UTF-16 without a mark: of Latin letters every second byte is zero, always on the same side."""
    sample = data[:4096]
    if len(data) % 2 or not sample:
        return None
    zeros = (sample[0::2].count(0), sample[1::2].count(0))
    half = len(sample) / 2
    for side, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if zeros[side] > 0.6 * half and zeros[1 - side] <= 0.05 * half:
            return encoding
    return None


def _refuse_binary(data: bytes) -> None:
    """Raise for files that are no text, by how they begin and by their control characters."""
    for magic, kind in MAGIC:
        if data.startswith(magic) and (len(magic) > 2 or _control_share(data) > 0.01):
            raise Unreadable(f"not text but {kind}")
    if data[128:132] == b"DICM":
        raise Unreadable("not text but a DICOM image")
    if _control_share(data) > 0.1:
        raise Unreadable("binary, not text")


def _control_share(data: bytes) -> float:
    sample = data[:65536]
    return len(_CONTROLS.findall(sample)) / len(sample) if sample else 0.0


def _refuse_damaged(data: bytes) -> None:
    """Raise for UTF-8 with a few bad bytes: another encoding would read it, and read it wrongly."""
    lenient = data.decode("utf-8", "surrogateescape")
    bad = sum("\udc80" <= character <= "\udcff" for character in lenient)
    good = sum(character > "\x7f" for character in lenient) - bad
    if good > bad:
        place = next(at for at, character in enumerate(lenient) if "\udc80" <= character <= "\udcff")
        place = len(lenient[:place].encode("utf-8"))
        raise Unreadable(f"not valid UTF-8 at byte {place} (bad bytes: {bad}); save it again as UTF-8")


def _guess(data: bytes) -> Encoding:
    """Windows-1252 when that reads like Western text, else what charset-normalizer finds."""
    if _control_share(data) > 0.01:
        raise Unreadable("binary, not text")
    if decodes(data, "cp1252") and _looks_western(data.decode("cp1252")):
        return Encoding("cp1252", 0, ("decoded as Windows-1252, a guess: it is not UTF-8",))
    import charset_normalizer

    best = charset_normalizer.from_bytes(data, cp_isolation=OTHER_ENCODINGS).best()
    if best is None or not _comes_back(data, best.encoding):
        raise Unreadable("in no encoding that could be recognised; save it as UTF-8")
    return Encoding(best.encoding, 0, (f"decoded as {best.encoding}, a guess: it is not UTF-8",))


def _comes_back(data: bytes, codec: str) -> bool:
    """Whether the codec turns the bytes into a text from which it makes the same bytes: nothing was lost."""
    try:
        return data.decode(codec).encode(codec) == data
    except UnicodeError:
        return False


def _looks_western(text: str) -> bool:
    """Whether the letters are those of Western languages, few enough, and signs stand where signs may."""
    if _NOT_WESTERN.search(text) or _SIGN_INSIDE_WORD.search(text):
        return False
    letters = sum(map(str.isalpha, text))
    return sum(character.isalpha() and character > "\x7f" for character in text) <= 0.25 * letters
