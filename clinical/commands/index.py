"""`clinical index`: look after the indexes that `clinical search` keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import click

from clinical.commands.options import Name
from clinical.commands.tables import print_table
from clinical.errors import ClinicalError, UsageError

if TYPE_CHECKING:
    from clinical.index.opening import Kind, Place
    from clinical.index.update import Changes


def _stores() -> Sequence[str]:
    from clinical.index.opening import KINDS

    return KINDS


@click.group()
def index() -> None:
    """Look after the indexes that `clinical search` keeps: one for each set of PATHs.

    They lie in your data folder, or where CLINICAL_INDEX says: a folder, or s3://bucket/prefix (there in LanceDB;
    AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL and the like as for any client of S3).

    \b
    Examples:
      clinical index status
      clinical index forget notes/
      CLINICAL_INDEX=s3://hospital/search clinical index add notes/
    """


@index.command()
@click.argument("paths", metavar="PATH…", nargs=-1, required=True)
@click.option("--rebuild", is_flag=True, help="Throw the index away and make it anew from the notes.")
@click.option(
    "--embedder",
    metavar="NAME|FOLDER",
    help="A sentence-transformers model to embed with, in place of all-MiniLM-L6-v2: the name of one that has been "
    "downloaded, or its folder; two with a comma between are those of the notes and of the queries. "
    "Searches of these PATHs have to name it too.",
)
@click.option(
    "--store",
    metavar="STORE",
    type=Name("store", _stores),
    help="What keeps it: sqlite, or lance (pip install 'clinical[lance]') for millions of passages.  "
    "[default: what does; else sqlite, or lance where CLINICAL_INDEX is on S3]",
)
@click.option("-q", "--quiet", is_flag=True, help="Say only what went wrong.")
@click.pass_context
def add(
    ctx: click.Context,
    paths: tuple[str, ...],
    rebuild: bool,
    embedder: str | None,
    store: Kind | None,
    quiet: bool,
) -> None:
    """Make the index of these PATHs, or bring it up to date, before the first search asks for it.

    \b
    Examples:
      clinical index add notes/
      clinical index add --rebuild notes/
      clinical index add --embedder BAAI/bge-small-en-v1.5 notes/
      clinical index add --store lance --rebuild notes/
    """
    from clinical.index.opening import new_place, open_index, place_of
    from clinical.index.update import check_paths, update
    from clinical.models.embedders import load_embedder

    check_paths(paths)
    encoder = load_embedder(embedder)
    old = place_of(paths)
    if rebuild and old:
        # Refused before anything is lost, when it cannot be made.
        store = new_place(paths, store or old.kind).kind
        old.erase(paths)
    with update_progress(quiet) as done, open_index(paths, encoder.id, store) as opened:
        changes = update(opened, paths, encoder, done)
    show_changes(changes, (), quiet, always=True)
    ctx.exit(1 if changes.faults else 0)


@index.command()
@click.argument("paths", metavar="[PATH…]", nargs=-1)
def status(paths: tuple[str, ...]) -> None:
    """List the indexes, or that of these PATHs: what they hold, their size and their file.

    \b
    Examples:
      clinical index status
      clinical index status notes/
    """
    places = _places(paths)
    rows = []
    for place in places:
        try:
            rows.append(_row(place))
        except ClinicalError as error:
            click.echo(str(error), err=True)
    if rows:
        print_table(("paths", "files", "documents", "passages", "size", "index"), rows)
    elif not places:
        click.echo("no indexes; the first `clinical search` of a folder makes one", err=True)


def _row(place: Place) -> tuple[str, ...]:
    from clinical.formats.display import counted

    with place.open() as opened:
        size = opened.size()
        return (
            ", ".join(opened.paths),
            counted(size.files, "file"),
            counted(size.documents, "document"),
            counted(size.passages, "passage"),
            f"{size.bytes / 1e6:,.1f} MB" if size.bytes else "",
            str(place),
        )


@index.command()
@click.argument("paths", metavar="[PATH…]", nargs=-1)
@click.pass_context
def verify(ctx: click.Context, paths: tuple[str, ...]) -> None:
    """Check that indexes are whole, all or that of these PATHs. Exit code 1 when one is not.

    \b
    Examples:
      clinical index verify
      clinical index verify notes/
    """
    failed = False
    for place in _places(paths):
        try:
            with place.open() as opened:
                faults = [f"{', '.join(opened.paths)}: {fault}" for fault in opened.faults()]
                if not faults:
                    click.echo(f"{', '.join(opened.paths)}: whole")
        except ClinicalError as error:
            faults = [str(error)]
        for fault in faults:
            failed = True
            click.echo(fault, err=True)
    ctx.exit(1 if failed else 0)


@index.command()
@click.argument("paths", metavar="[PATH…]", nargs=-1)
def compact(paths: tuple[str, ...]) -> None:
    """Give back the disk space of what was removed, in all indexes or that of these PATHs.

    \b
    Examples:
      clinical index compact
      clinical index compact notes/
    """
    for place in _places(paths):
        with place.open() as opened, opened.writing():
            before = opened.size().bytes
            opened.compact()
            after = opened.size().bytes
        click.echo(f"{', '.join(opened.paths)}: {before / 1e6:,.1f} MB to {after / 1e6:,.1f} MB")


@index.command()
@click.argument("paths", metavar="PATH…", nargs=-1, required=True)
@click.pass_context
def forget(ctx: click.Context, paths: tuple[str, ...]) -> None:
    """Erase what the indexes hold of these files and folders, so that no word of it stays on the disk.

    The notes themselves stay as they are; a later search of a folder that holds them reads them again.

    \b
    Examples:
      clinical index forget notes/
      clinical index forget notes/visit-12.txt
    """
    from clinical.formats.display import counted
    from clinical.index.location import full_name, index_name
    from clinical.index.opening import all_places

    names = [full_name(path) for path in paths]
    forgotten = erased = 0
    damaged = []
    for place in all_places():
        try:
            # That of just these paths is not opened: it goes, damaged or not.
            gone, whole = (0, True) if place.name == index_name(paths) else _take_out(place, names)
        except ClinicalError as error:
            damaged.append(str(error))
            continue
        if whole:
            place.erase(paths)
        forgotten += gone
        erased += whole
    for fault in damaged:
        click.echo(f"not looked into: {fault}", err=True)
    if not forgotten and not erased:
        raise UsageError(f"no index holds {', '.join(paths)}; `clinical index status` lists what there is")
    click.echo(f"{counted(forgotten, 'file')} forgotten, {counted(erased, 'index')} erased")
    ctx.exit(1 if damaged else 0)


def _take_out(place: Place, names: Sequence[str]) -> tuple[int, bool]:
    """Take the files in these folders out of an index; return how many, and whether nothing else is in it."""
    with place.open() as opened, opened.writing():
        gone = [name for name in opened.files() if _lies_in(name, names)]
        whole = all(_lies_in(path, names) for path in opened.paths)
        if gone and not whole:
            with opened.transaction():
                for name in gone:
                    opened.remove(name)
            opened.compact()
    return len(gone), whole


def _lies_in(name: str, folders: Sequence[str]) -> bool:
    return any(name == folder or name.startswith(folder.rstrip("/") + "/") for folder in folders)


def _places(paths: Sequence[str]) -> list[Place]:
    """Return where the index of these paths is, or where all are."""
    from clinical.index.opening import all_places, place_of

    if not paths:
        return all_places()
    place = place_of(paths)
    if place is None:
        raise UsageError(f"no index of {', '.join(paths)}; make one: clinical index add {' '.join(paths)}")
    return [place]


@contextmanager
def update_progress(quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Give a function that shows how many files are indexed; nothing is shown when there are none to index."""
    from clinical.batch.progress import Progress, Tally, progress

    with ExitStack() as stack:
        bars: list[Progress] = []

        def done(files: int, of: int) -> None:
            if not bars:
                bars.append(stack.enter_context(progress(of, quiet=quiet)))
            bars[0].update(Tally(done=files))

        yield done


def show_changes(changes: Changes, remarks: Sequence[str], quiet: bool, always: bool = False) -> None:
    """Say on stderr what an update did, and which files could not be read."""
    for fault in changes.faults:
        click.echo(f"failed: {fault}", err=True)
    for remark in remarks:
        click.echo(remark, err=True)
    news = changes.added or changes.changed or changes.renamed or changes.removed or changes.failed
    if not quiet and (always or news):
        click.echo(f"index: {changes}", err=True)
