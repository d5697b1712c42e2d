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

import ipaddress
import logging
import os
import random
import re
import socket
import ssl
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from clinical.errors import ClinicalError, UsageError
from clinical.models import alignment
from clinical.models.generation import ended
from clinical.models.language_model import (
    Choice,
    Completion,
    Finish,
    Message,
    OneOf,
    Request,
    Selection,
    TaggedCopy,
)
from clinical.models.pieces import split_pieces
from clinical.models.server_grammar import DIALECTS, PROBE, PROBE_WORD, Dialect
from clinical.models.text_tokens import WORDS_OF_A_PROMPT

if TYPE_CHECKING:
    import httpx

_log = logging.getLogger(__name__)

KEY_VARIABLE = "CLINICAL_API_KEY"

CONCURRENCY = 8
"""Requests under way at a time: enough to fill a server's batch, too few to flood it."""

TIMEOUT_S = 300.0
"""How long an answer may take; a 7B model on a CPU needs minutes."""

ATTEMPTS = 5
LONGEST_WAIT_S = 30.0

WINDOW = 4096
"""What a server is taken to read at a time when it does not say: prompt and answer, in tokens."""

_MARKER = re.compile(
    r"([\[<])"
    r"(/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_RESULTS|TOOL_CALLS|TOOL_CONTENT|ARGS|CALL_ID|IMG|THINK)\]"
    r"|/?(?:s|unk|pad|bos|eos|think|start_of_turn|end_of_turn)>|</?SYS>>|\|)"
)
_TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}


class Refused(Exception):
    """The server does not take this request as it is. `too_long`: because it cannot read so much."""

    def __init__(self, status: int, too_long: bool) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.too_long = too_long


def is_address(model: str) -> bool:
    """Return whether the name of a model is a URL."""
    return model.lower().startswith(("http://", "https://"))


def split_address(model: str) -> tuple[str, str | None]:
    """Return the URL up to its version, as `http://host:8000/v1`, and the name of the model after `#`, if any.

    Raises `UsageError` for what is no address, or carries a password.
    """
    import httpx

    try:
        url = httpx.URL(model)
    except httpx.InvalidURL as error:
        raise UsageError(f"{model} is not an address: {error}; write http://host:8000/v1#model") from error
    if not url.host:
        raise UsageError(f"{model} has no host; write http://host:8000/v1#model")
    if url.userinfo:
        raise UsageError(f"leave user and password out of the address; {KEY_VARIABLE} holds the key")
    path = url.path.rstrip("/").removesuffix("/chat/completions") or "/v1"
    return str(url.copy_with(path=path, query=None, fragment=None)).rstrip("/"), url.fragment or None


def leaves_the_house(host: str) -> bool:
    """Return whether a host lies outside this machine and the private networks (RFC 1918, 4193, 6762)."""
    if host == "localhost" or host.endswith((".localhost", ".local")):
        return False
    try:
        addresses = [str(ipaddress.ip_address(host.strip("[]")))]
    except ValueError:
        try:
            addresses = [str(found[4][0]) for found in socket.getaddrinfo(host, None)]
        except OSError:
            return True
    return not all(ipaddress.ip_address(address.split("%")[0]).is_private for address in addresses)


@dataclass(eq=False)
class Connection:
    """Requests to one server, tried again with growing pauses when it is busy or does not answer."""

    url: str
    timeout_s: float = TIMEOUT_S
    pause_s: float = 0.5

    @cached_property
    def client(self) -> httpx.Client:
        """The client: no proxies, no redirects, no credentials but the key."""
        import httpx

        key = os.environ.get(KEY_VARIABLE)
        return httpx.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(self.timeout_s, connect=min(10.0, self.timeout_s), pool=None),
            follow_redirects=False,
            # Otherwise HTTP_PROXY in the environment would send notes through another machine.
            trust_env=False,
            verify=ssl.create_default_context() if self.url.startswith("https") else True,
        )

    def ask(
        self, method: str, url: str, body: dict[str, Any] | None = None, attempts: int = ATTEMPTS
    ) -> dict[str, Any]:
        """Return the server's answer to a request.

        Raises `Refused` when it does not take the request, `UsageError` when it is the wrong server or key, and
        `ClinicalError` when it does not answer. What a server says of a fault is not repeated: it may quote
        the note.
        """
        for attempt in range(1, attempts + 1):
            fault, wait = self._try(method, url, body)
            if isinstance(fault, dict):
                return fault
            if attempt < attempts:
                pause = self.pause_s * 2 ** (attempt - 1) * random.uniform(0.5, 1)
                time.sleep(min(max(wait, pause), LONGEST_WAIT_S))
        raise ClinicalError(f"{self.url} {fault}; tried {attempts} times")

    def _try(self, method: str, url: str, body: dict[str, Any] | None) -> tuple[dict[str, Any] | str, float]:
        """Return the answer, or what went wrong and how long the server wants to be left alone."""
        import httpx

        try:
            response = self.client.request(method, url, json=body)
        except httpx.ConnectError as error:
            raise UsageError(
                f"cannot reach {self.url}: {_plain(error)}; start the server, or mend the address"
            ) from error
        except httpx.TimeoutException:
            return f"gave no answer within {self.timeout_s:g} seconds", 0.0
        except httpx.TransportError as error:
            return f"broke off: {type(error).__name__}", 0.0
        if response.status_code in _TRY_AGAIN:
            return f"answers with status {response.status_code}", _retry_after(response)
        self._check(response)
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise UsageError(f"{self.url} does not speak OpenAI's protocol; is the path right (…/v1)?")
        return answer, 0.0

    def _check(self, response: httpx.Response) -> None:
        status = response.status_code
        if 300 <= status < 400:
            raise UsageError(
                f"{self.url} points to another address, which is not followed; give the one that answers"
            )
        if status in (401, 403):
            has_key = "Authorization" in self.client.headers
            wanted = (
                f"does not accept the key in {KEY_VARIABLE}"
                if has_key
                else f"wants a key: set {KEY_VARIABLE}"
            )
            raise UsageError(f"{self.url} {wanted}")
        if status >= 400:
            words = response.text.lower()
            too_long = any(
                sign in words for sign in ("context length", "context size", "too long", "maximum context")
            )
            raise Refused(status, too_long)


