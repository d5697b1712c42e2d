"""Where LanceDB keeps indexes: folders and S3, and what goes wrong on the way there."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clinical.errors import ClinicalError, UsageError
from clinical.index.location import VARIABLE

if TYPE_CHECKING:
    from lancedb.db import LanceDBConnection


def connect(uri: str) -> LanceDBConnection:
    """Return the database in a folder or on S3.

    Raises `UsageError` when LanceDB is not installed. Credentials and endpoint of S3 come from the environment, as
    for all its clients (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, …).
    """
    # Its remarks on every query are of no use to a user; errors come as exceptions.
    os.environ.setdefault("LANCE_LOG", "error")
    try:
        import lancedb
    except ImportError as error:
        raise UsageError("LanceDB is not installed: pip install 'clinical[lance]'") from error
    options = {}
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    if endpoint.startswith("http://"):
        options["allow_http"] = "true"
    with reaching(uri):
        # For a folder or S3 it is of this kind; only LanceDB's cloud has another.
        database: Any = lancedb.connect(
            uri, read_consistency_interval=timedelta(0), storage_options=options or None
        )
    opened: LanceDBConnection = database
    return opened


@contextmanager
def reaching(uri: str) -> Iterator[None]:
    """Say in one line that a place cannot be reached."""
    try:
        yield
    except (RuntimeError, ValueError, OSError) as error:
        hint = f"; check {VARIABLE} and the AWS_… variables" if is_remote(uri) else ""
        raise ClinicalError(f"{uri} cannot be reached: {reason_of(error)}{hint}") from error


def reason_of(error: BaseException) -> str:
    """Return the gist of an error of LanceDB, whose messages hold places in its own source and whole structures."""
    text = " ".join(str(error).split(", /")[0].split())
    quoted_in_it = re.search(r'"([A-Z][^"({\\]{9,})', text)
    return quoted_in_it.group(1).rstrip(": ") if quoted_in_it else text[:200]


def is_lances(error: Exception) -> bool:
    """Return whether an error comes from LanceDB, rather than from us."""
    if isinstance(error, ClinicalError):
        return False
    frames = traceback.extract_tb(error.__traceback__)
    return any("lancedb" in Path(frame.filename).parts for frame in frames)


def is_remote(uri: str) -> bool:
    """Return whether the index lies elsewhere than in a folder."""
    return "://" in uri


def table_names(database: LanceDBConnection) -> list[str]:
    """Return the names of all tables of a database."""
    names: list[str] = []
    page = None
    while True:
        with reaching(database.uri):
            answer = database.list_tables(page_token=page, limit=1000)
        names += answer.tables
        page = answer.page_token
        if not page:
            return names


@contextmanager
def private() -> Iterator[None]:
    """Make all files that are written inside for their owner alone; Lance asks the process for no less."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def indexes_in(uri: str) -> list[str]:
    """Return the names of the indexes in a database."""
    return sorted(
        name.removesuffix("_about") for name in table_names(connect(uri)) if name.endswith("_about")
    )


def erase(uri: str, name: str) -> None:
    """Remove an index, damaged or not, with all versions of it."""
    database = connect(uri)
    # That by which it is found goes last: a kill in between leaves what can be erased again.
    for table in ("passages", "documents", "files", "writer", "about"):
        database.drop_table(f"{name}_{table}", ignore_missing=True)
