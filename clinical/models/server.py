"""A language model behind a URL: any server that speaks OpenAI's protocol (vLLM, llama.cpp, Ollama, …).

    clinical ner note.txt --model http://127.0.0.1:8000/v1
    clinical ner note.txt --model http://127.0.0.1:11434/v1#mistral
    CLINICAL_API_KEY=… clinical ner note.txt --model https://llm.hospital.example/v1#mistral-7b

After `#` stands the name of the model, where the server has more than one. Notes go to this URL and nowhere
else: no proxy is used and no redirect followed, and a host outside the private networks is warned of. An
answer is held to its constraint by the server where it takes a grammar (`clinical.models.server_grammar`);
where it does not, the answer is free, and only what of it is verified is taken over
(`clinical.models.alignment`), marked so.
"""

from __future__ import annotations

import logging
import math
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from queue import SimpleQueue
from typing import Any

from clinical.errors import ClinicalError, UsageError
from clinical.models import alignment
from clinical.models.connection import (
    ATTEMPTS,
    TIMEOUT_S,
    Connection,
    Refused,
    leaves_the_house,
    split_address,
)
from clinical.models.generation import ended
from clinical.models.language_model import (
    Choice,
    Completion,
    Constraint,
    Finish,
    Message,
    OneOf,
    Request,
    Selection,
    TaggedCopy,
)
from clinical.models.pieces import split_pieces
from clinical.models.server_grammar import DIALECTS, PROBE, Dialect
from clinical.models.text_tokens import WORDS_OF_A_PROMPT

_log = logging.getLogger(__name__)

CONCURRENCY = 8
"""Requests under way at a time: enough to fill a server's batch, too few to flood it."""

LOGPROBS = {"logprobs": True, "top_logprobs": 20}
"""Asks for the probabilities of the likeliest tokens."""

WINDOW = 4096
"""What a server is taken to read at a time when it does not say: prompt and answer, in tokens."""

_MARKER = re.compile(
    r"([\[<])"
    r"(/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_RESULTS|TOOL_CALLS|TOOL_CONTENT|ARGS|CALL_ID|IMG|THINK)\]"
    r"|/?(?:s|unk|pad|bos|eos|think|start_of_turn|end_of_turn)>|</?SYS>>|\|)"
)