def _plain(error: Exception) -> str:
    words = str(error).lower()
    for sign, plain in (
        ("refused", "connection refused"),
        ("certificate", "its certificate is not trusted"),
        ("name or service", "no such host"),
        ("nodename nor", "no such host"),
        ("name resolution", "no such host"),
    ):
        if sign in words:
            return plain
    return "no connection"


def _retry_after(response: httpx.Response) -> float:
    try:
        return float(response.headers.get("Retry-After", 0))
    except ValueError:
        return 0.0


@dataclass(eq=False)
class ServerModel:
    """A `MeasuringModel` behind a URL. `name` is the address with the model's name."""

    connection: Connection
    model: str
    window: int = WINDOW

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
        if any(request.constraint for request in requests):
            _ = self.dialect  # asked for once, before many threads need it
        pool = ThreadPoolExecutor(CONCURRENCY)
        try:
            return [answer.result() for answer in [pool.submit(self._answer, each) for each in requests]]
        except KeyboardInterrupt:
            # Otherwise the program would wait for what is under way before it ends.
            self.connection.client.close()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    @cached_property
    def dialect(self) -> Dialect | None:
        """The way to send this server a grammar, found by trying; `None` when it takes none."""
        for dialect in DIALECTS:
            body = self._body([{"role": "user", "content": "Say hello."}], 8) | dialect.field(PROBE)
            try:
                answer = self._post(body, attempts=2)
            except (Refused, ClinicalError) as error:
                if isinstance(error, UsageError):
                    raise
                continue
            if _content(answer)[0].strip() == PROBE_WORD:
                return dialect
        _log.warning(
            "%s takes no grammar: its answers are free, and what cannot be tied to the note is left out",
            self.connection.url,
        )
        return None

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
        if self.dialect:
            try:
                text, _ = _content(self._post(body | self.dialect.field(request.constraint.to_lark())))
            except Refused as refused:
                self._check_length(refused)
            else:
                if request.constraint.parse(text) is not None:
                    return _enforced(text, request.constraint)
        return _verified(_content(self._sent(body))[0], request.constraint)

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


def _answer_tokens(constraint: TaggedCopy | Selection | OneOf) -> int:
    """Return the most tokens that an answer can have, with room for a free one."""
    if isinstance(constraint, Selection):
        return 6 * constraint.limit + 16
    if isinstance(constraint, OneOf):
        return max(map(len, constraint.options)) + 16
    return 4 * len(constraint.pieces) + 256


def _enforced(text: str, constraint: TaggedCopy | Selection | OneOf) -> Completion:
    """Return an answer that the server has held to the constraint."""
    if isinstance(constraint, TaggedCopy):
        return Completion(text, constraint.parse(text) or (), enforced=True)
    if isinstance(constraint, OneOf):
        return Completion(text.removeprefix(" "), enforced=True)
    return _chosen(constraint, constraint.parse(text) or (), enforced=True)


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


def _verified(text: str, constraint: TaggedCopy | Selection | OneOf) -> Completion:
    """Return what of a free answer is verified."""
    if isinstance(constraint, TaggedCopy):
        spans, lost = alignment.tie(text, constraint)
        words = f"{lost} marked stretch{'es' if lost > 1 else ''} not found in the note, left out"
        return Completion(text, spans, warnings=(words,) if lost else ())
    if isinstance(constraint, OneOf):
        option = alignment.option_in(text, constraint)
        missing = () if option else ("the answer was none of the options",)
        return Completion(option or "", warnings=missing)
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
