"""PDF with a text layer, by pypdf: pages in order, a form feed between them, offsets into that text."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING

from clinical.documents.extracted import Extracted, Unreadable

if TYPE_CHECKING:
    from pypdf import PdfReader


def read_pdf(data: bytes) -> Extracted:
    """Return the text layer; raises `Unreadable` for encrypted, damaged and scanned documents."""
    from pypdf.errors import DependencyError, FileNotDecryptedError, WrongPasswordError

    with _quiet():
        try:
            pages = [page.extract_text() for page in _open(data).pages]
        except Unreadable:
            raise
        except (DependencyError, FileNotDecryptedError, WrongPasswordError) as error:
            raise Unreadable("encrypted; save a copy without the password") from error
        except RecursionError as error:
            raise Unreadable("damaged PDF: it nests without end") from error
        except Exception as error:
            # pypdf meets a damaged file with whatever its parser stumbles over (KeyError, AttributeError, …).
            raise Unreadable(f"damaged PDF ({type(error).__name__}); open it and save it again") from error
    return _joined(pages)


def _open(data: bytes) -> PdfReader:
    from pypdf import PdfReader

    if b"%PDF-" not in data[:1024]:
        raise Unreadable("not a PDF: it does not begin with %PDF")
    reader = PdfReader(BytesIO(data))
    # Many hospitals lock their PDFs against changes only: then the empty password opens them.
    if reader.is_encrypted and not reader.decrypt(""):
        raise Unreadable("encrypted; save a copy without the password")
    return reader


def _joined(pages: list[str]) -> Extracted:
    empty = [str(number) for number, page in enumerate(pages, 1) if not page.strip()]
    if len(empty) == len(pages):
        count = f"{len(pages)} page{'' if len(pages) == 1 else 's'}"
        raise Unreadable(f"no text layer on its {count}, probably a scan; run text recognition (OCR) first")
    warnings = (f"no text on page {', '.join(empty)}: blank or scanned",) if empty else ()
    return Extracted("\f".join(pages), warnings=warnings)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep pypdf from writing its own remarks to stderr; what matters is in our errors and warnings."""
    logger = logging.getLogger("pypdf")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
