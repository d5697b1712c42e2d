"""Brings a corpus to this machine: from its official address, checked, in our shape.

    pull(find("bc5cdr"), pull_folder(), report)

Checksums that nobody knew beforehand are written to `checksums.json` at the first pull, and hold from then on.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from clinical.corpora.catalog import Corpus
from clinical.corpora.download import download
from clinical.corpora.originals import BY_HAND, PULLS, Original
from clinical.errors import ClinicalError, UsageError

ORIGINALS = "originals"
CHECKSUMS = "checksums.json"


def how(corpus: Corpus) -> str:
    """Return in words how a corpus comes here: by `pull`, or what its user has to do."""
    if corpus.name in PULLS:
        return f"clinical corpora pull {corpus.name}"
    if corpus.name in BY_HAND:
        return BY_HAND[corpus.name]
    return f"by hand from {corpus.address}; put {', '.join(corpus.files)} into {corpus.folder}/ of the corpora folder"


def pull(corpus: Corpus, root: Path, report: Callable[[str, int, int | None], None]) -> list[Path]:
    """Fetch what is missing, convert it, and return the files of our shape below `root`.

    `report` is told the name of a file and how many bytes of how many have come. Raises `UsageError` for a corpus
    that cannot be fetched, with what to do instead, and `ClinicalError` for what goes wrong on the way.
    """
    if corpus.name not in PULLS:
        raise UsageError(f"{corpus.name} cannot be pulled: {how(corpus)}")
    plan = PULLS[corpus.name]
    try:
        originals = [_original(one, root / ORIGINALS / corpus.name, report) for one in plan.originals]
        with tempfile.TemporaryDirectory(dir=root) as scratch:
            plan.convert(originals, Path(scratch))
            folder = root / corpus.folder
            folder.mkdir(parents=True, exist_ok=True)
            return [Path(shutil.move(made, folder / made.name)) for made in sorted(Path(scratch).iterdir())]
    except OSError as error:
        raise ClinicalError(
            f"cannot write below {root}: {error.strerror}; name another folder with --to"
        ) from error
    except (ValueError, KeyError) as error:
        raise ClinicalError(f"{corpus.name}: what was fetched is not what was expected ({error})") from error


def _original(one: Original, folder: Path, report: Callable[[str, int, int | None], None]) -> Path:
    target = folder / one.name
    ledger = folder / CHECKSUMS
    known: dict[str, str] = json.loads(ledger.read_text(encoding="utf-8")) if ledger.is_file() else {}
    expected = one.sha256 or known.get(one.address)
    found = download(one.address, target, expected, lambda done, total: report(one.name, done, total))
    if known.get(one.address) != found:
        known[one.address] = found
        ledger.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return target