@dataclass(eq=False)
class ServerModel:
    """A `MeasuringModel` behind a URL. `name` is the address with the model's name."""

    connection: Connection
    model: str
    window: int = WINDOW
    _warned: bool = False

    @property
    def name(self) -> str:
        """The address, with the name of the model after `#`."""
        return f"{self.connection.url}#{self.model}"

    def count_tokens(self, text: str) -> int:
        """Return about how many tokens a text has, rather too many: the server's tokenizer is not here."""
        return sum(_most_tokens(piece) for piece in split_pieces(text))

    def complete(self, requests: Sequence[Request]) -> list[Completion]:
        """Return one answer for each request, in their order; some are under way at a time.

        Raises `ClinicalError` when the server does not answer, or cannot read so much.
        """
        # Asked for once, before many threads need it.
        constraints = [request.constraint for request in requests if request.constraint]
        if constraints and not all(self.dialect and self.dialect.holds(each) for each in constraints):
            self._warn_of_free_answers()
        if any(isinstance(constraint, OneOf) for constraint in constraints):
            _ = self.tells_probabilities
        return _side_by_side(self._answer, requests)

    @cached_property
    def dialect(self) -> Dialect | None:
        """The way to hold this server to a constraint, found by trying; `None` when there is none."""
        for dialect in DIALECTS:
            body = self._body([{"role": "user", "content": "Say hello."}], 24) | dialect.field(PROBE)
            try:
                answer = self._post(body, attempts=2)
            except (Refused, ClinicalError) as error:
                if isinstance(error, UsageError):
                    raise
                continue
            if dialect.read(_content(answer)[0].strip(), PROBE) in PROBE.options:
                return dialect
        return None

    def _warn_of_free_answers(self) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(
                "%s takes no grammar: its answers are free, and what cannot be tied to the note is left out",
                self.connection.url,
            )

    @cached_property
    def tells_probabilities(self) -> bool:
        """Whether the server tells the probabilities of tokens, found by trying."""
        body = self._body([{"role": "user", "content": "Say hello."}], 8) | LOGPROBS
        try:
            return bool(_top_tokens(self._post(body, attempts=2)))
        except UsageError:
            raise
        except (Refused, ClinicalError):
            return False

    def _answer(self, request: Request) -> Completion:
        messages = [{"role": message.role, "content": _content_of(message)} for message in request.messages]
        if request.constraint is None:
            body = self._body(messages, request.max_new_tokens, request.temperature)
            body |= {"stop": list(request.stop)} if request.stop else {}
            body |= {"seed": request.seed} if request.temperature else {}
            text, finish = _content(self._sent(body))
            text, finish = ended(text, request.stop, finish)
            return Completion(text, finish=finish)
        body = self._body(messages, _answer_tokens(request.constraint))
        if isinstance(request.constraint, OneOf) and self.tells_probabilities:
            body |= LOGPROBS
        if self.dialect and self.dialect.holds(request.constraint):
            try:
                answer = self._post(body | self.dialect.field(request.constraint))
            except Refused as refused:
                self._check_length(refused)
            else:
                text = self.dialect.read(_content(answer)[0], request.constraint)
                if request.constraint.parse(text) is not None:
                    return _enforced(text, answer, request.constraint)
        return _verified(self._sent(body), request.constraint)

    def _body(self, messages: list[dict[str, str]], tokens: int, temperature: float = 0.0) -> dict[str, Any]:
        return {"model": self.model, "messages": messages, "max_tokens": tokens, "temperature": temperature}

    def _sent(self, body: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._post(body)
        except Refused as refused:
            self._check_length(refused)
            raise ClinicalError(
                f"{self.name} refuses the request ({refused}); see the server's log"
            ) from refused

    def _post(self, body: dict[str, Any], attempts: int = ATTEMPTS) -> dict[str, Any]:
        return self.connection.ask("POST", f"{self.connection.url}/chat/completions", body, attempts)

    def _check_length(self, refused: Refused) -> None:
        if refused.too_long:
            raise ClinicalError(
                f"{self.name} cannot read a prompt of this length; give it less text, or a larger window"
            ) from refused


def _side_by_side(answer: Callable[[Request], Completion], requests: Sequence[Request]) -> list[Completion]:
    """Return the answers in the order of the requests, `CONCURRENCY` of them under way at a time.

    Raises the first fault. The threads end with the program: those of `concurrent.futures` would keep it from
    ending, at Ctrl-C, until a slow server has answered.
    """
    waiting: Iterator[int] = iter(range(len(requests)))
    done: SimpleQueue[tuple[int, Completion | BaseException]] = SimpleQueue()
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                number = next(waiting, None)
            if number is None:
                return
            try:
                done.put((number, answer(requests[number])))
            except BaseException as fault:
                done.put((number, fault))

    for _ in range(min(CONCURRENCY, len(requests))):
        threading.Thread(target=work, daemon=True).start()
    answers: dict[int, Completion] = {}
    try:
        while len(answers) < len(requests):
            number, found = done.get()
            if isinstance(found, BaseException):
                raise found
            answers[number] = found
    finally:
        with lock:
            waiting = iter(())
    return [answers[number] for number in range(len(requests))]


def _content_of(message: Message) -> str:
    """Return a turn as one string in which data holds no marker of a chat format.

    A server tokenizes the whole conversation as one string, in which the "[/INST]" of a note would end the turn
    of the user. So it is taken apart by a blank. Answers are tied to the note as it is, not to this string.
    """
    return "".join(
        part.text if part.variable in WORDS_OF_A_PROMPT else _MARKER.sub(r"\1 \2", part.text)
        for part in message.parts
    )


def _content(answer: dict[str, Any]) -> tuple[str, Finish]:
    """Return the text of an answer and why it ended."""
    try:
        choice = answer["choices"][0]
        text = choice["message"]["content"] or ""
        return str(text), "length" if choice.get("finish_reason") == "length" else "stop"
    except (LookupError, TypeError, AttributeError):
        raise ClinicalError(
            "the server's answer has no text in it; does it speak OpenAI's protocol?"
        ) from None


def _most_tokens(piece: str) -> int:
    # Letters come in runs of three or more to a token, digits one by one, other signs by their bytes at worst.
    plain = piece.strip()
    return max(1, -(-len(plain) // 3) if plain.isascii() and plain.isalpha() else len(plain.encode()))


def _answer_tokens(constraint: Constraint) -> int:
    """Return the most tokens that an answer can have, with room for a free one."""
    if isinstance(constraint, Selection):
        return 6 * constraint.limit + 32
    if isinstance(constraint, OneOf):
        return max(map(len, constraint.options)) + 32
    return 4 * len(constraint.pieces) + 256


def _enforced(text: str, answer: dict[str, Any], constraint: Constraint) -> Completion:
    """Return the answer with this text, which the server has held to the constraint."""
    if isinstance(constraint, TaggedCopy):
        return Completion(text, constraint.parse(text) or (), enforced=True)
    if isinstance(constraint, OneOf):
        options = _option_probabilities(_top_tokens(answer), constraint)
        return Completion(text.removeprefix(" "), enforced=True, options=options)
    return _chosen(constraint, constraint.parse(text) or (), enforced=True)


def _top_tokens(answer: dict[str, Any]) -> list[tuple[str, float]]:
    """Return the likeliest first tokens of an answer with their log-probabilities; none where it has none."""
    try:
        first = next(token for token in answer["choices"][0]["logprobs"]["content"] if token["token"].strip())
        return [(str(token["token"]), float(token["logprob"])) for token in first["top_logprobs"]]
    except (LookupError, TypeError, ValueError, AttributeError, StopIteration):
        return []


def _option_probabilities(tokens: Sequence[tuple[str, float]], constraint: OneOf) -> dict[str, float]:
    """Return the share of each option in the probabilities of the first word; none where it does not tell them apart.

    What servers list are the likeliest few tokens; an option that is not among them has none. Where there is but
    one option among them, the server has weighed no other (some list tokens after the grammar).
    """
    weights = dict.fromkeys(constraint.options, 0.0)
    for token, log_probability in tokens:
        begun = token.strip().casefold()
        whole = [option for option in weights if option.casefold() == begun]
        meant = whole or [option for option in weights if begun and option.casefold().startswith(begun)]
        if len(meant) > 1:
            return {}
        if meant:
            weights[meant[0]] += math.exp(log_probability)
    total = sum(weights.values())
    weighed = sum(weight > 0 for weight in weights.values())
    return {option: weight / total for option, weight in weights.items()} if weighed > 1 else {}


def _chosen(
    constraint: Selection, numbers: Sequence[int], *, enforced: bool = False, warnings: tuple[str, ...] = ()
) -> Completion:
    return Completion(
        constraint.write(numbers),
        enforced=enforced,
        choices=tuple(map(Choice, numbers)),
        candidates=tuple(Choice(number) for number in range(1, constraint.count + 1)),
        warnings=warnings,
    )


def _verified(answer: dict[str, Any], constraint: Constraint) -> Completion:
    """Return what of a free answer is verified."""
    text, _ = _content(answer)
    if isinstance(constraint, TaggedCopy):
        spans, lost = alignment.tie(text, constraint)
        words = f"{lost} marked stretch{'es' if lost > 1 else ''} not found in the note, left out"
        return Completion(text, spans, warnings=(words,) if lost else ())
    if isinstance(constraint, OneOf):
        option = alignment.option_in(text, constraint)
        missing = () if option else ("the answer was none of the options",)
        options = _option_probabilities(_top_tokens(answer), constraint) if option else {}
        return Completion(option or "", options=options, warnings=missing)
    numbers = alignment.numbers_in(text, constraint)
    missing = () if numbers is not None else ("the answer was not a list of sentences",)
    return _chosen(constraint, numbers or (), warnings=missing)


def connect(model: str, *, timeout_s: float = TIMEOUT_S, pause_s: float = 0.5) -> ServerModel:
    """Return the model behind an address, after asking the server which models it has.

    Raises `UsageError` when nobody answers there, or when it has no such model, or several and none is named.
    """
    url, name = split_address(model)
    connection = Connection(url, timeout_s, pause_s)
    host = str(connection.client.base_url.join(url).host)
    if leaves_the_house(host):
        plain = ", unencrypted" if url.lower().startswith("http://") else ""
        _log.warning("notes will leave this machine: they are sent to %s%s", url, plain)
    listed = _listed(connection) if name is None else _listed_if_told(connection)
    known = {str(entry["id"]): entry for entry in listed if isinstance(entry, dict) and "id" in entry}
    name = _known_name(name, list(known), url)
    return ServerModel(connection, name, _window(connection, known.get(name, {})))


def _listed(connection: Connection) -> list[Any]:
    try:
        return list(connection.ask("GET", f"{connection.url}/models").get("data") or [])
    except Refused as refused:
        raise UsageError(
            f"{connection.url} does not list its models; name one: {connection.url}#model"
        ) from refused


def _listed_if_told(connection: Connection) -> list[Any]:
    """Return the list of models, an empty one from a server that cannot list them: the name will do."""
    try:
        return list(connection.ask("GET", f"{connection.url}/models", attempts=2).get("data") or [])
    except UsageError:
        raise
    except (Refused, ClinicalError):
        return []


def _known_name(name: str | None, known: list[str], url: str) -> str:
    if name is None and len(known) == 1:
        return known[0]
    models = ", ".join(known[:20]) or "none"
    if name is None:
        raise UsageError(f"{url} has more than one model, or none; name one after #: {models}")
    # Ollama's way to say a name without a version comes second.
    found = [candidate for candidate in (name, f"{name}:latest") if candidate in known or not known]
    if not found:
        raise UsageError(f"{url} has no model {name!r}; it has: {models}")
    return found[0]


def _window(connection: Connection, entry: dict[str, Any]) -> int:
    """Return how much the server reads at a time: vLLM says it with the model, llama.cpp at an address of its own."""
    found = entry.get("max_model_len")
    if found is None and entry.get("owned_by") == "llamacpp":
        try:
            said = connection.ask("GET", f"{connection.url.removesuffix('/v1')}/props", attempts=1)
            found = (said.get("default_generation_settings") or {}).get("n_ctx")
        except (Refused, ClinicalError):
            found = None
    return int(found) if isinstance(found, int) and found > 0 else WINDOW
