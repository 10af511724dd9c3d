"""The page's server: on this machine alone, for whoever has the address with its token.

It listens on 127.0.0.1 and answers three paths from memory; no request names a file. An event must
come as JSON from the page itself: with the token, which stands in the address after ``#`` and is
therefore never sent by a browser on its own, with a ``Host`` that is this machine (against DNS
rebinding), and with no foreign ``Origin``. A page of another site can neither read nor send
anything, since it can set neither the header of the token nor the type of the content.
"""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from graphs.interactive.html import as_json, asset, leading, policy, served
from graphs.interactive.session import Session

HOST = "127.0.0.1"
MOST_BYTES, PATIENCE, MOST_DEEP = 1 << 16, 10.0, 20
TOKEN = "X-Graphs-Token"


class Server:
    """Serves one session; a context manager, and ``url`` is where.

    Args:
        session: whose events are answered.
        port: where to listen; 0 for any that is free.

    Raises:
        ValueError: a port that is none, or that is taken.
    """

    def __init__(self, session: Session, port: int = 0):
        if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port < 1 << 16:
            raise ValueError(f"expected a port from 0 to 65535, got {port!r}")
        self.session, self.token = session, secrets.token_urlsafe(24)
        try:
            self._http = _Http((HOST, port), _Handler)
        except OSError as error:
            raise ValueError(f"expected a free port, got {port}: {error.strerror}") from None
        self._http.page = self
        self._thread: threading.Thread | None = None
        self._door: Path | None = None

    @property
    def port(self) -> int:
        return int(self._http.server_address[1])

    @property
    def url(self) -> str:
        """The address of the page, with its token."""
        return f"http://{HOST}:{self.port}/#{self.token}"

    def door(self) -> str:
        """The address of a file that leads a browser to the page, for as long as it is served.

        What a browser is started with, other users of the machine can see; a file of one's own in
        a folder of one's own they cannot read.
        """
        if self._door is None:
            self._door = Path(tempfile.mkdtemp(prefix="graphs-")) / "open.html"
            self._door.touch(mode=0o600)
            self._door.write_text(leading(self.url), encoding="utf-8")
        return self._door.as_uri()

    def run(self) -> None:
        """Answer until interrupted."""
        try:
            self._http.serve_forever(poll_interval=0.2)
        finally:
            self.close()

    def start(self) -> Server:
        """Answer in the background, until :meth:`close`."""
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop answering, and give the port back."""
        if self._thread is not None:
            self._http.shutdown()
            self._thread.join()
            self._thread = None
        self._http.server_close()
        if self._door is not None:
            shutil.rmtree(self._door.parent, ignore_errors=True)
            self._door = None

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Server {self.url}>"


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    page: Server

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away, or was too slow, is no news."""


class _Refused(Exception):
    def __init__(self, status: HTTPStatus, why: str):
        super().__init__(why)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    server: _Http
    server_version, sys_version = "graphs", ""
    timeout = PATIENCE

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _answer(self, respond: Any) -> None:
        try:
            self._require_local()
            respond()
        except _Refused as refused:
            self._send(str(refused).encode(), "text/plain", status=refused.status)

    def _get(self) -> None:
        nonce = secrets.token_urlsafe(16)
        if self.path == "/":
            self._send(served(nonce).encode(), "text/html", nonce)
        elif self.path == "/page.js":
            self._send(asset("page.js").encode(), "text/javascript")
        elif self.path == "/page.css":
            self._send(asset("page.css").encode(), "text/css")
        elif self.path == "/favicon.ico":
            self._send(b"", "image/x-icon", status=HTTPStatus.NO_CONTENT)
        else:
            raise _Refused(HTTPStatus.NOT_FOUND, "expected /, got another path")

    def _post(self) -> None:
        if self.path != "/event":
            raise _Refused(HTTPStatus.NOT_FOUND, "expected /event, got another path")
        given = self.headers.get(TOKEN, "")
        if not secrets.compare_digest(given.encode(), self.server.page.token.encode()):
            raise _Refused(HTTPStatus.FORBIDDEN, "expected the token of the page's address")
        if self.headers.get("Content-Type", "").partition(";")[0].strip() != "application/json":
            raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected application/json")
        session = self.server.page.session
        self._send(as_json(session.handle(self._event())), "application/json")
        session.compile_ahead()

    def _event(self) -> Any:
        length, *others = self.headers.get_all("Content-Length", [""])
        number = length.isascii() and length.isdigit() and not others
        if not number or "Transfer-Encoding" in self.headers:
            raise _Refused(HTTPStatus.LENGTH_REQUIRED, "expected one Content-Length")
        if len(length) > 9 or int(length) > MOST_BYTES:
            why = f"expected at most {MOST_BYTES} bytes"
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, why)
        body = self.rfile.read(int(length))
        try:
            event = json.loads(body)
        except (ValueError, RecursionError):
            raise _Refused(HTTPStatus.BAD_REQUEST, "expected JSON") from None
        if len(body) < int(length) or _depth(event) > MOST_DEEP:
            raise _Refused(HTTPStatus.BAD_REQUEST, f"expected JSON at most {MOST_DEEP} deep")
        return event

    def _require_local(self) -> None:
        """Refuse what was sent to another name, or by a page of another site."""
        hosts = [f"{name}:{self.server.page.port}" for name in (HOST, "localhost")]
        if self.headers.get_all("Host", []) not in ([hosts[0]], [hosts[1]]):
            raise _Refused(HTTPStatus.FORBIDDEN, f"expected the host {hosts[0]}")
        origins = self.headers.get_all("Origin", [])
        if origins and origins not in ([f"http://{host}"] for host in hosts):
            raise _Refused(HTTPStatus.FORBIDDEN, "expected a request of the page itself")

    def _send(
        self,
        body: bytes,
        kind: str,
        nonce: str | None = None,
        status: HTTPStatus = HTTPStatus.OK,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header(
            "Content-Security-Policy", policy(nonce) if nonce else "default-src 'none'"
        )
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "DENY")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what is asked is nobody else's business."""


def _depth(value: Any) -> int:
    """How deep lists and dictionaries are nested; the parser has bounded it."""
    deepest, stack = 0, [(value, 1)]
    while stack:
        inner, depth = stack.pop()
        deepest = max(deepest, depth)
        if isinstance(inner, dict):
            stack += [(v, depth + 1) for v in inner.values()]
        elif isinstance(inner, list):
            stack += [(v, depth + 1) for v in inner]
    return deepest
