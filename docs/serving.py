"""Servers on this machine alone, in a thread: for what looks at pages with a browser."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

Server = TypeVar("Server", bound=ThreadingHTTPServer)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        """Print nothing."""


def files_of(folder: Path) -> ThreadingHTTPServer:
    """A server of the files in a folder, on a free port."""
    return ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """A server that answers, until the block ends."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
