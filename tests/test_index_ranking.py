"""The copy that is ranked gives what SQLite's BM25 and a plain product give, in step or out of it."""

from __future__ import annotations

import random
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper
from safetensors import safe_open

from clinical.documents.note import Note
from clinical.index import products
from clinical.index import store as storing
from clinical.index.backend import UNITS, Unit
from clinical.index.passages import Passage
from clinical.index.store import FileState, IndexedDocument, Store, erase, lock
from clinical.index.terms import stems_of
from clinical.index.words import TOKENIZER

WORDS = ["pain", "pains", "fever", "naïve", "x-ray", "ray", "INR", "the", "of", "a_b", "🫀", "...", "β"]
SIZE = 16


def document(name: str, bodies: Sequence[str], title: str | None = None) -> tuple[FileState, IndexedDocument]:
    """Return a made-up note of these passages with made-up vectors."""
    text, passages = "", []
    for body in bodies:
        passages.append(
            Passage(len(text), len(text) + len(body), "plan" if "fever" in body else None, "Plan")
        )
        text += body + "\n"
    vectors = np.random.default_rng(len(text)).normal(size=(len(bodies), SIZE))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return FileState(name, "0", 0, 0), IndexedDocument(
        Note(name, text, title=title), passages, np.rint(127 * vectors).astype(np.int8), own_id=name
    )


def put(index: Store, *documents: tuple[FileState, IndexedDocument]) -> None:
    with index.transaction():
        for file, content in documents:
            index.put(file, [content])


ASKED: dict[Unit, str] = {
    "passage": "SELECT p.id, d.title, p.heading, substr(d.text, p.start + 1, p.end - p.start)"
    " FROM passages p JOIN documents d ON d.id = p.document",
    "document": "SELECT id, title, text FROM documents WHERE id IN (SELECT document FROM passages)",
}


def expected_lexical(index: Store, query: str, by: Unit) -> list[tuple[int, float]]:
    """Return what FTS5 makes of the same passages, or of the same texts."""
    with closing(sqlite3.connect(":memory:")) as memory:
        memory.execute(f"CREATE VIRTUAL TABLE words USING fts5 (body, tokenize='{TOKENIZER}')")
        for id, *parts in index._connection.execute(ASKED[by]):
            memory.execute(
                "INSERT INTO words (rowid, body) VALUES (?, ?)", (id, "\n".join(filter(None, parts)))
            )
        words = " OR ".join(f'"{stem}"' for word in query.split() for stem in word.split("-"))
        return memory.execute(
            "SELECT rowid, -bm25(words) FROM words WHERE words MATCH ? ORDER BY -bm25(words) DESC, rowid",
            (words,),
        ).fetchall()


def expected_cosines(index: Store, vector: NDArray[np.float32], by: Unit) -> dict[int, float]:
    """Return the products of all vectors as they are stored, or of the mean of those of each document."""
    found = {}
    for document, vectors in index._connection.execute("SELECT id, vectors FROM documents"):
        rows = index._connection.execute(
            "SELECT id FROM passages WHERE document = ? ORDER BY id", (document,)
        )
        stored = np.frombuffer(vectors, np.int8).reshape(-1, SIZE).astype(np.float32)
        if by == "passage":
            found |= {id: float(one @ vector / 127) for (id,), one in zip(rows, stored, strict=True)}
        elif len(stored):
            mean = stored.mean(axis=0)
            found[document] = float(mean @ vector / np.linalg.norm(mean))
    return found


def check(index: Store, query: str = "fever pains x-ray INR") -> None:
    """Compare the rankings with what is expected."""
    vector = np.random.default_rng(7).normal(size=SIZE).astype(np.float32)
    vector /= np.linalg.norm(vector)
    for by in UNITS:
        wanted = dict(expected_lexical(index, query.replace("x-ray", "x ray"), by))
        found = index.lexical(query.replace("x-ray", "x ray").split(), 10_000, by=by)
        assert dict(found) == pytest.approx(wanted, rel=1e-4, abs=1e-9)
        assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
        cosines = expected_cosines(index, vector, by)
        assert dict(index.nearest(vector, 10_000, by=by)) == pytest.approx(cosines, abs=0.02)
        assert index.cosines_of(vector, list(cosines), by) == pytest.approx(cosines, abs=0.02)


@pytest.fixture
def small_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storing, "COPY_FROM", 1)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join), min_size=1, max_size=9)
)
def test_words_are_weighed_as_sqlite_does(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[str]
) -> None:
    with Store.open(tmp_path_factory.mktemp("index") / "a.sqlite", ["a"], "words") as index:
        put(index, document("a", bodies, "Letter of pain"))
        check(index)


@pytest.mark.usefixtures("small_copies")
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 30))
def test_in_step_or_not_the_copy_says_the_same(
    tmp_path_factory: pytest.TempPathFactory, seed: int, steps: int
) -> None:
    chance = random.Random(seed)
    path = tmp_path_factory.mktemp("index") / "a.sqlite"
    with pytest.MonkeyPatch.context() as patch, Store.open(path, ["a"], "words") as index:
        patch.setattr(storing, "COPY_FROM", 1)
        for _ in range(steps):
            name = f"{chance.randrange(6)}"
            if chance.random() < 0.6:
                bodies = [" ".join(chance.choices(WORDS, k=9)) for _ in range(chance.randint(0, 5))]
                put(index, document(name, bodies))
            elif chance.random() < 0.5:
                with index.transaction():
                    index.remove(name)
            else:
                index.refresh()
        check(index)
        if chance.random() < 0.5:
            index.compact()
            check(index)
        assert index.faults() == []
        with Store.open(path, ["a"], "words") as other:
            check(other)


