"""How search scales: build, disk, memory and times of queries at some number of passages, for each store.

    python benchmarks/search_scale.py --passages 100000 --stores sqlite,lance
    python benchmarks/search_scale.py --embedding

The notes are made of sentences of MedQuAD (CLINICAL_CORPORA has to hold it), three to a passage in any order, so words
are as frequent as in real text; titles, as a note of many has, are questions. So that a million takes minutes, only
the first 2,000 passages are embedded: any other has the vector of one of them with noise (cosine to it about 0.75).
Queries are MedQuAD's questions that no note has for its title, with their real vectors. Everything runs in processes of
its own; the cold ones are `clinical search` as a user types it. Wall times count what else the machine does;
processor times do not. Prints a table and, as the last line, JSON.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

QUERIES, COLD = 200, 5
PASSAGES_PER_NOTE, NOTES_PER_FILE = 10, 100
EMBEDDED = 2000
NOISE = 0.045
HITS = 10
CANDIDATES = 100


def main() -> None:
    """Run the parts asked for and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--stores", default="sqlite,lance")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/clinical-search-scale"))
    parser.add_argument(
        "--embedding", action="store_true", help="measure the rate of embedding, and nothing else"
    )
    parser.add_argument("--part", choices=["build", "query"], help=argparse.SUPPRESS)
    parser.add_argument("--store", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.embedding:
        print(json.dumps(embedding_rate()))
    elif options.part == "build":
        print(json.dumps(build(options.folder, options.store)))
    elif options.part == "query":
        print(json.dumps(query(options.folder, options.store)))
    else:
        compare(options.passages, options.stores.split(","), options.folder)


def compare(passages: int, stores: Sequence[str], root: Path) -> None:
    """Measure each store on the same notes."""
    folder = root / f"{passages}"
    notes = folder / "notes"
    if not notes.is_dir():
        write_notes(folder, passages)
    results = {}
    for store in stores:
        data = folder / store
        shutil.rmtree(data, ignore_errors=True)
        environment = os.environ | {"XDG_DATA_HOME": str(data)}
        results[store] = part("build", folder, store, environment)
        results[store] |= part("query", folder, store, environment)
        results[store] |= cold(folder, environment)
        results[store]["disk_mb"] = round(
            sum(file.stat().st_size for file in data.rglob("*") if file.is_file()) / 1e6
        )
    names = list(next(iter(results.values())))
    width = max(map(len, names))
    print(f"{passages:,} passages".ljust(width), *(f"{store:>12}" for store in results))
    for name in names:
        print(name.ljust(width), *(f"{result.get(name, ''):>12}" for result in results.values()))
    print(json.dumps({"passages": passages, "commit": commit(), **results}))


def part(name: str, folder: Path, store: str, environment: dict[str, str]) -> dict[str, Any]:
    """Return what a process of its own has measured."""
    command = [sys.executable, __file__, "--part", name, "--store", store, "--folder", str(folder)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def commit() -> str:
    """Return the commit that was measured."""
    here = Path(__file__).parent
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True)
    return done.stdout.strip()


# --- notes, vectors, queries ---


def medquad() -> tuple[list[str], list[str]]:
    """Return sentences of answers, and questions, each once."""
    root = Path(os.environ["CLINICAL_CORPORA"]) / "qa" / "medquad"
    questions: dict[str, None] = {}
    sentences: dict[str, None] = {}
    for path in sorted(root.glob("*.jsonl.gz")):
        for line in gzip.decompress(path.read_bytes()).decode().splitlines():
            row = json.loads(line)
            questions.setdefault(" ".join(str(row.get("question", "")).split()))
            for sentence in re.split(r"(?<=[.!?])\s+", " ".join(str(row.get("answer", "")).split())):
                if 30 <= len(sentence) <= 300:
                    sentences.setdefault(sentence)
    return list(sentences), [question for question in questions if question]


def write_notes(folder: Path, passages: int) -> None:
    """Write the notes as JSONL files of records, and the queries."""
    chance = random.Random(1)
    sentences, questions = medquad()
    chance.shuffle(questions)
    queries, titles = questions[:QUERIES], questions[QUERIES:]
    (folder / "notes").mkdir(parents=True)
    (folder / "queries.json").write_text(json.dumps(queries))
    # Windows of three sentences go on by two: this many sentences are so many passages.
    each = 2 * PASSAGES_PER_NOTE + 1
    for file in range(passages // (PASSAGES_PER_NOTE * NOTES_PER_FILE)):
        with (folder / "notes" / f"{file:05}.jsonl").open("w", encoding="utf-8") as records:
            for number in range(NOTES_PER_FILE):
                text = " ".join(chance.choices(sentences, k=each))
                record = {
                    "id": f"{file}-{number}",
                    "title": chance.choice(titles),
                    "text": text,
                    "date": "2024-05",
                }
                records.write(json.dumps(record) + "\n")


class Perturbed:
    """Real vectors for the first texts; for any other that of one of them, moved a little."""

    def __init__(self) -> None:
        from clinical.models.embedder import Embedder

        self.id = Embedder.id
        self._embedder = Embedder()
        self._base: NDArray[np.float32] | None = None
        self._calls = 0
        self.seconds = self.cpu_seconds = 0.0

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return a vector for each text."""
        import numpy as np

        began, work = time.perf_counter(), time.process_time()
        if self._base is None:
            some = random.Random(2).choices(texts, k=min(EMBEDDED, 4 * len(texts)))
            self._base = self._embedder.embed(sorted(set(some)))
        self._calls += 1
        chance = np.random.default_rng(self._calls)
        near = self._base[chance.integers(0, len(self._base), len(texts))]
        moved = near + chance.normal(0, NOISE, near.shape).astype(np.float32)
        moved /= np.linalg.norm(moved, axis=1, keepdims=True)
        self.seconds += time.perf_counter() - began
        self.cpu_seconds += time.process_time() - work
        return np.asarray(moved, np.float32)

    embed_queries = embed


# --- what is measured ---


def build(folder: Path, store: Any) -> dict[str, Any]:
    """Index the notes with made-up vectors; the time of making those is not counted."""
    from clinical.index import update as updating
    from clinical.index.opening import open_index

    # Embedding a group takes seconds, and its four changes of tables nothing beside that; here nothing is embedded.
    updating.BYTES_AT_ONCE = 5_000_000
    update = updating.update
    paths = [str(folder / "notes")]
    embedder = Perturbed()
    began, work = time.perf_counter(), time.process_time()
    with open_index(paths, embedder.id, store) as index:
        update(index, paths, embedder)
        wall, cpu = time.perf_counter() - began, time.process_time() - work
        began = time.perf_counter()
        update(index, paths, embedder)
        again = time.perf_counter() - began
        size = index.size()
    return {
        "passages": size.passages,
        "build_wall_s": round(wall - embedder.seconds, 1),
        "build_cpu_s": round(cpu - embedder.cpu_seconds, 1),
        "unchanged_again_wall_s": round(again, 2),
        "build_peak_mb": peak_mb(),
    }


def query(folder: Path, store: Any) -> dict[str, Any]:
    """Time the ranking of the queries, and the hits, one after the other, in a process that goes on."""
    import numpy as np

    from clinical.index.backend import UNITS
    from clinical.index.opening import open_index
    from clinical.index.ranking import MODES, rank
    from clinical.index.update import files_of
    from clinical.models.embedder import Embedder
    from clinical.tasks.query import read_query
    from clinical.tasks.search import _Search

    paths = [str(folder / "notes")]
    queries = json.loads((folder / "queries.json").read_text())
    embedder = Embedder()
    began = time.perf_counter()
    vectors = [embedder.embed_queries([text])[0] for text in queries]
    found: dict[str, Any] = {
        "embed_query_ms": round((time.perf_counter() - began) / len(queries) * 1000, 1),
    }
    with open_index(paths, embedder.id, store) as index:
        rank(index, queries[0], vectors[0], "hybrid", CANDIDATES)
        for mode in MODES:
            times = []
            for text, vector in zip(queries, vectors, strict=True):
                began, work = time.perf_counter(), time.process_time()
                rank(index, text, vector, mode, CANDIDATES)
                times.append((time.perf_counter() - began, time.process_time() - work))
            for kind, some in zip(("wall", "cpu"), 1000 * np.array(times).T, strict=True):
                for share in (50, 99):
                    found[f"{mode}_p{share}_{kind}_ms"] = round(float(np.percentile(some, share)), 1)
        files = files_of(paths)[0]
        for by in UNITS:
            times = []
            for text, vector in zip(queries, vectors, strict=True):
                asked, work = read_query(text), time.process_time()
                _Search(index, asked, vector, files, embedder).hits(HITS, "hybrid", None, by=by)
                times.append(time.process_time() - work)
            for share in (50, 99):
                found[f"{by}_hits_p{share}_cpu_ms"] = round(1000 * float(np.percentile(times, share)), 1)
        if store == "lance":
            found["nearest_recall"] = round(recall(index, vectors[:30]), 3)
    found["query_peak_mb"] = peak_mb()
    return found


def recall(index: Any, vectors: Sequence[NDArray[np.float32]]) -> float:
    """Return which share of the ten nearest an index by groups finds."""
    table = index._table("passages")
    shares = []
    for vector in vectors:
        search = table.search(vector, vector_column_name="vector").distance_type("dot").bypass_vector_index()
        rows = search.select(["id", "_distance"]).limit(HITS).to_arrow()
        exact = set(rows["id"].to_pylist())
        shares.append(len(exact & {id for id, _ in index.nearest(vector, HITS)}) / HITS)
    return sum(shares) / len(shares)


def cold(folder: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Time `clinical search` as a process of its own."""
    queries = json.loads((folder / "queries.json").read_text())[:COLD]
    walls, before = [], resource.getrusage(resource.RUSAGE_CHILDREN)
    for text in queries:
        command = [
            sys.executable,
            "-m",
            "clinical",
            "search",
            text,
            str(folder / "notes"),
            "--format",
            "jsonl",
        ]
        began = time.perf_counter()
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
        walls.append(time.perf_counter() - began)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "cold_p50_wall_s": round(sorted(walls)[len(walls) // 2], 2),
        "cold_cpu_s": round(cpu / len(queries), 2),
    }


def embedding_rate() -> dict[str, Any]:
    """Compare embedding through the index with the bare encoder on the same passages, ready and sorted by length."""
    from clinical.documents.note import Note
    from clinical.index.passages import cut
    from clinical.index.update import embed
    from clinical.models.embedder import BATCH_SIZE, Embedder

    chance = random.Random(3)
    sentences, questions = medquad()
    notes = [Note(f"{n}", " ".join(chance.choices(sentences, k=41)), title=questions[n]) for n in range(30)]
    passages = [cut(note.text) for note in notes]
    count = sum(map(len, passages))
    embedder = Embedder()
    embedder.embed(["to load it"])
    texts = [
        f"{note.title}\n{note.text[p.start : p.end]}"
        for note, some in zip(notes, passages, strict=True)
        for p in some
    ]
    pieces = sorted(embedder._pieces(texts), key=len)
    whole, bare = [], []
    for _ in range(3):
        began = time.process_time()
        passages = [cut(note.text) for note in notes]
        list(embed(notes, passages, embedder))
        whole.append(time.process_time() - began)
        began = time.process_time()
        for first in range(0, len(pieces), BATCH_SIZE):
            embedder._run(pieces[first : first + BATCH_SIZE])
        bare.append(time.process_time() - began)
    return {
        "passages": count,
        "pieces_mean": round(sum(map(len, pieces)) / count, 1),
        "bare_encoder_per_cpu_s": round(count / min(bare), 1),
        "through_the_index_per_cpu_s": round(count / min(whole), 1),
        "share": round(min(bare) / min(whole), 3),
    }


def peak_mb() -> int:
    """Return the most memory this process has held."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main()
