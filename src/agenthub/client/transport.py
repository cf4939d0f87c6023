"""Requests to a hub: one address, one key, bounded in time and size. Standard library only.

A call opens a connection of its own. No redirect is followed, so that a key goes only where it was
meant to go.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import quote, urlencode

from agenthub.client.address import Address, parse_address, route_to
from agenthub.errors import BadInput, HubError, TooLarge, TooMany, Unavailable, of_status
from agenthub.validation import clean_line, shown

MIB = 2**20
MOST_JSON = 32 * MIB  # bytes of an answer
MOST_ERROR = 64 * 1024
CHUNK = 64 * 1024
JSON_TYPE = "application/json"
BUNDLE_TYPE = "application/octet-stream"
_KEY = re.compile(r"[\x21-\x7e]{1,512}")
_AGAIN = (429, 503)

T = TypeVar("T")


class Unreachable(Unavailable):
    """No answer, or half of one: the hub is away, or somebody else is at its address."""


@dataclass(frozen=True)
class Patience:
    """How long a hub is waited for."""

    silence: float = 30.0  # seconds without a byte
    whole: float = 120.0  # seconds of one small answer
    transfer: float = 3600.0  # seconds of one upload or download
    tries: int = 4  # of a call that may be repeated
    waiting: float = 30.0  # seconds in all between tries


@dataclass(frozen=True)
class Request:
    """One call. `repeatable`: to make it twice is as good as once."""

    method: str
    path: str  # below the hub's address, quoted
    body: bytes | Path | None = None
    type: str = ""
    repeatable: bool = True
    seconds: float = 0.0  # of silence, beside the usual: a long poll, much for a hub to do


class Transport:
    """A hub's address and a key; every method may be called from any thread."""

    def __init__(
        self,
        url: str,
        key: str = "",
        patience: Patience | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.address: Address = parse_address(url)
        self.patience = patience or Patience()
        self._sleep = sleep
        self._headers = {"Accept": JSON_TYPE, "User-Agent": "autoresearch", "Connection": "close"}
        if key:
            self._headers["Authorization"] = f"Bearer {_checked_key(key)}"

    def json(self, request: Request) -> Any:
        """The JSON of an answer; HubError as the hub says, Unavailable when it cannot be had."""
        return self._call(request, self.patience.whole, _parsed)

    def content(self, request: Request, most: int = MOST_JSON) -> bytes:
        """The bytes of an answer; TooLarge over a cap."""
        return self._call(request, self.patience.whole, lambda chunks: _whole(chunks, most))

    def download(self, request: Request, target: Path, most: int) -> int:
        """Write an answer to a new file; its size in bytes. TooLarge over a cap."""
        return self._call(
            request, self.patience.transfer, lambda chunks: _kept(chunks, target, most)
        )

    # ---- inside --------------------------------------------------------------------------------

    def _call(self, request: Request, seconds: float, read: Callable[[Iterator[bytes]], T]) -> T:
        left = self.patience.waiting
        tries = self.patience.tries if request.repeatable else 1
        for number in range(1, tries + 1):
            try:
                return self._once(request, seconds, read)
            except Unreachable:
                raise  # who calls knows better whether to wait for it
            except (TooMany, Unavailable) as error:
                pause = _pause(error, number)
                if number == tries or pause > left:
                    raise
                left -= pause
            self._sleep(pause)
        raise AssertionError("the last try returns or raises")

    def _once(self, request: Request, seconds: float, read: Callable[[Iterator[bytes]], T]) -> T:
        with self._answer(request, seconds) as response:
            ends = time.monotonic() + seconds
            if 200 <= response.status < 300:
                return read(self._chunks(response, ends))
            raise self._refusal(response, self._chunks(response, ends))

    @contextlib.contextmanager
    def _answer(self, request: Request, seconds: float) -> Iterator[http.client.HTTPResponse]:
        silence = self.patience.silence + request.seconds
        route = route_to(self.address, silence)
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.closing(route.connection))
            headers = {**self._headers, **route.headers}
            body: bytes | IO[bytes] | None
            if isinstance(request.body, Path):
                headers["Content-Length"] = str(request.body.stat().st_size)
                body = stack.enter_context(request.body.open("rb"))
            else:
                body = request.body
            if request.type:
                headers["Content-Type"] = request.type
            target = f"{route.prefix}{self.address.path}{request.path}"
            try:
                _send(route.connection, request.method, target, body, headers)
                over = stack.enter_context(_ending(route.connection, silence + seconds))
                response = route.connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error) from error
            yield stack.enter_context(response)
            if over.is_set():
                raise self._unreachable(TimeoutError("its answer took too long"))

    def _chunks(self, response: http.client.HTTPResponse, ends: float) -> Iterator[bytes]:
        """The pieces of a body as they come; Unavailable when it ends early or is too slow."""
        while True:
            try:
                chunk = response.read1(CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error) from error
            if not chunk:
                break
            yield chunk
            if time.monotonic() > ends:
                raise self._unreachable(TimeoutError("its answer took too long"))
        if response.length:
            raise self._unreachable(OSError(f"the answer lacks {response.length:,} bytes"))

    def _refusal(self, response: http.client.HTTPResponse, chunks: Iterator[bytes]) -> HubError:
        if 300 <= response.status < 400:
            elsewhere = shown(response.getheader("Location") or "nowhere", 200)
            return HubError(
                response.status,
                f"The hub at {self.address.url} sends on to {elsewhere}, and a key is not carried "
                "elsewhere. If that is the hub's address, use it instead.",
            )
        body = b""
        for chunk in chunks:
            body += chunk
            if len(body) >= MOST_ERROR:
                break
        return _told(response, body, self.address.url)

    def _unreachable(self, error: Exception) -> HubError:
        import ssl

        if isinstance(error, ssl.SSLCertVerificationError):
            return HubError(
                502,
                f"The certificate of {self.address.url} cannot be trusted: {error.verify_message}. "
                "Check the address; SSL_CERT_FILE names a file with other authorities.",
            )
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return Unreachable(
            f"The hub at {self.address.url} cannot be reached: {clean_line(why, 200)}. "
            "Check the address, or try again later."
        )


