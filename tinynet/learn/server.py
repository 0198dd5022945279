"""The lab on the user's machine: Python's own http.server, on the loopback interface alone.

The page and its files are served by GET. They hold no secret. A call is a POST to /call with a token. The page has the
token from the fragment of its address, which browsers do not send, and which other pages cannot read. The lab runs what
a call sends, an edited backward pass. So a call needs all of these:

    the token     in the header X-Token
    its Host      this server's own address; the name of another site that points here is refused
    its Origin    this server's own, or none; a page of another site is refused
"""

import hmac
import json
import secrets
import sys
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from threading import Lock
from typing import Any

from tinynet.learn import lab

FILES: Mapping[str, tuple[str, str]] = {  # by path: file in page/, type
    "/": ("index.html", "text/html; charset=utf-8"), "/index.html": ("index.html", "text/html; charset=utf-8"),
    **{f"/{name}": (name, "text/css; charset=utf-8") for name in ("page.css", "lab.css")},
    **{f"/{name}": (name, "text/javascript; charset=utf-8") for name in ("page.js", "lab.js", "widgets.js")}}
LARGEST = 1 << 20  # bytes of a call
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
          "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")


class Server(ThreadingHTTPServer):
    """The server of a lab. `address` is what to open in a browser.

    >>> server = Server()
    >>> server.address.startswith("http://127.0.0.1:")
    True
    >>> server.server_close()
    """

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.token = secrets.token_urlsafe(24)
        self.lock = Lock()  # the lab keeps the state of a training run
        self.hosts = tuple(f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost"))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print what went wrong, unless the page was closed before its answer came."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    @property
    def address(self) -> str:
        return f"http://{self.hosts[0]}/#{self.token}"


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "tinynet", ""
    timeout = 60

    def log_message(self, format: str, *arguments: Any) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if self.headers.get("Host") not in self.server.hosts:
            self._refuse(403, "another host")
        elif path not in FILES:
            self._refuse(405 if path == "/call" else 404, "a call is a POST" if path == "/call" else "no such file")
        else:
            name, kind = FILES[path]
            self._send(200, (resources.files("tinynet.learn") / "page" / name).read_bytes(), kind)

    def do_POST(self) -> None:
        size = self.headers.get("Content-Length", "")
        if not (size.isascii() and size.isdigit() and int(size) <= LARGEST):
            self._refuse(413, f"a call has a length, of at most {LARGEST} bytes")
            return
        body, origin = self.rfile.read(int(size)), self.headers.get("Origin")
        if self.path != "/call":
            self._refuse(404, "no such call")
        elif self.headers.get("Host") not in self.server.hosts:
            self._refuse(403, "another host")
        elif origin is not None and origin not in [f"http://{host}" for host in self.server.hosts]:
            self._refuse(403, "another origin")
        elif not hmac.compare_digest(self.headers.get("X-Token", "").encode(), self.server.token.encode()):
            self._refuse(403, "a wrong token; open the address that `tinynet learn` has printed")
        else:
            self._answer(body)

    def _answer(self, body: bytes) -> None:
        try:
            name, arguments = json.loads(body)
            with self.server.lock:
                answer = lab.call(name, arguments)
        except (ValueError, TypeError, RecursionError) as error:
            self._refuse(400, str(error))
        else:
            self._send(200, answer, "application/octet-stream")

    def _refuse(self, code: int, reason: str) -> None:
        self.close_connection = True
        self._send(code, reason.encode(), "text/plain; charset=utf-8")

    def _send(self, code: int, content: bytes, kind: str) -> None:
        self.send_response(code)
        headers = {"Content-Type": kind, "Content-Length": str(len(content)), "Content-Security-Policy": POLICY,
                   "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
                   "Cross-Origin-Resource-Policy": "same-origin"}
        if self.close_connection:
            headers["Connection"] = "close"
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
