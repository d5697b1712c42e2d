"""Constrained choice: which of some numbered sentences, or which of some words, with probabilities for all.

All answers that are still possible make a tree of tokens, each answer one path. The tree goes through the
model in one pass behind the prompt, every token seeing only its own path (tree attention; Miao et al.,
SpecInfer, ASPLOS 2024). So the probability of every option is exact among the allowed ones, however its
tokenizer cuts it, and costs one pass together:

- `OneOf`: one pass after the prompt.
- `Selection`: one pass for each number chosen, and one for the end. The answer goes on as long as an end is
  less probable than not, with the most probable number. Let p(n) be the probability that n is the next
  number, and p(end) that there is none. Given the decisions before it, n is chosen with probability
  p(n) / (p(n) + p(n+1) + … + p(end)): of the answers that passed over the numbers before it, those that have
  it. This is the probability of a `Choice`, for the numbers chosen and for those passed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from clinical.models.language_model import NONE, Choice, Completion, OneOf, Selection
from clinical.models.text_tokens import TextTokens

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

END = 0
"""The option to choose no (further) number; the others are the numbers themselves, or those of the words."""


@dataclass
class Tree:
    """Answers as paths of tokens: node 0 is the last token before them, `parents` point towards it.

    `ends` maps a node to the option that ends there, and to the tokens that may follow it then.
    """

    tokens: list[int] = field(default_factory=lambda: [-1])
    parents: list[int] = field(default_factory=lambda: [-1])
    children: list[dict[int, int]] = field(default_factory=lambda: [{}])
    ends: dict[int, tuple[int, frozenset[int]]] = field(default_factory=dict)

    def add(self, option: int, path: Sequence[int], then: frozenset[int]) -> None:
        """Put in an option; `then` are the tokens by which a reader knows that it is complete."""
        node = 0
        for token in path:
            if token not in self.children[node]:
                self.children[node][token] = len(self.tokens)
                self.tokens.append(token)
                self.parents.append(node)
                self.children.append({})
            node = self.children[node][token]
        if node in self.ends:
            raise ValueError("the tokenizer writes two options alike")
        self.ends[node] = (option, then)

    def read(self) -> list[int]:
        """Return the nodes whose following token must be asked of the model, with all above them, but node 0.

        Where only one token can follow nothing is decided.
        """
        asked = [
            len(children) + (node in self.ends) > 1 and bool(children)
            for node, children in enumerate(self.children)
        ]
        for node in range(len(asked) - 1, 0, -1):
            asked[self.parents[node]] |= asked[node]
        return [node for node, wanted in enumerate(asked) if wanted and node]

    def probabilities(self, logits: Mapping[int, NDArray[np.float32]]) -> dict[int, float]:
        """Return the probability of each option among them all, from the logits after the nodes that were read."""
        import numpy as np

        found: dict[int, float] = {}
        reach = np.zeros(len(self.tokens))
        reach[0] = 1.0
        for node, children in enumerate(self.children):
            option, then = self.ends.get(node, (END, frozenset()))
            allowed = [*children, *then]
            weights = np.ones(len(allowed)) / max(len(allowed), 1)
            if children and len(allowed) > 1:
                scores = logits[node][allowed].astype(np.float64)
                weights = np.exp(scores - scores.max())
                weights /= weights.sum()
            for child, weight in zip(children.values(), weights, strict=False):
                reach[child] = reach[node] * weight
            if node in self.ends:
                found[option] = float(reach[node] * weights[len(children) :].sum())
        return found


class Walk(Protocol):
    """One answer in the making: `tree` holds how it may go on."""

    tree: Tree
    done: bool

    def accept(self, probabilities: Mapping[int, float]) -> Sequence[int]:
        """Decide by the probabilities of the options in the tree; return the tokens that are now said."""
        ...

    def completion(self) -> Completion:
        """Return the answer."""
        ...


@dataclass
class _Row:
    """The ids of a prompt and its answer, of which the cache holds the first `read`."""

    ids: list[int]
    walk: Walk
    read: int = 0


class SelectionWalk:
    """An answer to a `Selection`."""

    def __init__(self, constraint: Selection, tokens: TextTokens) -> None:
        self.tree = Tree()
        self.done = False
        self._constraint = constraint
        self._tokens = tokens
        self._chosen: list[int] = []
        self._probability: dict[int, float] = {}
        self._end = frozenset({tokens.control("</s>")})
        self._comma = tokens.plain(",")
        more = frozenset({*self._end, self._comma[0]})
        self.tree.add(END, tokens.plain(f" {NONE}"), self._end)
        for number in range(1, constraint.count + 1):
            self.tree.add(number, tokens.plain(f" {number}"), more)

    def accept(self, probabilities: Mapping[int, float]) -> Sequence[int]:
        """Choose the next number, or end; every number that is decided on keeps its probability."""
        numbers = [number for number in probabilities if number != END]
        end = probabilities[END]
        best = max(numbers, key=lambda number: probabilities[number])
        # With the answer full there is nothing to decide, but the numbers left are still to be ranked.
        over = end >= 0.5 or len(self._chosen) == self._constraint.limit
        left = end
        for number in reversed(numbers):
            left += probabilities[number]
            if over or number <= best:
                self._probability[number] = probabilities[number] / left if left else 0.0
        if over:
            self.done = True
            return ()
        said = (self._comma if self._chosen else ()) + self._tokens.plain(f" {best}")
        self._chosen.append(best)
        self.done = best == self._constraint.count
        self.tree = Tree()
        self.tree.add(END, (), self._end)
        more = frozenset({*self._end, self._comma[0]})
        for number in range(best + 1, self._constraint.count + 1):
            self.tree.add(number, self._comma + self._tokens.plain(f" {number}"), more)
        return said

    def completion(self) -> Completion:
        """Return the numbers chosen, and the probabilities of them all."""
        candidates = tuple(Choice(number, self._probability[number]) for number in sorted(self._probability))
        return Completion(
            self._constraint.write(self._chosen),
            enforced=True,
            choices=tuple(candidates[number - 1] for number in self._chosen),
            candidates=candidates,
        )


class OptionWalk:
    """An answer to a `OneOf`."""

    def __init__(self, constraint: OneOf, tokens: TextTokens) -> None:
        self.tree = Tree()
        self.done = False
        self._options = constraint.options
        self._probabilities: dict[str, float] = {}
        end = frozenset({tokens.control("</s>")})
        for number, option in enumerate(self._options):
            self.tree.add(number, tokens.plain(f" {option}"), end)

    def accept(self, probabilities: Mapping[int, float]) -> Sequence[int]:
        """Keep the probabilities; the most probable option is the answer."""
        self._probabilities = {option: probabilities[number] for number, option in enumerate(self._options)}
        self.done = True
        return ()

    def completion(self) -> Completion:
        """Return the most probable option, and the probabilities of them all."""
        best = max(self._options, key=lambda option: self._probabilities[option])
        return Completion(best, enforced=True, options=self._probabilities)


class _Reader:
    """Feeds rows of different lengths through the model over one cache.

    Columns of the cache that are of no more use to a row are hidden by its mask, and cut off once they are
    of no use to any.
    """

    def __init__(self, model: Any, rows: list[_Row], pad: int) -> None:
        import numpy as np
        import torch
        from transformers import DynamicCache

        causal = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._body, self._head = causal.get_decoder(), causal.get_output_embeddings()
        parameter = next(causal.parameters())
        self._device = parameter.device
        # 4-bit weights are stored in bytes; the numbers that flow through them are those of the embedding.
        self._dtype = causal.get_input_embeddings().weight.dtype
        self._pad = pad
        self._rows = rows
        self._cache = DynamicCache()
        self._held: NDArray[np.bool_] = np.zeros((len(rows), 0), dtype=bool)
        self._hidden = float(torch.finfo(self._dtype).min)

    def read_prompts(self) -> None:
        """Read all prompts but for their last token, whose logits are asked for together with the tree."""
        import numpy as np

        fed = [row.ids[:-1] for row in self._rows]
        width = max(map(len, fed))
        if not width:
            return
        self._held = np.arange(width) < np.array([[len(ids)] for ids in fed])
        self._body(
            input_ids=self._tensor([ids + [self._pad] * (width - len(ids)) for ids in fed]),
            attention_mask=self._tensor(self._held.astype(int)),
            past_key_values=self._cache,
            use_cache=True,
        )
        for row, ids in zip(self._rows, fed, strict=True):
            row.read = len(ids)

    def step(self) -> None:
        """Read what is new of each row and its tree, let it decide, and let go of the rows that are done."""
        import numpy as np

        nodes = [row.walk.tree.read() for row in self._rows]
        chains = [row.ids[row.read :] for row in self._rows]
        held = self._held.shape[1]
        logits = self._forward(chains, nodes)
        for number, row in enumerate(self._rows):
            row.read = len(row.ids)
            self._held[number, held + len(chains[number]) :] = False
            after = dict(zip([0, *nodes[number]], logits[number], strict=True))
            row.ids += row.walk.accept(row.walk.tree.probabilities(after))
        left = [number for number, row in enumerate(self._rows) if not row.walk.done]
        if left and len(left) < len(self._rows):
            self._rows = [self._rows[number] for number in left]
            self._cache.batch_select_indices(self._tensor(left))
            self._held = self._held[left]
        surplus = int(np.argmax(self._held.any(axis=0)[::-1]))
        if surplus:
            self._cache.crop(-surplus)
            self._held = self._held[:, :-surplus]

    def _forward(self, chains: list[list[int]], nodes: list[list[int]]) -> list[NDArray[np.float32]]:
        """Return for each row the logits after its last known token and after each of the nodes."""
        import numpy as np
        import torch

        counts = [len(chain) + len(row) for chain, row in zip(chains, nodes, strict=True)]
        width, held = max(counts), self._held.shape[1]
        ids = np.full((len(chains), width), self._pad)
        positions = np.zeros((len(chains), width), dtype=int)
        seen = np.zeros((len(chains), 1, width, held + width), dtype=bool)
        seen[:, 0, :, :held] = self._held[:, None]
        # A row of the mask that sees nothing at all would be no number.
        seen[:, 0, :, held:] = np.eye(width, dtype=bool)
        for number, (chain, row) in enumerate(zip(chains, nodes, strict=True)):
            tree, own = self._rows[number].walk.tree, seen[number, 0, :, held:]
            ids[number, : counts[number]] = chain + [tree.tokens[node] for node in row]
            own[: len(chain), : len(chain)] = np.tri(len(chain), dtype=bool)
            place = {0: len(chain) - 1}
            positions[number, : len(chain)] = self._rows[number].read + np.arange(len(chain))
            for at, node in enumerate(row, len(chain)):
                above = place[tree.parents[node]]
                own[at] |= own[above]
                positions[number, at] = positions[number, above] + 1
                place[node] = at
        mask = torch.zeros(seen.shape, dtype=self._dtype)
        mask.masked_fill_(torch.from_numpy(~seen), self._hidden)
        hidden = self._body(
            input_ids=self._tensor(ids),
            attention_mask=mask.to(self._device),
            position_ids=self._tensor(positions),
            past_key_values=self._cache,
            use_cache=True,
        ).last_hidden_state
        self._held = np.concatenate([self._held, np.arange(width) < np.array(counts)[:, None]], axis=1)
        asked = [hidden[n, len(chain) - 1 : counts[n]] for n, chain in enumerate(chains)]
        logits = self._head(torch.cat(asked)).float().cpu().numpy()
        return np.split(logits, np.cumsum([len(rows) for rows in asked])[:-1])

    def _tensor(self, values: Any) -> torch.Tensor:
        import torch

        return torch.as_tensor(values, device=self._device)


def choose(
    model: Any,
    tokens: TextTokens,
    prompts: Sequence[list[int]],
    constraints: Sequence[Selection | OneOf],
    pad: int,
) -> list[Completion]:
    """Return the answers of the model to the prompts; they go through it together.

    `model` is a causal language model of `transformers` whose attention sees the whole prompt, `pad` any id.
    """
    import torch

    rows = [_Row(list(ids), _walk(each, tokens)) for ids, each in zip(prompts, constraints, strict=True)]
    with torch.inference_mode():
        reader = _Reader(model, rows, pad)
        reader.read_prompts()
        while not all(row.walk.done for row in rows):
            reader.step()
    return [row.walk.completion() for row in rows]


def _walk(constraint: Selection | OneOf, tokens: TextTokens) -> Walk:
    return (
        SelectionWalk(constraint, tokens)
        if isinstance(constraint, Selection)
        else OptionWalk(constraint, tokens)
    )


def answer_ids(answer: str, tokens: TextTokens) -> list[int]:
    """Return the ids of an answer to a `Selection` or `OneOf`, with its end, as they are scored: to train on.

    >>> answer_ids(Selection(9).write([2, 5]), tokens)                                      # doctest: +SKIP
    """
    ids: list[int] = []
    numbers = answer.split(", ") if answer[:1].isdigit() else [answer]
    for place, part in enumerate(numbers):
        ids += (*(tokens.plain(",") if place else ()), *tokens.plain(f" {part}"))
    return [*ids, tokens.control("</s>")]
