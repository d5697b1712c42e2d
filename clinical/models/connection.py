"""A connection to a model server: where it goes, and what is done when it is busy, slow or not there.

Notes go to the URL that the user gave and nowhere else: no proxy is used and no redirect followed. Every way to
fail is one line that says what to do, and no line repeats what a server says of a fault, because servers quote
the request.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import random
import socket
import ssl
import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from clinical.errors import ClinicalError, UsageError

if TYPE_CHECKING:
    import httpx

_log = logging.getLogger(__name__)

KEY_VARIABLE = "CLINICAL_API_KEY"

TIMEOUT_S = 300.0
"""How long an answer may take; a 7B model on a CPU needs minutes."""

ATTEMPTS = 5
LONGEST_WAIT_S = 30.0

TOLD_WAIT_S = 5.0
"""A longer pause is told to the user."""

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


@dataclass(frozen=True)
class _Fault:
    """Why there is no answer yet, how long the server wants to be left alone, how often to try at most."""

    words: str
    wait_s: float = 0.0
    attempts: int = ATTEMPTS
    error: type[ClinicalError] = ClinicalError


@dataclass(eq=False)
class Connection:
    """Requests to one server, tried again with growing pauses when it is busy or does not answer."""

    url: str
    timeout_s: float = TIMEOUT_S
    pause_s: float = 0.5
    _has_answered: bool = False

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
        attempt = 0
        while True:
            found = self._try(method, url, body)
            if isinstance(found, dict):
                return found
            attempt += 1
            if attempt >= min(attempts, found.attempts):
                tried = f"; tried {attempt} times" if attempt > 1 else ""
                raise found.error(f"{self.url} {found.words}{tried}")
            pause = self.pause_s * 2 ** (attempt - 1) * random.uniform(0.5, 1)
            pause = min(max(found.wait_s, pause), LONGEST_WAIT_S)
            if pause >= TOLD_WAIT_S:
                _log.info("%s %s; trying again in %.0f seconds", self.url, found.words, pause)
            time.sleep(pause)

    def _try(self, method: str, url: str, body: dict[str, Any] | None) -> dict[str, Any] | _Fault:
        import httpx

        try:
            response = self.client.request(method, url, json=body)
        except httpx.ConnectError as error:
            # Was it there before, it may be starting again. If it is gone for good, no other document will fare better.
            words = f"cannot be reached: {_plain(error)}; start the server, or mend the address"
            return _Fault(words, attempts=4 if self._has_answered else 1, error=UsageError)
        except httpx.TimeoutException:
            # It may have been busy; but what takes as long again will not be done in five times as long.
            return _Fault(f"gave no answer within {self.timeout_s:g} seconds", attempts=2)
        except httpx.TransportError as error:
            return _Fault(f"broke off: {type(error).__name__}")
        self._has_answered = True
        if response.status_code in _TRY_AGAIN:
            return _Fault(f"answers with status {response.status_code}", _retry_after(response))
        self._check(response)
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise UsageError(f"{self.url} does not speak OpenAI's protocol; is the path right (…/v1)?")
        return answer

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
