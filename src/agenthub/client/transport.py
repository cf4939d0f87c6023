"""Requests to a hub: one address, one key, answers bounded in time and size.

Every call opens a connection of its own, through HTTPX's transport alone: no redirect is followed,
no cookie or password file is read, nothing is decompressed. A key goes to its own hub only.
"""

from __future__ import annotations

import contextlib
import functools
import json
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode

from agenthub.client.address import Address, parse_address, proxy_for
from agenthub.errors import BadInput, HubError, TooLarge, TooMany, Unavailable, of_status
from agenthub.validation import clean_line, shown

if TYPE_CHECKING:
    import ssl

    import httpx2

MIB = 2**20
MOST_JSON = 32 * MIB  # bytes of an answer
MOST_ERROR = 64 * 1024
JSON_TYPE = "application/json"
BUNDLE_TYPE = "application/octet-stream"
_HEADERS = {
    "Accept": JSON_TYPE,
    "Accept-Encoding": "identity",  # a compressed answer could be larger than any cap
    "Connection": "close",
    "User-Agent": "autoresearch",
}
_KEY = re.compile(r"[\x21-\x7e]{1,512}")
_BUSY = (429, 503)

T = TypeVar("T")
Json = dict[str, Any]


class Unreachable(Unavailable):
    """No answer or half of one: the hub is down, or something else is at its address."""


@dataclass(frozen=True)
class Timeouts:
    """How long the client waits for a hub."""

    silence: float = 30.0  # seconds without a byte
    whole: float = 120.0  # seconds of one small answer
    transfer: float = 3600.0  # seconds of one download
    tries: int = 4  # of a call that may be repeated
    waiting: float = 30.0  # seconds in all between tries


@dataclass(frozen=True)
class Request:
    """One call. `repeatable`: making it twice has the effect of making it once."""

    method: str
    path: str  # below the hub's address, quoted
    body: bytes | Path | None = None  # a path: the file is streamed
    type: str = ""  # of the body
    repeatable: bool = True
    seconds: float = 0.0  # of silence beyond the usual: a long poll, a long computation of the hub


