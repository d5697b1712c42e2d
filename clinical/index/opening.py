"""Opens the index of some paths, wherever and by whatever it is kept.

An index is a SQLite file in the user's data folder. `clinical index add --store lance` keeps it in LanceDB instead,
which the searches after it find by themselves. `CLINICAL_INDEX` names another place for all indexes: a folder, or
`s3://bucket/prefix`, where they are always kept in LanceDB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from clinical.errors import ClinicalError, UsageError
from clinical.index import store as sqlite
from clinical.index.backend import Busy, Index
from clinical.index.location import index_folder, index_name, remote_location
from clinical.models import cache

Kind = Literal["sqlite", "lance"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an index is: its database or folder, its name there, and what keeps it."""

    uri: str
    name: str
    kind: Kind

    def __str__(self) -> str:
        return f"{self.uri.rstrip('/')}/{self.name}.{self.kind}"

    @property
    def file(self) -> Path:
        """The file of an index in SQLite, and what stands for another where one locks."""
        return Path(self.uri) / f"{self.name}.sqlite"

    def open(self) -> Index:
        """Return the index, of whatever paths and embedder, to look after it."""
        if self.kind == "sqlite":
            return sqlite.Store.existing(self.file)
        from clinical.index.lance_store import LanceStore

        return LanceStore.existing(self.uri, self.name)

    def erase(self, paths: Sequence[str]) -> None:
        """Remove the index, damaged or not; raises `Busy` when another process writes it."""
        if remote_location() is None:
            with sqlite.lock(self.file, paths):
                self._erase()
        else:
            self._erase()

    def _erase(self) -> None:
        if self.kind == "sqlite":
            sqlite.erase(self.file)
        else:
            from clinical.index.lance_places import erase

            erase(self.uri, self.name)


def open_index(paths: Sequence[str], embedder: str, kind: Kind | None = None) -> Index:
    """Return the index of these paths, made if it is not there.

    Raises `ClinicalError` when it is damaged, or of another version or embedder, `UsageError` when it is kept by
    something else than `kind`. An index of nothing but files of our own cache is then made anew without asking.
    """
    found = place_of(paths)
    if found and kind and found.kind != kind:
        raise UsageError(
            f"the index of {', '.join(paths)} is kept by {found.kind}; to change it: clinical index add --rebuild "
            f"--store {kind} {' '.join(paths)}"
        )
    place = found or new_place(paths, kind)
    try:
        return _opened(place, paths, embedder)
    except ClinicalError as error:
        ours = cache.root().resolve()
        if isinstance(error, Busy) or not all(Path(path).resolve().is_relative_to(ours) for path in paths):
            raise
        place.erase(paths)
        return _opened(place, paths, embedder)


def _opened(place: Place, paths: Sequence[str], embedder: str) -> Index:
    if place.kind == "sqlite":
        return sqlite.Store.open(place.file, paths, embedder)
    from clinical.index.lance_store import LanceStore

    return LanceStore.open(place.uri, place.name, paths, embedder)


def new_place(paths: Sequence[str], kind: Kind | None = None) -> Place:
    """Return where an index of these paths would be made."""
    remote = remote_location()
    if remote and kind == "sqlite":
        raise UsageError(
            f"{remote} takes no SQLite file: leave out --store sqlite, or set CLINICAL_INDEX to a folder"
        )
    if remote:
        return Place(remote, index_name(paths), "lance")
    return Place(str(index_folder()), index_name(paths), kind or "sqlite")


def place_of(paths: Sequence[str]) -> Place | None:
    """Return where the index of these paths is; `None` when there is none."""
    return next((place for place in all_places() if place.name == index_name(paths)), None)


def all_places() -> list[Place]:
    """Return the places of all indexes there are."""
    remote = remote_location()
    if remote:
        from clinical.index.lance_places import indexes_in

        return [Place(remote, name, "lance") for name in indexes_in(remote)]
    folder = index_folder()
    files = [Place(str(folder), path.stem, "sqlite") for path in folder.glob("*.sqlite")]
    # LanceDB is not asked for these: it takes seconds to start, and most have none.
    tables = [
        Place(str(folder), path.name.removesuffix("_about.lance"), "lance")
        for path in folder.glob("*_about.lance")
    ]
    return sorted([*files, *tables], key=lambda place: place.name)