def joined(*segments: object, **query: object) -> str:
    """A path of quoted segments, and a query of what is not None."""
    words = [str(segment) for segment in segments]
    for word in words:
        if word in ("", ".", ".."):
            raise BadInput(f"{shown(word)} cannot be part of an address.")
    path = "/" + "/".join(quote(word, safe="") for word in words)
    given = {name: _written(value) for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def as_body(value: Mapping[str, object]) -> bytes:
    """A JSON body of what is not None."""
    given = {name: item for name, item in value.items() if item is not None}
    try:
        return json.dumps(given, allow_nan=False).encode()
    except ValueError as error:
        raise BadInput(f"A number that is sent must be finite: {error}.") from error


def _send(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    body: bytes | IO[bytes] | None,
    headers: Mapping[str, str],
) -> None:
    connection.connect()
    # A hub that says no hangs up before it has heard all: its answer is there to be read.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.request(method, target, body, headers)


@contextlib.contextmanager
def _ending(connection: http.client.HTTPConnection, seconds: float) -> Iterator[threading.Event]:
    """Hang up on who has not answered whole by then, a byte now and then or not; set if so."""
    near, over = connection.sock, threading.Event()

    def hang_up() -> None:
        over.set()
        with contextlib.suppress(OSError):
            socket.socket.shutdown(near, socket.SHUT_RDWR)  # below TLS, which another thread reads

    timer = threading.Timer(seconds, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield over
    finally:
        timer.cancel()


def _written(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _checked_key(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise BadInput("The key has spaces or characters that no key has. Check where it is from.")
    return key


def _pause(error: HubError, number: int) -> float:
    """Seconds until the next try: as the hub asks, else longer each time, and never in step."""
    asked = getattr(error, "retry_after", None)
    if isinstance(asked, int) and asked > 0:
        return asked + random.uniform(0, 0.25)
    return 0.25 * 2.0**number * random.uniform(0.5, 1.0)


def _parsed(chunks: Iterator[bytes]) -> Any:
    body = _whole(chunks, MOST_JSON)
    try:
        return json.loads(body, parse_constant=_no_number) if body else {}
    except (ValueError, RecursionError) as error:
        raise HubError(
            502, f"The answer is no JSON: it begins with {shown(_text(body[:80]))}. Is it a hub?"
        ) from error


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _whole(chunks: Iterator[bytes], most: int) -> bytes:
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > most:
            raise TooLarge(f"The hub's answer has over {most:,} bytes, and no more are read.")
    return bytes(body)


def _kept(chunks: Iterator[bytes], target: Path, most: int) -> int:
    size = 0
    with target.open("wb") as file:
        for chunk in chunks:
            size += len(chunk)
            if size > most:
                raise TooLarge(f"What the hub sends has over {most:,} bytes; no more are taken.")
            file.write(chunk)
    return size


def _told(response: http.client.HTTPResponse, body: bytes, url: str) -> HubError:
    """The error that an answer means: as the hub's JSON says, or the status alone."""
    status = response.status
    try:
        told = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        told = None
    details = {str(name): value for name, value in told.items()} if isinstance(told, dict) else {}
    message = details.pop("error", None)
    if not isinstance(message, str) or not message.strip():
        begins = f": {shown(_text(body[:200]), 100)}" if body.strip() else ""
        message = f"The hub at {url} answers {status} {clean_line(response.reason, 60)}{begins}."
    if status in _AGAIN:
        details["retry_after"] = _seconds(details.get("retry_after"), response)
    return of_status(status, clean_line(message, 2_000), **details)


def _seconds(told: object, response: http.client.HTTPResponse) -> int | None:
    """When to come back, of the body or the header; None when neither says."""
    if isinstance(told, int) and 0 < told < 10**6:
        return told
    header = response.getheader("Retry-After") or ""
    return int(header) if re.fullmatch(r"[0-9]{1,6}", header) else None


def _text(body: bytes) -> str:
    return body.decode("utf-8", "replace")
