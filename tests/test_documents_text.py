"""Encodings of text files: what was written comes back character for character, or an error says why not."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from clinical.documents.extracted import Unreadable
from clinical.documents.text import decode, recognize_encoding

# A note around the generated characters, as encodings are recognised by the company that a character keeps.
PROSE = "The patient was seen today and is stable. "

ANY_TEXT = st.text(
    st.one_of(
        st.characters(exclude_categories=("Cs",)),
        st.sampled_from("\r\n\t\f\v\0\ufeff\u200b\u2028\x85\xa0\u0301😀µ°≥"),
    ),
    max_size=60,
)
WESTERN = "äöüßéèêëàâçñóúíáÄÖÜÉÑœæøåÅ€‚„…‰‹›‘’“”•–—™°±²³µ·½×÷§©®«»¿¡"


@given(ANY_TEXT)
@example("\0\0 tab\there\r\nform\ffeed")
def test_utf_8_comes_back_as_it_was(text: str) -> None:
    assert decode(f"{PROSE}{text}".encode()) == (PROSE + text, ())


@given(ANY_TEXT)
def test_a_byte_order_mark_belongs_to_the_encoding(text: str) -> None:
    assert decode(codecs.BOM_UTF8 + text.encode("utf-8")) == (text, ())
    assert decode(codecs.BOM_UTF16_BE + text.encode("utf-16-be")) == (text, ())
    assert decode(codecs.BOM_UTF32_LE + text.encode("utf-32-le")) == (text, ())


@given(ANY_TEXT)
@example("\0utf-32 has the same mark")
def test_utf_16_with_a_mark(text: str) -> None:
    # An empty text behind the mark and a NUL is also an empty text in UTF-32: nobody can tell.
    assume(text != "\0")
    assert decode(codecs.BOM_UTF16_LE + text.encode("utf-16-le")) == (text, ())


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
@given(text=ANY_TEXT)
def test_utf_16_without_a_mark_is_recognised_by_its_latin_letters(codec: str, text: str) -> None:
    # Of the characters at most a quarter may be other than Latin; a mark in front would be one.
    whole = PROSE * (1 + 3 * len(text) // len(PROSE)) + text
    decoded, warnings = decode(whole.encode(codec))
    assert decoded == whole
    assert warnings == (f"decoded as {codec.upper()}, a guess: there is no byte order mark",)


@given(st.lists(st.sampled_from(WESTERN), min_size=1, max_size=8))
@example(list("naïve"[2]))
def test_windows_1252_is_recognised_and_said(characters: list[str]) -> None:
    text = PROSE + " ".join(characters) + "\r\nTemperature 38.5 °C\t“better”."
    assert decode(text.encode("cp1252")) == (text, ("decoded as Windows-1252, a guess: it is not UTF-8",))


def test_other_code_pages_are_recognised_and_said() -> None:
    czech = "Vyšetření pacienta: bolest na hrudi, tlak krve zvýšený, žádné známky infekce."
    assert decode(czech.encode("cp1250")) == (czech, ("decoded as cp1250, a guess: it is not UTF-8",))
    russian = "Пациент жалуется на боль в груди, температура нормальная. Дыхание везикулярное."
    assert decode(russian.encode("cp1251")) == (russian, ("decoded as cp1251, a guess: it is not UTF-8",))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (
            "naïve, 5 µg".encode() + b"\x93",
            "not valid UTF-8 at byte 13 (bad bytes: 1); save it again as UTF-8",
        ),
        (b"\xff\xfea", "not valid UTF-16 at byte 2; save it again as UTF-8"),
        (b"\xfe\xff\xd8\x00\x00a", "not valid UTF-16 at byte 2; save it again as UTF-8"),
        (b"\xef\xbb\xbfa\xff", "not valid UTF-8 at byte 4; save it again as UTF-8"),
        (bytes(range(256)) * 4, "binary, not text"),
        (bytes(1000), "binary, not text"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "not text but a PNG image"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "not text but a JPEG image"),
        (b"PK\x03\x04\x14\x00", "not text but a zip archive or an Office document"),
        (b"%PDF-1.7\n", "not text but a PDF"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "not text but an old Word or Excel document"),
        (b"MZ\x90\x00\x03\x00\x00\x00", "not text but a program"),
        (bytes(128) + b"DICM", "not text but a DICOM image"),
    ],
)
def test_what_is_no_text_is_said_in_one_line(data: bytes, reason: str) -> None:
    with pytest.raises(Unreadable) as error:
        decode(data)
    assert error.value.reason == reason


def test_a_text_may_begin_like_a_program() -> None:
    assert decode(b"MZ twins were born at term.") == ("MZ twins were born at term.", ())


@given(st.binary(max_size=200))
@example(b"\xfa\\")
def test_bytes_are_decoded_without_loss_or_refused(data: bytes) -> None:
    try:
        encoding = recognize_encoding(data)
        text, _ = decode(data)
    except Unreadable:
        return
    assert data[: encoding.skip] + text.encode(encoding.codec) == data