@pytest.mark.usefixtures("small_copies")
def test_a_copy_that_cannot_be_used_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    copy = path.with_suffix(".scan")
    with Store.open(path, ["a"], "words") as index:
        put(index, document("a", ["fever", "pain of fever"]), document("b", ["the INR"]))
        index.refresh()
        whole = copy.read_bytes()
    for broken in (b"", b"nonsense" * 99, whole[: len(whole) // 2], whole.replace(b'"starts"', b'"stories"')):
        copy.write_bytes(broken)
        with Store.open(path, ["a"], "words") as index, lock(path, ["a"]):
            check(index)
        assert copy.read_bytes() == broken, "another writes; it may be erasing"
        with Store.open(path, ["a"], "words") as index:
            check(index)
        assert copy.read_bytes() == whole
    copy.unlink()
    with Store.open(path, ["a"], "words") as index, index.writing():
        index.refresh()
    assert copy.read_bytes() == whole
    # Bits that fell over are not seen by a search, but by `clinical index verify`.
    copy.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with Store.open(path, ["a"], "words") as index:
        assert index.faults() == [f"{copy}: not what the index has; clinical index compact makes it anew"]
        index.compact()
        assert index.faults() == []


@pytest.mark.usefixtures("small_copies")
def test_the_copy_is_the_owners_and_goes_with_the_index(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    copy = path.with_suffix(".scan")
    with Store.open(path, ["a"], "words") as index:
        put(index, document("a", ["fever", "xylophonist"]))
        index.refresh()
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
        put(index, document("a", ["fever"]))
        index.compact()
        check(index)
    with safe_open(copy, "numpy") as arrays:  # the format is that of the library
        assert arrays.get_tensor("columns").shape == (SIZE, 1)
    left_by_a_kill = copy.with_name(f"{copy.name}.123.new")
    left_by_a_kill.write_bytes(b"fever")
    erase(path)
    assert list(tmp_path.iterdir()) == []


def test_a_slow_reader_brings_nothing_back_that_was_erased(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.sqlite"
    with Store.open(path, ["a"], "words") as index:
        put(index, document("a", ["fever"]), document("b", ["xylophonist"]))
    monkeypatch.setattr(storing, "COPY_FROM", 1)
    with Store.open(path, ["a"], "words") as reader, reader._reading():
        assert len(reader._snapshot("passage").parts[0].segment) == 2
        copy = path.with_suffix(".scan")
        copy.unlink()
        reader._ranked.clear()
        monkeypatch.setattr(storing, "COPY_FROM", 10)
        with Store.open(path, ["a"], "words") as other, other.writing(), other.transaction():
            other.remove("b")
        monkeypatch.setattr(storing, "COPY_FROM", 1)
        assert len(reader._snapshot("passage").parts[0].segment) == 2
        assert not copy.exists()


def test_a_copy_of_an_earlier_index_of_the_same_name_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storing, "COPY_FROM", 1)
    path = tmp_path / "a.sqlite"
    for bodies in (["fever"], ["pain", "fever"]):
        with Store.open(path, ["a"], "words") as index:
            put(index, document("a", bodies))
            if len(bodies) == 1:
                index.refresh()
        if len(bodies) == 1:
            path.unlink()
    with Store.open(path, ["a"], "words") as index:
        check(index)


def test_stems_of_words() -> None:
    assert stems_of(["pains", "x-rays", "?", "naïve"]) == [["pain"], ["x", "rai"], [], ["naiv"]]
    assert stems_of([]) == []


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(0, 300), st.integers(0, 2**32))
def test_products_are_near_the_exact_ones(size: int, count: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    columns = chance.integers(-127, 128, (size, count)).astype(np.int8)
    vector = chance.normal(size=size).astype(np.float32)
    found = products.cosines(columns, columns.sum(axis=0, dtype=np.int32), vector)
    exact = vector @ columns.astype(np.float32) / 127
    # Half a level of the seven bits in each number at most.
    assert np.abs(found - exact).max(initial=0) <= np.abs(vector).max() / 126 * size + 1e-4


def test_the_written_out_model_is_what_it_says() -> None:
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("MatMulInteger", ["a", "b"], ["y"])],
            "g",
            [
                helper.make_tensor_value_info("a", TensorProto.UINT8, [1, "k"]),
                helper.make_tensor_value_info("b", TensorProto.INT8, ["k", "n"]),
            ],
            [helper.make_tensor_value_info("y", TensorProto.INT32, [1, "n"])],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    assert model.SerializeToString() == products._MODEL


WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from test_index_ranking import document, put
from clinical.index import store as storing
storing.COPY_FROM = 1
with storing.Store.open(Path(sys.argv[2]), ["a"], "words") as index:
    for step in range(60):
        with index.writing():
            put(index, document(f"{step % 7}", ["fever", "pain of fever"] * (step % 5 + 1)))
            index.refresh(0.1)
    print("done")
"""


@pytest.mark.usefixtures("small_copies")
def test_it_is_read_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    with Store.open(path, ["a"], "words") as index:
        put(index, document("first", ["fever", "pain"]))
    vector = np.ones(SIZE, np.float32) / np.float32(SIZE**0.5)
    command = [sys.executable, "-c", WRITER, str(Path(__file__).parent), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        rounds = 0
        while writer.poll() is None:
            with Store.open(path, ["a"], "words") as index:
                for _ in range(3):
                    every, feverish = index.nearest(vector, 1000), index.lexical("fever", 1000)
                    assert len(every) >= 2
                    assert len(feverish) >= 1
                    rounds += 1
        assert writer.stdout is not None
        assert (writer.returncode, writer.stdout.read()) == (0, "done\n")
    assert rounds > 1
    with Store.open(path, ["a"], "words") as index:
        check(index)
        assert index.faults() == []
