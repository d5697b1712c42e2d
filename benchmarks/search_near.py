"""Does search tell what the notes speak of from what they do not?

    python benchmarks/search_near.py            # how many queries are answered "nothing near"
    python benchmarks/search_near.py --errors   # and each one that was told wrongly

The notes are those of `examples/` and `benchmarks/ask/charts`, written by us. A query for what is in them has to have
a near hit, one for what is in none of them must have no near hit at all, which is more than a user needs. The
threshold was chosen on other notes and other queries (`benchmarks/search.md`), before these were written.
The last line is the same as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from clinical.models.embedder import Embedder
from clinical.tasks.search import find

HERE = Path(__file__).parent

THERE = """blood thinner; water pill; high blood pressure; sugar disease; trouble breathing; nosebleed; kidney
infection; heart murmur; hearing test; first seizure; broken bone; neuropathy after chemotherapy; penicillin
allergy; why was apixaban stopped; who takes metformin; knee pain; swollen legs; antidepressant; vacuum
delivery; blood loss; lung nodule; ferrous fumarate; Graves disease; chest tightness on a treadmill; angioedema;
pressure sore; ear tubes; colonoscopy; smoking; family history of breast cancer; creatinine; drug for the
thyroid; panic attacks; fever at night; iron deficiency; walking distance; pathology of the specimen;
gestational diabetes; sleep"""

NOT_THERE = """dengue fever; polio; muscular dystrophy; dog bite; corneal ulcer; vitiligo; hay fever; liver
transplant; shoulder replacement; hookworm; ALS; alcohol withdrawal; thalassemia; testicular torsion; ventilator
weaning; food allergy to peanuts; genital warts; myasthenia gravis; cleft lip; clubfoot; retinal detachment;
scabies; bladder cancer; frostbite; binge eating; thyroid cancer; mumps; mercury poisoning; varicose veins;
color blindness"""

NONSENSE = """yellow submarine; interest rate of the bank; who won the match; chocolate cake recipe; dark
matter; qwertz; flight to Madrid; install a printer; the king of Sweden; rain in August; used car prices; violin
lessons; zxcv bnm; football; tomato plants"""


def told(queries: str, folder: str, embedder: Embedder) -> dict[str, int]:
    """Return how many near hits each query has."""
    asked = [" ".join(query.split()) for query in queries.split(";")]
    return {query: sum(hit.near for hit in find(query, [folder], embedder).hits) for query in asked}


def main() -> None:
    """Measure, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--errors", action="store_true", help="print each query that was told wrongly")
    errors = parser.parse_args().errors
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_DATA_HOME"] = str(Path(folder) / "index")
        notes = Path(folder) / "notes"
        shutil.copytree(HERE.parent / "examples", notes / "examples")
        shutil.copytree(HERE / "ask" / "charts", notes / "charts", ignore=shutil.ignore_patterns("*.jsonl"))
        embedder = Embedder()
        rows = [
            _row(name, told(queries, str(notes), embedder), errors, wanted)
            for name, queries, wanted in (
                ("in the notes", THERE, True),
                ("a disease or drug of nobody", NOT_THERE, False),
                ("no medicine at all", NONSENSE, False),
            )
        ]
    print("| asked for | queries | with near hits | near hits of each |")
    print("|---|---:|---:|---:|")
    for name, count, answered, each in rows:
        print(f"| {name} | {count} | {answered} | {each:.1f} |")
    print(json.dumps([dict(zip(("asked", "queries", "near", "hits"), row, strict=True)) for row in rows]))


def _row(name: str, found: dict[str, int], errors: bool, wanted: bool) -> Sequence[str | int | float]:
    if errors:
        for query, hits in found.items():
            if bool(hits) != wanted:
                print(f"{name}: {query}: {hits} near hits")
    return name, len(found), sum(map(bool, found.values())), sum(found.values()) / len(found)


if __name__ == "__main__":
    main()
