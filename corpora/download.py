"""Fetches a file over HTTP: resumed where it broke off, checked, and in its place only when it is whole.

What has arrived lies beside the target as `NAME.part`; a later call asks for the rest of it. The server is told
which version is wanted (its ETag or its date), so that a file that has changed since is fetched anew and never mixed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from clinical.errors import ClinicalError

ATTEMPTS = 3
TIMEOUT_S = 60
Report = Callable[[int, int | None], None]
"""Told how many bytes have arrived, and of how many where the server says so."""


def download(address: str, target: Path, sha256: str | None, report: Report) -> str:
    """Fetch a file, and return its SHA-256. A target that is there and has this checksum is not fetched again.

    Raises `ClinicalError` in one line for what a server refuses, for a connection that breaks three times without
    anything new (what has arrived is kept), and for a wrong checksum (nothing is kept).
    """
    if target.is_file() and sha256 is not None and _sha256(target) == sha256:
        return sha256
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    _fetch(address, part, report)
    found = _sha256(part)
    if sha256 is not None and found != sha256:
        _drop(part)
        raise ClinicalError(
            f"{address}: what came has the SHA-256 {found}, not {sha256}; it was thrown away. "
            "Call again; if it stays so, the file was changed at its origin"
        )
    part.replace(target)
    _drop(part)
    return found


def _fetch(address: str, part: Path, report: Report) -> None:
    import httpx

    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _go_on(address, part, report)
            return
        except httpx.TransportError as error:
            after = part.stat().st_size if part.exists() else 0
            failures = 1 if after > before else failures + 1
            if failures == ATTEMPTS:
                kept = f"; {after:,} bytes are kept, call again to go on" if after else ""
                raise ClinicalError(
                    f"{address}: the connection failed ({error or type(error).__name__}){kept}"
                ) from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
            raise ClinicalError(f"{address}: cannot be fetched ({error})") from error


def _go_on(address: str, part: Path, report: Report) -> None:
    """Fetch what is still missing of a file."""
    import httpx

    done = part.stat().st_size if part.exists() else 0
    mark = part.with_name(f"{part.name}.json")
    version = json.loads(mark.read_text(encoding="utf-8"))["version"] if done and mark.is_file() else None
    headers = {"Accept-Encoding": "identity", "User-Agent": "clinical"}
    if version:
        headers |= {"Range": f"bytes={done}-", "If-Range": version}
    with httpx.stream("GET", address, headers=headers, follow_redirects=True, timeout=TIMEOUT_S) as answer:
        if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            _drop(part)
            raise httpx.ReadError("the server does not have the rest of what was fetched before")
        if answer.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
            raise ClinicalError(f"{address}: the server answers {answer.status_code} {answer.reason_phrase}")
        resumed = answer.status_code == httpx.codes.PARTIAL_CONTENT
        if not resumed:
            done = 0
        length = answer.headers.get("Content-Length")
        total = done + int(length) if length else None
        version = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
        mark.write_text(json.dumps({"version": version}), encoding="utf-8")
        with part.open("ab" if resumed else "wb") as file:
            # As they come: what has arrived before a break is kept to the last byte.
            for chunk in answer.iter_raw():
                file.write(chunk)
                done += len(chunk)
                report(done, total)


def _drop(part: Path) -> None:
    part.unlink(missing_ok=True)
    part.with_name(f"{part.name}.json").unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
