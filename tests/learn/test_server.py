"""The server of the lab answers its own page, and nothing else."""

import http.client
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from docs.serving import serving
from tests.support.project import ROOT
from tinynet.__main__ import main
from tinynet.backend import is_reference, using
from tinynet.learn import lab
from tinynet.learn.digits import drawn
from tinynet.learn.server import FILES, LARGEST, Server

PIXELS = (255 * drawn()[3]).astype(int).ravel().tolist()

PRIVATE = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
           "Cross-Origin-Resource-Policy": "same-origin"}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(Server()) as made:
        yield made


def answer(server: Server, method: str, path: str, body: bytes = b"",
           **headers: str) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body or None, named)
    response = connection.getresponse()
    found = response.status, response.read(), dict(response.getheaders())
    connection.close()
    return found


def test_the_page_and_its_files_are_served(server: Server) -> None:
    for path in FILES:
        status, body, headers = answer(server, "GET", path)
        assert status == 200 and body
        assert headers["Content-Security-Policy"].split("; ") == [
            "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:", "connect-src 'self'",
            "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"]
        assert headers["Content-Type"] == FILES[path][1] and headers["Server"].strip() == "tinynet"
        assert {name: headers[name] for name in PRIVATE} == PRIVATE
        assert server.token.encode() not in body
    kinds = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
    page = ROOT / "tinynet" / "learn" / "page"
    for path in (page / "index.html", *page.glob("*.css"), page / "page.js", page / "lab.js", page / "widgets.js"):
        for asked in (f"/{path.name}", *["/"] * (path.name == "index.html")):
            status, body, headers = answer(server, "GET", asked)
            assert (status, body, headers["Content-Type"]) == (
                200, path.read_bytes(), kinds.get(path.suffix, "text/html; charset=utf-8"))
    with Server() as other:
        assert len(other.token) == len(server.token) == 32 and other.token != server.token
        assert other.address == f"http://127.0.0.1:{other.server_port}/#{other.token}"
    assert answer(server, "GET", "/?again")[:2] == answer(server, "GET", "/index.html")[:2]
    assert answer(server, "GET", "/../server.py")[:2] == (404, b"no such file")
    assert answer(server, "GET", "/digit.npz")[0] == 404


def test_a_call_gets_what_the_lab_computes(server: Server) -> None:
    body = json.dumps(["gates", [PIXELS]]).encode()
    for more in ({}, {"Origin": f"http://127.0.0.1:{server.server_port}"}, {"Host": f"localhost:{server.server_port}"},
                 {"Origin": f"http://localhost:{server.server_port}"}):
        status, got, _ = answer(server, "POST", "/call", body, X_Token=server.token, **more)
        assert status == 200 and got == lab.call("gates", [PIXELS])


@pytest.mark.parametrize(("status", "method", "path", "headers"), [
    (403, "POST", "/call", {"X_Token": "wrong"}),
    (403, "POST", "/call", {}),
    (403, "POST", "/call", {"X_Token": "", "Host": ""}),
    (403, "POST", "/call", {"Host": "example.org"}),
    (403, "POST", "/call", {"Host": "127.0.0.1"}),
    (403, "POST", "/call", {"Origin": "http://example.org"}),
    (403, "POST", "/call", {"Origin": "null"}),
    (403, "GET", "/", {"Host": "example.org"}),
    (405, "GET", "/call", {}),
    (403, "POST", "/call", {"Origin": ""}),
    (404, "POST", "/", {}),
    (404, "POST", "/calls", {}),
    (404, "POST", "/call/", {}),
    (404, "POST", "/call?again", {}),
    (405, "GET", "/call?again", {}),
    (501, "PUT", "/call", {}),
    (501, "HEAD", "/", {}),
    (501, "OPTIONS", "/call", {"Origin": "http://example.org"}),
    (413, "POST", "/call", {"Content_Length": "-1"}),
    (413, "POST", "/call", {"Content_Length": str(LARGEST + 1)}),
    (413, "POST", "/call", {"Content_Length": "\u00b2"}),  # a digit, and no number
    (413, "POST", "/call", {"Content_Length": ""}),
])
def test_hostile_requests_are_refused(server: Server, status: int, method: str, path: str,
                                      headers: dict[str, str]) -> None:
    token = {} if headers == {} and method == "POST" and status == 403 else {"X_Token": server.token}
    got, body, sent = answer(server, method, path, b"" if "Content_Length" in headers else b'["source", []]',
                             **{**token, **headers})
    assert got == status and b"dlstm" not in body
    said = {404: "no such call", 405: "a call is a POST", 413: "a call has a length, of at most 1048576 bytes",
            403: "another host" if "Host" in headers else "another origin" if "Origin" in headers else
                 "a wrong token; open the address that `tinynet learn` has printed"}
    assert body.decode() == said[status] if status in said else status == 501
    assert "Access-Control-Allow-Origin" not in sent


