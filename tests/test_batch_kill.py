"""Runs that are killed at any moment, by `kill -9` or Ctrl-C: nothing is lost and nothing is repeated."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

DRIVER = Path(__file__).with_name("batch_driver.py")
COUNT = 50
SEED = 20
KILLS = 8


def start(out: Path, journal: Path, *, workers: int, seconds: float = 0.02) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(DRIVER), str(out), str(COUNT), str(workers), str(journal), str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(out: Path, journal: Path, *, workers: int) -> str:
    process = start(out, journal, workers=workers)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    return stdout.strip()


def results(out: Path) -> dict[str, bytes]:
    found = [path for path in out.rglob("*") if path.is_file() and path.name != "manifest.jsonl"]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in found}


def recorded(out: Path) -> set[str]:
    """Return the ids that the manifest calls done; its last line may be torn."""
    try:
        lines = (out / "manifest.jsonl").read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return set()
    events = [json.loads(line) for line in lines]
    return {event["id"] for event in events if event["event"] == "done"}


def journal_of(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def wait_for_a_moment(process: subprocess.Popen[str], journal: Path, chance: random.Random) -> None:
    """Return some time into the start of a run, or some time after it has begun so many documents."""
    if chance.random() < 0.25:
        time.sleep(chance.uniform(0, 0.6))
        return
    begun = chance.randint(1, 8)
    while len(journal_of(journal)) < begun and process.poll() is None:
        time.sleep(0.005)
    time.sleep(chance.uniform(0, 0.06))


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_again_and_again_a_run_ends_as_if_nothing_had_happened(tmp_path: Path, workers: int) -> None:
    chance = random.Random(SEED + workers)
    out = tmp_path / "out"
    finish(tmp_path / "calm", tmp_path / "journal", workers=workers)
    for attempt in range(KILLS):
        before = recorded(out)
        journal = tmp_path / f"journal{attempt}"
        process = start(out, journal, workers=workers)
        wait_for_a_moment(process, journal, chance)
        process.kill()
        process.communicate()
        after = recorded(out)
        assert before <= after
        assert not before & set(journal_of(journal)), "what the manifest records was processed again"
        # Beyond what is recorded, at most what the workers held and one result on its way is done again.
        assert len(set(journal_of(journal)) - after) <= 2 * (workers + 1)
    last = tmp_path / "last"
    before = recorded(out)
    said = finish(out, last, workers=workers)
    assert said == f"{COUNT - len(before)} done, {len(before)} skipped (already done), 0 failed"
    assert sorted(journal_of(last)) == sorted(recorded(out) - before)
    assert results(out) == results(tmp_path / "calm")
    assert before, "every kill came too early to show anything"


def test_workers_leave_when_their_run_is_killed(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    process = start(tmp_path / "out", journal, workers=1, seconds=60)
    while not journal_of(journal):
        time.sleep(0.05)
    children = [int(pid) for pid in children_of(process.pid)]
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in children):
        assert time.monotonic() < deadline, "a worker outlived its run"
        time.sleep(0.05)
    assert children


def test_ctrl_c_ends_at_once_and_the_next_run_goes_on(tmp_path: Path) -> None:
    out, journal = tmp_path / "out", tmp_path / "journal"
    process = start(out, journal, workers=2, seconds=0.05)
    while len(journal_of(journal)) < 10:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the run and to its workers
    _, stderr = process.communicate(timeout=10)
    done = recorded(out)
    assert stderr.count("Traceback") == 1, "the driver's own; the workers say nothing"
    assert f"KeyboardInterrupt: Interrupted: {len(done)} done, 0 skipped" in stderr
    said = finish(out, tmp_path / "second", workers=1)
    assert said == f"{COUNT - len(done)} done, {len(done)} skipped (already done), 0 failed"


def children_of(pid: int) -> list[str]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    if not children.exists():
        pytest.skip("needs /proc")
    return children.read_text().split()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