class Transport:
    """A hub's address and a key; every method may be called from any thread."""

    def __init__(
        self,
        url: str,
        key: str = "",
        timeouts: Timeouts | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.address: Address = parse_address(url)
        self.timeouts = timeouts or Timeouts()
        self._sleep = sleep
        if key and not _KEY.fullmatch(key):
            raise BadInput(
                "The key has spaces or characters that no key has. Check where it is from."
            )
        self._headers = _HEADERS | ({"Authorization": f"Bearer {key}"} if key else {})

    def json(self, request: Request) -> Json:
        """The JSON object of an answer.

        A refusal raises the HubError of its status; no answer, or a hub that stays busy, raises
        Unavailable or TooMany.
        """
        return self._call(request, self.timeouts.whole, _parse)

    def content(self, request: Request, most: int = MOST_JSON) -> bytes:
        """The bytes of an answer; TooLarge if there are more than `most`."""
        return self._call(
            request, self.timeouts.whole, lambda chunks: b"".join(_capped(chunks, most))
        )

    def download(self, request: Request, target: Path, most: int) -> int:
        """Write an answer to a new file; its size in bytes. TooLarge if it has over `most`."""

        def save(chunks: Iterator[bytes]) -> int:
            with target.open("wb") as file:
                return sum(file.write(chunk) for chunk in _capped(chunks, most))

        return self._call(request, self.timeouts.transfer, save)

    # ---- inside --------------------------------------------------------------------------------

    def _call(self, request: Request, seconds: float, read: Callable[[Iterator[bytes]], T]) -> T:
        left = self.timeouts.waiting
        tries = self.timeouts.tries if request.repeatable else 1
        for number in range(1, tries + 1):
            try:
                with self._answer(request, seconds) as (response, chunks):
                    if 200 <= response.status_code < 300:
                        return read(chunks)
                    raise self._refusal(response, chunks)
            except Unreachable:
                raise  # the caller knows better whether to wait for the hub
            except (TooMany, Unavailable) as error:
                pause = _pause(error, number)
                if number == tries or pause > left:
                    raise
                left -= pause
            self._sleep(pause)
        raise AssertionError("the last try returns or raises")

    @contextlib.contextmanager
    def _answer(
        self, request: Request, seconds: float
    ) -> Iterator[tuple[httpx2.Response, Iterator[bytes]]]:
        """Send a request: its answer and the body's chunks. Unreachable if it fails or is late."""
        import httpx2

        silence = self.timeouts.silence + request.seconds
        headers = self._headers | ({"Content-Type": request.type} if request.type else {})
        with contextlib.ExitStack() as stack:
            body = request.body
            content = stack.enter_context(body.open("rb")) if isinstance(body, Path) else body
            deadline = stack.enter_context(_Deadline(silence + seconds))
            extensions = {"timeout": dict.fromkeys(_TIMEOUTS, silence), "trace": deadline.trace}
            try:
                url = f"{self.address.url}{request.path}"
                message = httpx2.Request(
                    request.method, url, headers=headers, content=content, extensions=extensions
                )
                proxy = proxy_for(self.address) or None
                connection = httpx2.HTTPTransport(self._trusted, trust_env=False, proxy=proxy)
                response = stack.enter_context(connection).handle_request(message)
                stack.callback(response.close)
                yield response, self._chunks(response, deadline)
            except httpx2.InvalidURL as error:
                raise BadInput(f"{shown(url, 200)} cannot be requested: {error}.") from error
            except httpx2.HTTPError as error:
                raise self._unreachable(_LATE if deadline.passed else error) from error

    def _chunks(self, response: httpx2.Response, deadline: _Deadline) -> Iterator[bytes]:
        yield from response.iter_raw()
        if deadline.passed:  # without a length, an answer that was cut off looks complete
            raise self._unreachable(_LATE)

    @functools.cached_property
    def _trusted(self) -> ssl.SSLContext:
        """The certificate authorities of this machine, or of SSL_CERT_FILE; none for http."""
        import ssl

        if self.address.scheme == "https":
            return ssl.create_default_context()
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def _refusal(self, response: httpx2.Response, chunks: Iterator[bytes]) -> HubError:
        """The error that an answer means: the text of the hub's JSON, or the status alone."""
        status = response.status_code
        if 300 <= status < 400:
            elsewhere = shown(response.headers.get("Location") or "nowhere", 200)
            return HubError(
                status,
                f"The hub at {self.address.url} redirects to {elsewhere}. Redirects are not "
                "followed, so that a key goes to its own hub only. If that is the hub's address, "
                "use it instead.",
            )
        body = b""
        for chunk in chunks:
            body += chunk
            if len(body) >= MOST_ERROR:
                break
        try:
            answer = json.loads(body, parse_constant=_reject_constant)
        except (ValueError, RecursionError):
            answer = None
        details = {str(k): value for k, value in answer.items()} if isinstance(answer, dict) else {}
        message = details.pop("error", None)
        if not isinstance(message, str) or not message.strip():
            begins = f": {shown(_text(body[:200]), 100)}" if body.strip() else ""
            reason = clean_line(response.reason_phrase, 60)
            message = f"The hub at {self.address.url} answers {status} {reason}{begins}."
        if status in _BUSY:
            header = response.headers.get("Retry-After", "")
            details["retry_after"] = _retry_after(details.get("retry_after"), header)
        return of_status(status, clean_line(message, 2_000), **details)

    def _unreachable(self, error: Exception) -> HubError:
        import ssl

        cause: BaseException = error
        while below := cause.__cause__ or next(
            (arg for arg in cause.args if isinstance(arg, BaseException)), None
        ):
            cause = below  # HTTPX wraps the system's error several times
        if isinstance(cause, ssl.SSLCertVerificationError):
            return HubError(
                502,
                f"The certificate of {self.address.url} cannot be trusted: {cause.verify_message}. "
                "Check the address; SSL_CERT_FILE names a file with other authorities.",
            )
        why = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
        return Unreachable(
            f"The hub at {self.address.url} cannot be reached: {clean_line(why, 200)}. "
            "Check the address, or try again later."
        )


_TIMEOUTS = ("connect", "read", "write", "pool")
_LATE = TimeoutError("its answer took too long")


class _Deadline:
    """Shuts a connection down when its answer is not complete in time.

    HTTPX bounds the wait for each byte, not for all of them: a hub that sends a byte now and then
    would hold its caller for ever.
    """

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._seconds = seconds
        self._socket: socket.socket | None = None
        self._timer: threading.Timer | None = None

    def __enter__(self) -> _Deadline:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """HTTPX calls this at each step: the time runs while the answer is awaited and read."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._socket = info["return_value"].get_extra_info("socket")
        elif event == "http11.send_request_headers.started":  # after a proxy's answer, too
            self._stop()
        elif event == "http11.receive_response_headers.started":
            self._timer = threading.Timer(self._seconds, self._shut_down)
            self._timer.daemon = True
            self._timer.start()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _shut_down(self) -> None:
        self.passed = True
        if self._socket is not None:
            with contextlib.suppress(OSError):  # below TLS, which another thread reads
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


# ---- paths and bodies --------------------------------------------------------------------------


def joined(*segments: object, **query: object) -> str:
    """A path of quoted segments, and a query of those parameters that are not None."""
    words = [str(segment) for segment in segments]
    for word in words:
        if word in ("", ".", ".."):
            raise BadInput(f"{shown(word)} cannot be part of an address.")
    path = "/" + "/".join(quote(word, safe="") for word in words)
    given = {
        name: str(int(value)) if isinstance(value, bool) else str(value)
        for name, value in query.items()
        if value is not None
    }
    return f"{path}?{urlencode(given)}" if given else path


def as_body(value: Mapping[str, object]) -> bytes:
    """A JSON body of the values that are not None."""
    given = {name: item for name, item in value.items() if item is not None}
    try:
        return json.dumps(given, allow_nan=False).encode()
    except ValueError as error:
        raise BadInput(f"A number that is sent must be finite: {error}.") from error


def as_object(value: Any) -> Json:
    """A part of an answer that must be an object; HubError when it is something else."""
    if isinstance(value, dict):
        return value
    raise HubError(502, "The hub's answer is not a JSON object. Is it a hub?")


def as_list(value: Any) -> list[Any]:
    """A part of an answer that must be a list; anything else counts as an empty one."""
    return value if isinstance(value, list) else []


# ---- answers -----------------------------------------------------------------------------------


def _pause(error: HubError, number: int) -> float:
    """Seconds until the next try: what the hub asks for, else longer each time; at random."""
    requested = getattr(error, "retry_after", None)
    if isinstance(requested, int) and requested > 0:
        return requested + random.uniform(0, 0.25)
    return 0.25 * 2.0**number * random.uniform(0.5, 1.0)


def _parse(chunks: Iterator[bytes]) -> Json:
    body = b"".join(_capped(chunks, MOST_JSON))
    try:
        return as_object(json.loads(body, parse_constant=_reject_constant) if body else {})
    except (ValueError, RecursionError) as error:
        raise HubError(
            502, f"The answer is not JSON: it begins with {shown(_text(body[:80]))}. Is it a hub?"
        ) from error


def _reject_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _capped(chunks: Iterator[bytes], most: int) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > most:
            raise TooLarge(f"The hub's answer has over {most:,} bytes; the rest is not read.")
        yield chunk


def _retry_after(value: object, header: str) -> int | None:
    """Seconds to wait, of the answer's body or its header; None when neither names them."""
    if isinstance(value, int) and 0 < value < 10**6:
        return value
    return int(header) if re.fullmatch(r"[0-9]{1,6}", header) else None


def _text(body: bytes) -> str:
    return body.decode("utf-8", "replace")
