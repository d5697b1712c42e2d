"""Stand-ins for models. They live in a module of their own so that worker processes can import them too."""

from __future__ import annotations

import re
from collections.abc import Sequence

from clinical.documents.annotations import Entity
from clinical.prompts.labels import Label


class FakeRecognizer:
    """Marks every capitalised word with the first label asked for; its scores are those of a real system's range."""

    system = "fake"
    model = "capitals"

    def recognize(self, texts: Sequence[str], labels: Sequence[Label]) -> list[list[Entity]]:
        return [
            [
                Entity(found.start(), found.end(), found.group(), labels[0].name, score=0.9)
                for found in re.finditer(r"\b[A-Z]\w*", text)
            ]
            for text in texts
        ]