def test_a_connection_is_kept_after_an_answer_and_closed_after_a_refusal(server: Server,
                                                                         capsys: pytest.CaptureFixture[str]) -> None:
    """The rest of a refused call is not read as another one. Nothing is printed."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    for path, status, closed in (("/", 200, False), ("/page.css", 200, False), ("/nothing", 404, True)):
        connection.request("GET", path)
        response = connection.getresponse()
        assert (response.status, response.version, response.getheader("Connection")) == (
            status, 11, "close" if closed else None)
        assert bool(response.read()) and (connection.sock is None) == closed
    assert capsys.readouterr() == ("", "")


def test_a_page_that_is_closed_is_no_error(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    for error, told in ((BrokenPipeError(), False), (KeyError("other"), True)):
        try:
            raise error
        except Exception:
            server.handle_error(None, ("127.0.0.1", 1))
        assert bool("".join(capsys.readouterr())) == told


def test_a_port_that_is_not_free(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    for port in (server.server_port, 70_000, -1):
        assert main(["learn", "--port", str(port), "--no-browser"]) == 1
        told = capsys.readouterr()
        assert told.out == "" and f"learn: port {port} must be a free port of this computer (" in told.err


@pytest.mark.parametrize(("call", "said"), [
    (["nothing", []], "lab: name must be one of products, softmax, "), (["gates", []], "gates: TypeError: "),
    (["gates", [[1, 2]]], "gates: ValueError: cannot reshape"), (["threads", [1, 2, 3]], "threads: TypeError: ")])
def test_what_a_wrong_call_is_told(call: list[Any], said: str, server: Server) -> None:
    status, text, headers = answer(server, "POST", "/call", json.dumps(call).encode(), X_Token=server.token)
    assert status == 400 and text.decode().startswith(said) and headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("body", [
    b"", b"[", b"5", b'["nothing", []]', b'["gates", []]', b'["gates", [[1, 2]]]', b'[["gates"], []]', b"[" * 100_000])
def test_a_call_without_meaning_is_an_error_in_one_sentence(server: Server, body: bytes) -> None:
    status, text, _ = answer(server, "POST", "/call", body, X_Token=server.token)
    assert status == 400 and text and b"Traceback" not in text
    assert answer(server, "GET", "/")[0] == 200


def test_the_largest_call_is_answered(server: Server) -> None:
    body = json.dumps(["gates", [PIXELS]]).encode().ljust(LARGEST)
    assert answer(server, "POST", "/call", body, X_Token=server.token)[0] == 200


def test_arrays_begin_at_a_multiple_of_four_bytes() -> None:
    """As a Float32Array of JavaScript must."""
    sizes = [int.from_bytes(lab.call("batch_norm", [steps, 1.0, 2.0])[:4], "little") for steps in range(1, 9)]
    assert [size % 4 for size in sizes] == [0] * 8 and len({*sizes}) > 1


def test_one_call_runs_at_a_time(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lab keeps the state of a training run. A page that stays open does not keep the server from ending."""
    monkeypatch.setitem(lab.CALLS, "locked", lambda: {"locked": server.lock.locked()})
    status, got, _ = answer(server, "POST", "/call", b'["locked", []]', X_Token=server.token)
    assert status == 200 and json.loads(got[4:])["plain"] == {"locked": True} and not server.lock.locked()
    assert answer(server, "POST", "/call", b'["nothing", []]', X_Token=server.token)[0] == 400
    assert not server.lock.locked() and server.daemon_threads and server.RequestHandlerClass.timeout == 60


def test_the_server_listens_on_this_computer_alone(server: Server) -> None:
    assert server.server_address == ("127.0.0.1", server.server_port)


def test_a_call_runs_without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the browser. The mode is that of before, afterwards."""
    monkeypatch.setitem(lab.CALLS, "mode", lambda: {"is_reference": is_reference()})
    assert json.loads(lab.call("mode", [])[4:])["plain"] == {"is_reference": True} and not is_reference()


def test_arrays_of_a_call() -> None:
    got = lab.call("convolve", [PIXELS, [0, 0, 0, 0, 1, 0, 0, 0, 0]])
    size = int.from_bytes(got[:4], "little")
    head = json.loads(got[4 : 4 + size])
    block = np.frombuffer(got[4 + size :], "<f4")
    shape, at = head["arrays"]["y"]
    y = block[at : at + int(np.prod(shape))].reshape(shape)
    np.testing.assert_allclose(y, np.reshape(PIXELS, (28, 28)) / 255, rtol=1e-6)


@pytest.mark.parametrize(("name", "arguments"), [("optimizers", [0.01, 20, 5]),
                                                 ("pooling", [PIXELS, "max pool 2 x 2"])])
def test_several_arrays_of_a_call_lie_one_behind_the_other(name: str, arguments: list[Any]) -> None:
    with using("reference"):
        got, expected = lab.call(name, arguments), lab.CALLS[name](*arguments)
    size = int.from_bytes(got[:4], "little")
    head, block, end = json.loads(got[4 : 4 + size]), np.frombuffer(got[4 + size :], "<f4"), 0
    for key, (shape, at) in head["arrays"].items():
        assert at == end
        end = at + int(np.prod(shape))
        np.testing.assert_array_equal(block[at:end].reshape(shape), np.float32(expected.pop(key)))
    assert end == block.size and head["plain"] == json.loads(json.dumps(expected)) and len(head["arrays"]) > 1
