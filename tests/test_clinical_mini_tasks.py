"""The tasks beside ner by the shipped small Mistral: it chooses the sentence that answers, or none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from clinical.cli import cli
from clinical.documents.note import Note
from clinical.models import mistral, mistral_summarizer
from clinical.models.loading import load
from clinical.models.mistral_summarizer import BUDGETS
from clinical.models.settings import SMALL_MISTRAL
from clinical.tasks.search_mistral import MistralChooser, load_chooser

pytestmark = pytest.mark.embedded

SENTENCES = [
    "She lives alone.",
    "Potassium was 4.1 on admission.",
    "Apixaban was stopped because of a gastrointestinal bleed.",
]


@pytest.fixture(scope="module")
def chooser() -> MistralChooser:
    return load_chooser(None)


@pytest.mark.parametrize(
    ("query", "chosen"), [("Why was apixaban stopped?", (2,)), ("potassium", (1,)), ("smoking", ())]
)
def test_it_chooses_what_answers(chooser: MistralChooser, query: str, chosen: tuple[int, ...]) -> None:
    assert chooser.model == SMALL_MISTRAL
    assert chooser.choose(query, SENTENCES).chosen == chosen


def test_its_adapter_is_for_the_tasks_beside_ner() -> None:
    folder = mistral.find_model(SMALL_MISTRAL)
    card = mistral.read_card(folder)
    assert card is not None
    assert card.adapters == dict.fromkeys(("ask", "search", "summarize"), "adapters/suite")
    adapted = load(SMALL_MISTRAL, "ask").card
    assert adapted is not None
    assert adapted.prompts["search"] == "search.v1"


def test_ask_quotes_by_it(tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("HOSPITAL COURSE\n" + "\n".join(SENTENCES) + "\n", encoding="utf-8")
    question = ["ask", "Why was apixaban stopped?", str(note), "--system", "mistral", "--format", "json"]
    result = CliRunner().invoke(cli, question)
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["model"] == SMALL_MISTRAL
    assert answer["answer"] == SENTENCES[2]


def test_summaries_are_sentences_that_it_chose() -> None:
    text = " ".join(
        (
            "He came with fever and cough for five days.",
            "Chest film showed a right lower lobe pneumonia.",
            "He was treated with ceftriaxone and azithromycin.",
            "His brother drove him home.",
            "He likes to fish.",
            "Follow up in one week.",
        )
    )
    summarizer = mistral_summarizer.load(SMALL_MISTRAL)
    assert summarizer.quoted == set(BUDGETS) - {"question"}
    drafts = summarizer.draft(Note("visit", text), "brief", entities=())
    assert 0 < len(drafts) < 6
    assert all(text[source.start : source.end] == draft.text for draft in drafts for source in draft.sources)
    assert all(draft.sources for draft in drafts)
