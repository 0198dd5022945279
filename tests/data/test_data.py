"""Reading, downloading and batching data: the right values, and one clear error for each fault."""

import gzip
import hashlib
import http.server
import os
import socket
import struct
import subprocess
import sys
import threading
import tracemalloc
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.support.cuda_places import DEVICES
from tinynet import random
from tinynet.data import Loader, download_mnist, find_mnist, load, load_digits, load_mnist, read_idx, split
from tinynet.data.digits import download, mnist
from tinynet.data.digits import load as sources
from tinynet.data.digits import small as digits
from tinynet.data.digits.download import RemoteFile
from tinynet.errors import ArgumentError, DataError, DeviceError, ShapeError


def idx_bytes(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def small_mnist(train=6, test=4):
    """The bytes of four files in the format of MNIST, by their names without .gz, and the arrays in them."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", train), ("t10k", test)):
        arrays[f"{part}-images-idx3-ubyte"] = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{part}-labels-idx1-ubyte"] = rng.integers(0, 10, count, dtype=np.uint8)
    return {name: idx_bytes(array) for name, array in arrays.items()}, arrays


def write_mnist(folder, **changes):
    """Write the small MNIST compressed; `train_images=...` replaces the content of that file."""
    files, arrays = small_mnist()
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        key = "_".join(name.split("-")[:2])
        (folder / f"{name}.gz").write_bytes(gzip.compress(changes.get(key, content)))
    return arrays


# --- IDX ------------------------------------------------------------------------------------------------------------

ARRAY = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
PLAIN = idx_bytes(ARRAY)
PACKED = gzip.compress(PLAIN)


@pytest.mark.parametrize("name", ["images.gz", "images"])
@pytest.mark.parametrize("content", [PLAIN, PACKED], ids=["plain", "gzip"])
def test_idx_is_read_by_its_content_not_its_name(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    for given in (path, str(path)):
        array = read_idx(given, rank=3)
        assert array.dtype == np.uint8
        np.testing.assert_array_equal(array, ARRAY)


def test_idx_of_several_pieces_and_gzip_members(tmp_path):
    array = np.random.default_rng(1).integers(0, 256, (3 << 20) + 5, dtype=np.uint8)
    content = idx_bytes(array)
    path = tmp_path / "long"
    for written in (content, gzip.compress(content[:1000], 1) + gzip.compress(content[1000:], 1)):
        path.write_bytes(written)
        np.testing.assert_array_equal(read_idx(path, rank=1), array)


FAULTS = {
    "empty": (b"", "is empty; fetch it again"),
    "empty inside gzip": (gzip.compress(b""), "is empty; fetch it again"),
    "three bytes": (PLAIN[:3], "must start with 00 00 08 03"),
    "a web page": (b"<html>404</html>", "must start with 00 00 08 03 .* starts with 3c 68 74 6d; fetch it again"),
    "little-endian magic": (b"\x03\x08\x00\x00" + PLAIN[4:], "must start with 00 00 08 03"),
    "floats": (b"\0\0\x0d\3" + PLAIN[4:], r"must hold unsigned bytes \(type 08\), has type 0d; convert"),
    "another rank": (b"\0\0\x08\1" + PLAIN[4:], "must have rank 3, has rank 1; are images and labels swapped"),
    "short header": (PLAIN[:15], "ends within its header of 16 bytes, after 15; fetch"),
    "truncated": (PLAIN[:-1], "promises 2 x 3 x 4 = 24 bytes but ends after 23; fetch it again"),
    "no elements at all": (PLAIN[:16], "promises 2 x 3 x 4 = 24 bytes but ends after 0; fetch it again"),
    "one byte too many": (PLAIN + b"\0", "holds more than the 2 x 3 x 4 = 24 bytes .* promises; fetch it again"),
    "one too many, packed": (gzip.compress(PLAIN + b"\0"), "holds more than the 2 x 3 x 4 = 24 bytes"),
    "wrong count": (PLAIN[:7] + b"\3" + PLAIN[8:], "promises 3 x 3 x 4 = 36 bytes but ends after 24"),
    "count of zero": (PLAIN[:7] + b"\0" + PLAIN[8:], "must hold 1 to 1,073,741,824 bytes, .* promises 0 x 3 x 4 = 0"),
    "64 GiB promised": (PLAIN[:4] + b"\xff" * 12 + PLAIN[16:], "must hold 1 to 1,073,741,824 bytes"),
    "gzip cut off": (PACKED[:-9], "starts as a gzip file but is damaged .*; fetch it again"),
    "gzip checksum": (PACKED[:-8] + b"\0\0\0\0" + PACKED[-4:], "starts as a gzip file but is damaged .*CRC"),
    "gzip header alone": (PACKED[:2], "starts as a gzip file but is damaged"),
    "gzip bad deflate": (PACKED[:10] + b"\xff" * 20, "starts as a gzip file but is damaged"),
    "gzip and rubbish": (PACKED + b"rubbish", "starts as a gzip file but is damaged"),
    "gzip twice": (gzip.compress(PACKED), "must start with 00 00 08 03 .* starts with 1f 8b"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_idx_damage_is_one_error_that_names_file_and_fault(tmp_path, fault):
    content, message = FAULTS[fault]
    path = tmp_path / "images-file"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"^read_idx: .*images-file .*{message}") as caught:
        read_idx(path, rank=3)
    assert "\n" not in str(caught.value)


def test_idx_limit_holds_to_the_byte(tmp_path):
    path = tmp_path / "images"
    path.write_bytes(PLAIN)
    assert read_idx(path, rank=3, limit=24).size == 24
    with pytest.raises(DataError, match="must hold 1 to 23 bytes, its header promises 2 x 3 x 4 = 24"):
        read_idx(path, rank=3, limit=23)


def test_idx_paths_that_are_no_files(tmp_path):
    with pytest.raises(DataError, match="is a folder, not a file; name the file in it"):
        read_idx(tmp_path, rank=3)
    with pytest.raises(DataError, match="nothing is not there; check the path"):
        read_idx(tmp_path / "nothing", rank=3)
    with pytest.raises(DataError, match="is not there"):
        read_idx(tmp_path / "zero\0byte", rank=3)
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(tmp_path / ("long" * 1000), rank=3)


def test_idx_does_not_read_from_devices_and_pipes():
    with pytest.raises(DataError, match="null is not a regular file; copy"):
        read_idx("/dev/null", rank=3)


def test_idx_unreadable(tmp_path, monkeypatch):
    path = tmp_path / "images"
    path.write_bytes(PLAIN)

    def refuse(self, mode):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)  # a file without permissions would still open for root
    with pytest.raises(DataError, match=r"images cannot be read \(Permission denied\); check its permissions"):
        read_idx(path, rank=3)


@pytest.mark.parametrize("rank", [0, 65])
def test_idx_rank(rank):
    with pytest.raises(ArgumentError, match=f"rank must be an integer from 1 to 64, got {rank}; do images have 3"):
        read_idx("images", rank=rank)


def peak_of_failure(path, **options):
    tracemalloc.start()
    try:
        with pytest.raises(DataError) as caught:
            read_idx(path, rank=1, **options)
        return tracemalloc.get_traced_memory()[1], str(caught.value)
    finally:
        tracemalloc.stop()


def test_idx_gzip_bomb_takes_no_memory(tmp_path):
    path = tmp_path / "bomb"
    zeros = gzip.compress(bytes(1 << 24), 1) * 64  # 1 GiB in less than 8 MB
    path.write_bytes(gzip.compress(idx_bytes(np.zeros(10, np.uint8))) + zeros)
    peak, message = peak_of_failure(path)
    assert "holds more than the 10 bytes" in message and peak < 4 << 20

    promise = b"\0\0\x08\1" + struct.pack(">I", 1 << 30)
    path.write_bytes(gzip.compress(promise) + zeros)
    peak, message = peak_of_failure(path, limit=1 << 20)
    assert "promises 1,073,741,824" in message and peak < 4 << 20

    path.write_bytes(promise + b"seven..")  # trusting this header would take a gigabyte
    peak, message = peak_of_failure(path)
    assert "promises 1,073,741,824 bytes but ends after 7;" in message and peak < 4 << 20


# --- MNIST ----------------------------------------------------------------------------------------------------------


def test_mnist_values(tmp_path):
    arrays = write_mnist(tmp_path)
    data = load_mnist(tmp_path)
    np.testing.assert_array_equal(data.train_images, arrays["train-images-idx3-ubyte"])
    np.testing.assert_array_equal(data.train_labels, arrays["train-labels-idx1-ubyte"])
    np.testing.assert_array_equal(data.test_images, arrays["t10k-images-idx3-ubyte"])
    np.testing.assert_array_equal(data.test_labels, arrays["t10k-labels-idx1-ubyte"])
    assert data.train_images.dtype == np.uint8 and data.train_labels.dtype == np.int64
    assert data.name == "mnist" and data.classes == tuple("0123456789")
    assert repr(data) == "Dataset('mnist': 6 images to train and 4 to test, 28 x 28, 10 classes)"
    with pytest.raises(AttributeError):
        data.name = "other"


@pytest.mark.parametrize("rename", [lambda name: name, lambda name: name + ".gz",
                                    lambda name: name.replace("-idx", ".idx"),
                                    lambda name: name.replace("-idx", ".idx") + ".gz"])
def test_mnist_spellings(tmp_path, rename):
    files, arrays = small_mnist()
    for name, content in files.items():
        (tmp_path / rename(name)).write_bytes(content)
    np.testing.assert_array_equal(load_mnist(str(tmp_path)).test_images, arrays["t10k-images-idx3-ubyte"])


@pytest.mark.parametrize(("change", "message"), [
    ({"train_labels": idx_bytes(np.zeros(5, np.uint8))},
     "train-images-idx3-ubyte.gz holds 6 images, but .*train-labels-idx1-ubyte.gz 5 labels; take both from the same"),
    ({"t10k_labels": idx_bytes(np.array([0, 9, 10, 3], np.uint8))},
     "t10k-labels-idx1-ubyte.gz must hold labels of 0 to 9, label 2 is 10; fetch it again"),
    ({"t10k_images": idx_bytes(np.zeros((4, 28, 27), np.uint8))}, "must hold images of 28 x 28, holds 28 x 27; resize"),
    ({"train_images": idx_bytes(np.zeros(6, np.uint8))}, "must have rank 3, has rank 1"),
    ({"train_images": b""}, "train-images-idx3-ubyte.gz is empty"),
])
def test_mnist_that_does_not_fit_together(tmp_path, change, message):
    write_mnist(tmp_path, **change)
    with pytest.raises(DataError, match=message):
        load_mnist(tmp_path)


@pytest.mark.parametrize("name", [file.name for file in mnist.FILES])
def test_mnist_with_a_file_missing(tmp_path, name):
    write_mnist(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(DataError, match=f"load_mnist: .* holds no {name}; all four files are needed"):
        load_mnist(tmp_path)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder without data, and no TINYNET_DATA."""
    monkeypatch.delenv("TINYNET_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_mnist_is_found(home, monkeypatch):
    cache, root = home / "cache" / "tinynet" / "mnist", home / "data"
    assert find_mnist() is None
    write_mnist(cache)
    assert find_mnist() == cache
    monkeypatch.setenv("TINYNET_DATA", str(root))
    assert find_mnist() == cache
    write_mnist(root / "mnist")
    assert find_mnist() == root / "mnist"
    write_mnist(root)
    assert find_mnist() == root


def test_mnist_in_part_is_found_where_the_user_put_it_but_not_in_the_cache(home, monkeypatch):
    cache, root = home / "cache" / "tinynet" / "mnist", home / "data"
    for folder in (cache, root):
        write_mnist(folder)
        (folder / mnist.FILES[0].name).unlink()
    assert find_mnist() is None
    monkeypatch.setenv("TINYNET_DATA", str(root))
    assert find_mnist() == root


@pytest.mark.parametrize("value", ["", "not/absolute"])
def test_cache_without_an_absolute_xdg_cache_home(monkeypatch, value):
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    monkeypatch.setenv("HOME", "/somewhere")
    assert mnist.cache_folder() == Path("/somewhere/.cache/tinynet/mnist")


def test_mnist_in_a_folder_that_cannot_be_read(home, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(DataError, match=r"find_mnist: .* cannot be read \(Permission denied\); check its permissions"):
        find_mnist()


@pytest.mark.skipif("TINYNET_DATA" not in os.environ, reason="TINYNET_DATA is not set")
def test_the_real_mnist():
    folder = find_mnist()
    if folder is None:
        pytest.skip("there is no MNIST in TINYNET_DATA")
    data = load_mnist(folder)
    assert data.train_images.shape == (60000, 28, 28) and data.test_images.shape == (10000, 28, 28)
    assert data.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert np.bincount(data.test_labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert round(data.train_images.mean() / 255, 4) == 0.1307 and round(data.train_images.std() / 255, 4) == 0.3081
    assert all(file.is_in(folder) for file in mnist.FILES)


# --- Download -------------------------------------------------------------------------------------------------------


@contextmanager
def mirror(respond):
    """A web server on this machine; `respond(handler, name)` answers a request.

    Yields its address and the requested names, without the first request, which only tests for an answer.
    """
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.removeprefix("/mnist/")
            asked.append(name)
            respond(self, name)

        def log_message(self, *arguments):
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, request, client_address):
            pass  # the client closes early, as it should

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/mnist/", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def send(handler, content, length=None):
    handler.send_response(200)
    if length is not None:
        handler.send_header("Content-Length", str(length))
    handler.end_headers()
    handler.wfile.write(content)


@pytest.fixture
def remote(monkeypatch):
    """The content of four small files that stand for MNIST's in `download_mnist`, by their names."""
    content = {f"{name}.gz": gzip.compress(file, mtime=0) for name, file in small_mnist()[0].items()}
    files = [RemoteFile(name, len(file), hashlib.sha256(file).hexdigest()) for name, file in content.items()]
    monkeypatch.setattr(mnist, "FILES", tuple(files))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "STALL_SECONDS", 0.3)
    return content


def good(remote):
    return lambda handler, name: send(handler, remote[name], len(remote[name]))


def not_found(handler, name):
    handler.send_error(404)


def test_pinned_files():
    assert [(file.name, file.size, file.sha256) for file in mnist.FILES] == [
        ("train-images-idx3-ubyte.gz", 9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        ("train-labels-idx1-ubyte.gz", 28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        ("t10k-images-idx3-ubyte.gz", 1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        ("t10k-labels-idx1-ubyte.gz", 4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ]
    assert (download.CONNECT_SECONDS, download.STALL_SECONDS, download.TRANSFER_SECONDS) == (3, 10, 300)
    assert len(mnist.MIRRORS) >= 2 and all(url.startswith("https://") and url.endswith("/") for url in mnist.MIRRORS)


def test_download(remote, home, monkeypatch):
    with mirror(good(remote)) as (url, asked):
        monkeypatch.setattr(mnist, "MIRRORS", (url,))
        folder = download_mnist()
        assert folder == home / "cache" / "tinynet" / "mnist" == find_mnist()
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == remote
        assert sorted(asked[1:]) == sorted(remote) and asked[0] == min(remote, key=lambda name: len(remote[name]))
        assert len(load_mnist(folder).train_images) == 6

        damaged, absent = list(remote)[:2]  # only these are fetched again
        (folder / damaged).write_bytes(remote[damaged][:-1] + b"!")
        (folder / absent).unlink()
        asked.clear()
        download_mnist(folder)
        assert asked[1:] == [damaged, absent]
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == remote

        asked.clear()
        download_mnist(folder)
        assert asked == []


def test_download_goes_on_to_the_next_mirror(remote, tmp_path):
    def wrong(handler, name):
        send(handler, bytes(len(remote[name])))

    for bad in (not_found, wrong):
        with mirror(bad) as (first, _), mirror(good(remote)) as (second, _):
            folder = tmp_path / bad.__name__
            assert download_mnist(folder, mirrors=[first, second]) == folder
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == remote


def test_download_keeps_what_a_mirror_gave_before_it_failed(remote, tmp_path):
    names = list(remote)

    def two_only(handler, name):
        (good(remote) if name in (names[0], names[3]) else not_found)(handler, name)

    with mirror(two_only) as (url, _), pytest.raises(DataError, match="3 of 4 files could not be fetched") as caught:
        download_mnist(tmp_path, mirrors=[url])
    assert [path.name for path in tmp_path.iterdir()] == [names[0]]
    assert names[0] not in str(caught.value) and all(name in str(caught.value) for name in names[1:])


def stalled(released):
    def respond(handler, name):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b"some")
        handler.wfile.flush()
        released.wait(20)

    return respond


def dripping(released):
    def respond(handler, name):
        handler.send_response(200)
        handler.end_headers()
        for _ in range(100):
            if released.wait(0.05):
                break
            handler.wfile.write(b".")
            handler.wfile.flush()

    return respond


def test_download_of_something_else_leaves_nothing_behind(remote, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TRANSFER_SECONDS", 1.0)
    released = threading.Event()
    served = []

    def endless(handler, name):
        handler.send_response(200)
        handler.end_headers()
        while True:  # until the client closes
            handler.wfile.write(bytes(1 << 16))
            served.append(1 << 16)

    cases = {
        "wrong bytes": (lambda handler, name: send(handler, bytes(len(remote[name]))),
                        r"is not the right file .([\d,]+) of \1 bytes"),
        "truncated": (lambda handler, name: send(handler, remote[name][:-1]), "is not the right file .* of .* bytes"),
        "truncated against its length": (lambda handler, name: send(handler, remote[name][:-1], len(remote[name])),
                                         "is not the right file|broke off"),
        "oversized": (lambda handler, name: send(handler, remote[name] + b"!"), "is not the right file .more than"),
        "endless": (endless, "is not the right file .more than"),
        "no HTTP": (lambda handler, name: handler.wfile.write(b"220 mail ready\r\n\r\n"), "220 mail"),
        "stalled": (stalled(released), "broke off after 4 bytes .*timed out"),
        "dripping": (dripping(released), "broke off after .* bytes .not finished after 1 seconds"),
        "not found": (not_found, "404"),
    }
    for name, (respond, message) in cases.items():
        folder = tmp_path / name
        folder.mkdir()
        with mirror(respond) as (url, _):
            with pytest.raises(DataError, match=message):
                download_mnist(folder, mirrors=[url])
            released.set()
        released.clear()
        assert list(folder.iterdir()) == [], name
    assert sum(served) < 64 << 20  # the buffers of two connections


def offline_message(folder, mirrors):
    with pytest.raises(DataError, match="download: 4 of 4 files could not be fetched") as caught:
        download_mnist(folder, mirrors=mirrors)
    assert not folder.exists()
    return str(caught.value)


def test_download_without_an_answer(home, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "CONNECT_SECONDS", 0.5)
    folder = home / "new"
    with socket.create_server(("127.0.0.1", 0), backlog=8) as silent:  # connects, but never accepts
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        message = offline_message(folder, [url, f"{url}second/"])
    assert message.count("no answer within 0.5 seconds") + message.count("timed out") == 2
    assert f"put these files into {folder} yourself" in message
    for file in mnist.FILES:
        assert f"{file.name}  {file.size:,} bytes  SHA-256 {file.sha256}" in message


def test_download_without_a_name_resolver(home, monkeypatch):
    resolved = threading.Event()

    def hang(*arguments, **options):
        resolved.wait(20)
        raise socket.gaierror("too late")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        message = offline_message(home / "new", mnist.MIRRORS)
        assert message.count("no answer within 3 seconds") == len(mnist.MIRRORS)
    finally:
        resolved.set()


def test_download_with_connections_refused(home, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    assert "refused" in offline_message(home / "new", [url])
    assert "no address  unknown url type" in offline_message(home / "new", ["no address"])


def test_download_answers_although_one_mirror_is_silent(remote, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "CONNECT_SECONDS", 60.0)
    with socket.create_server(("127.0.0.1", 0)) as silent, mirror(good(remote)) as (url, _):
        download_mnist(tmp_path, mirrors=[f"http://127.0.0.1:{silent.getsockname()[1]}/", url])
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(9999, socket.MSG_PEEK).startswith(b"GET")
            connection.setblocking(False)
            connection.recv(9999)
            with pytest.raises(BlockingIOError):  # no end yet: the silent mirror is still being waited for
                connection.recv(1)
    assert len(list(tmp_path.iterdir())) == 4


def test_download_that_cannot_be_written(remote, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    with mirror(good(remote)) as (url, _):
        with pytest.raises(DataError, match=r"download: .*train-images.* cannot be written .*; name another folder"):
            download_mnist(tmp_path / "file" / "below", mirrors=[url])

        def full(descriptor):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(DataError, match=r"cannot be written \(No space left on device\)"):
            download_mnist(tmp_path / "full", mirrors=[url])
        assert list((tmp_path / "full").iterdir()) == []


# --- Digits ---------------------------------------------------------------------------------------------------------


def test_enlarging_is_bilinear():
    images = np.random.default_rng(2).integers(0, 17, (3, 8, 8))
    at = np.clip((np.arange(28) + 0.5) * 8 / 28 - 0.5, 0, 7)
    rows = np.stack([[np.interp(at, np.arange(8), column) for column in image.T] for image in images])  # (3, 8, 28)
    both = np.stack([[np.interp(at, np.arange(8), row) for row in image.T] for image in rows])  # (3, 28, 28)
    result = digits.enlarge(images, 28, brightest=16)
    assert result.dtype == np.uint8
    assert np.abs(result - both * 255 / 16).max() <= 0.5 + 1e-9


def test_enlarging_keeps_what_is_uniform():
    for value, expected in ((0, 0), (8, 128), (16, 255)):
        assert np.unique(digits.enlarge(np.full((1, 8, 8), value), 28, brightest=16)).tolist() == [expected]


def test_digits():
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    data = load_digits()
    assert data.train_images.shape == (1437, 28, 28) and data.test_images.shape == (360, 28, 28)
    assert data.train_images.dtype == np.uint8 and data.train_labels.dtype == np.int64
    assert data.train_images.min() == 0 and data.train_images.max() == 255
    assert (np.bincount(data.train_labels) > 120).all() and (np.bincount(data.test_labels) > 20).all()
    source = sklearn_datasets.load_digits()
    images = digits.enlarge(source.images.astype(np.int64), 28, brightest=16)
    where = {image.tobytes(): index for index, image in enumerate(images)}
    train, test = ([where[image.tobytes()] for image in part] for part in (data.train_images, data.test_images))
    assert sorted(train + test) == list(range(1797))
    np.testing.assert_array_equal(source.target[train], data.train_labels)
    np.testing.assert_array_equal(source.target[test], data.test_labels)


def test_digits_are_split_alike_whatever_the_seed():
    pytest.importorskip("sklearn")
    random.seed(5)
    first = load_digits()
    random.seed(6)
    np.testing.assert_array_equal(first.test_images, load_digits().test_images)


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(DataError, match=r"load_digits: .*scikit-learn.*; pip install scikit-learn"):
        load_digits()


# --- Choosing a source ----------------------------------------------------------------------------------------------


@pytest.fixture
def offline(home, monkeypatch):
    def fail(folder=None):
        raise DataError("download: no network")

    monkeypatch.setattr(sources, "download_mnist", fail)
    return home


def test_load_digits_by_name(offline):
    pytest.importorskip("sklearn")
    data, sentence = load("digits")
    assert data.name == "digits" and "1,797" in sentence


@pytest.mark.parametrize("source", ["auto", "mnist"])
def test_load_what_is_found(offline, monkeypatch, source):
    write_mnist(offline / "mnist")
    monkeypatch.setenv("TINYNET_DATA", str(offline))
    data, sentence = load(source)
    assert data.name == "mnist" and sentence == f"MNIST from {offline / 'mnist'}."


@pytest.mark.parametrize("source", ["auto", "mnist"])
def test_load_what_can_be_downloaded(remote, home, monkeypatch, source):
    with mirror(good(remote)) as (url, _):
        monkeypatch.setattr(mnist, "MIRRORS", (url,))
        data, sentence = load(source)
    assert data.name == "mnist" and len(data.test_images) == 4 and "cache" in sentence


def test_load_auto_falls_back_to_digits_in_one_sentence(offline):
    pytest.importorskip("sklearn")
    data, sentence = load()
    assert data.name == "digits"
    assert sentence.startswith("scikit-learn's 1,797 real 8x8 digits, enlarged to 28x28, in place of MNIST, which")
    assert sentence.count(". ") == 0 and "TINYNET_DATA are used." in sentence


def test_load_auto_without_anything_names_both_ways_out(offline, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(DataError, match=r"pip install scikit-learn\ndownload: no network"):
        load("auto")


def test_load_mnist_never_falls_back(offline):
    with pytest.raises(DataError, match="download: no network"):
        load("mnist")


@pytest.mark.parametrize("source", ["auto", "mnist"])
@pytest.mark.parametrize("place", ["data", "cache/tinynet/mnist"])
def test_load_damaged_files_never_falls_back(offline, monkeypatch, source, place):
    monkeypatch.setenv("TINYNET_DATA", str(offline / "data"))
    write_mnist(offline / place, t10k_labels=b"rubbish")
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte.gz must start with"):
        load(source)


def test_load_folder(offline):
    write_mnist(offline / "here" / "mnist")
    for folder in (offline / "here", str(offline / "here"), offline / "here" / "mnist"):
        data, sentence = load(folder)
        assert len(data.train_images) == 6 and sentence == f"MNIST from {offline / 'here' / 'mnist'}."
    with pytest.raises(DataError, match=r"load: source must be 'auto', 'mnist', 'digits' or a folder .*'.*nothing'"):
        load(offline / "nothing")
    (offline / "a file").write_bytes(b"")
    assert mnist.find_below(offline / "a file") is None  # no folder
    (offline / "here" / "mnist" / mnist.FILES[2].name).unlink()
    with pytest.raises(DataError, match="holds no t10k-images"):
        load(offline / "here")


# --- Loader ---------------------------------------------------------------------------------------------------------


def order(loader):
    return np.concatenate([batch for batch, in loader]).tolist()


def test_loader_in_order():
    x, y = np.arange(20.0).reshape(10, 2), np.arange(10)
    loader = Loader(x, y, batch_size=4)
    batches = list(loader)
    assert len(loader) == len(batches) == 3
    assert [len(b) for _, b in batches] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate([a for a, _ in batches]), x)
    np.testing.assert_array_equal(np.concatenate([b for _, b in batches]), y)
    assert all(type(batch) is tuple for batch in batches) and loader.threads == 0
    assert not np.shares_memory(batches[0][0], x)


@pytest.mark.parametrize("device", DEVICES)
def test_batches_made_on_a_device_are_those_of_the_host(device: str) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (11, 3, 5), np.uint8), rng.integers(0, 9, 11)

    def scaled(images: Any, labels: Any) -> Any:
        return images.astype("float32") / 255, labels

    here, there = (Loader(images, labels, batch_size=4, shuffle=True, seed=1, transform=scaled, device=place)
                   for place in ("cpu", device))
    for _ in range(2):
        host, elsewhere = list(here), list(there)
        assert len(host) == len(elsewhere) == 3
        for batch, other in zip(host, elsewhere, strict=True):
            for array, on_device in zip(batch, other, strict=True):
                assert tn.backend.device_of(on_device) == device
                np.testing.assert_array_equal(array, on_device.get())
                assert array.dtype == on_device.dtype


def test_a_pass_over_indices_is_one_over_batches() -> None:
    """And keeps the position. For a subclass, and for batches of similar length, indices do not tell the batch."""
    class Other(Loader):
        pass

    def numbers(batches: Any) -> Any:
        return [[row.get().tolist() for row in batch] for batch in batches]

    given: dict[str, Any] = {"batch_size": 4, "shuffle": True, "seed": 1, "device": "gpu-emulated"}
    loader, same = (Loader(np.arange(6), **given) for _ in range(2))
    indices = loader.indices()
    first = loader.batch(next(indices))
    assert loader.state_dict() == {"epoch": 0, "batch": 1}
    assert numbers([first, *map(loader.batch, indices)]) == numbers(same)
    assert loader.state_dict() == {"epoch": 1, "batch": 0}
    for one in (loader, same):
        one.load_state_dict({"epoch": 3, "batch": 1})
    rest = numbers(map(loader.batch, loader.indices()))
    assert rest == numbers(same) and len(rest) == 1
    assert loader.state_dict() == {"epoch": 4, "batch": 0}
    changed = Loader(np.arange(6), np.arange(6), **given, transform=lambda a, b: (a + b, a))
    for number, index in enumerate(changed.indices()):
        both, rows = changed.batch(index)
        assert (both == 2 * rows).all() and rows.get().tolist() == index.get().tolist() and len(rows) == [4, 2][number]
    assert loader.has_indices() and not Other(np.arange(6), **given).has_indices()
    assert not Loader(np.arange(6), **given, lengths=np.arange(6), bucket=1).has_indices()
    assert not Loader(np.arange(6), **{**given, "device": "cpu"}).has_indices()


def test_what_does_not_go_with_a_device() -> None:
    images = np.zeros((4, 8, 8, 1), np.uint8)
    with pytest.raises(ArgumentError, match="augment"):
        Loader(images, batch_size=2, augment=tn.data.Augment(shift=0.1), device="gpu-emulated")
    with pytest.raises(ArgumentError, match=r"Loader: array 1 must be an array in memory .*, got Lazy; leave"):
        Loader(np.arange(4), Lazy(images), batch_size=2, device="gpu-emulated")
    with pytest.raises(DeviceError):
        Loader(images, batch_size=2, device="cuda")


class Lazy:
    """Reads rows when it is indexed."""

    dtype = np.dtype(np.uint8)

    def __init__(self, images: np.ndarray) -> None:
        self.images, self.shape = images, images.shape

    def __getitem__(self, index: Any) -> np.ndarray:
        return self.images[index]



@pytest.mark.parametrize(("batch_size", "drop_last", "sizes"), [
    (4, True, [4, 4]), (5, False, [5, 5]), (5, True, [5, 5]), (10, True, [10]), (11, False, [10]), (1, False, [1] * 10),
])
def test_loader_sizes_of_batches(batch_size, drop_last, sizes):
    loader = Loader(np.arange(10), batch_size=batch_size, drop_last=drop_last)
    assert [len(batch) for batch, in loader] == sizes and len(loader) == len(sizes)


def test_loader_order_is_the_formula():
    loader = Loader(np.arange(100), batch_size=32, shuffle=True, seed=7)
    for epoch in range(3):
        assert loader.epoch == epoch
        assert order(loader) == random.permutation(100, (7, random.stream("shuffle")), epoch).tolist()


def test_loader_order_is_fixed():
    """A newer version must repeat the runs of an older one."""
    assert order(Loader(np.arange(10), batch_size=10, shuffle=True, seed=0)) == [9, 7, 4, 6, 8, 0, 1, 5, 3, 2]


def test_loader_goes_on_at_an_epoch():
    whole = Loader(np.arange(50), batch_size=8, shuffle=True, seed=3)
    orders = [order(whole) for _ in range(5)]
    assert len({tuple(each) for each in orders}) == 5
    resumed = Loader(np.arange(50), batch_size=8, shuffle=True, seed=3)
    resumed.epoch = 3
    assert [order(resumed) for _ in range(2)] == orders[3:]


def test_loader_position_is_that_of_the_epoch_it_is_set_to():
    """A pass that was left has no say in it."""
    loader = Loader(np.arange(9), batch_size=2, shuffle=True, seed=0)
    passing = iter(loader)
    next(passing)
    assert loader.state_dict() == {"epoch": 0, "batch": 1}
    loader.epoch = 5
    assert loader.state_dict() == {"epoch": 5, "batch": 0}
    loader.load_state_dict({"epoch": 2, "batch": 5})
    assert loader.state_dict() == {"epoch": 2, "batch": 5} and not list(loader)
    assert loader.state_dict() == {"epoch": 3, "batch": 0}
    passing = iter(loader)
    next(passing)
    loader.load_state_dict({"epoch": 4, "batch": 3})
    assert loader.state_dict() == {"epoch": 4, "batch": 3}


@pytest.mark.parametrize("state", [{"epoch": -1, "batch": 1}, {"epoch": 1, "batch": 6}, {"epoch": 2.0, "batch": 1},
                                   {"epoch": 2**63, "batch": 0}, {"epoch": 1, "batch": True}, {"epoch": 1},
                                   {"batch": 1}], ids=str)
def test_a_position_that_a_loader_does_not_have_changes_nothing(state):
    loader = Loader(np.arange(9), batch_size=2)
    loader.load_state_dict({"epoch": 2, "batch": 4})
    with pytest.raises(ArgumentError, match="was it saved for the same data and batch size"):
        loader.load_state_dict(state)
    assert loader.state_dict() == {"epoch": 2, "batch": 4} and [batch.tolist() for batch, in loader] == [[8]]


def test_loader_counts_the_passes_begun():
    loader = Loader(np.arange(9), batch_size=2, shuffle=True, seed=0)
    for _ in loader:
        break
    assert loader.epoch == 1
    iter(loader)
    assert loader.epoch == 2 and loader.state_dict() == {"epoch": 1, "batch": 0}


def test_loader_seeds():
    late = Loader(np.arange(30), batch_size=30, shuffle=True)
    random.seed(11)
    eleven, twelve = (Loader(np.arange(30), batch_size=30, shuffle=True, seed=seed) for seed in (11, 12))
    late_order = order(late)
    assert late_order == order(eleven) and late_order != order(twelve)


def test_loader_keeps_rows_together():
    x, y = np.arange(40), np.arange(40) * 10
    for a, b in Loader(x, y, batch_size=7, shuffle=True, seed=1):
        np.testing.assert_array_equal(a * 10, b)


def test_loader_transform():
    x, y = np.full((5, 2), 255, np.uint8), np.arange(5)
    loader = Loader(x, y, batch_size=2, transform=lambda a, b: (np.float32(a) / np.float32(255), b))
    for a, b in loader:
        assert a.dtype == np.float32 and (a == 1).all() and b.dtype == y.dtype


def test_loader_only_indexes_its_arrays():
    class Elsewhere:
        """An array that has only a shape and an index."""

        shape = (5,)

        def __getitem__(self, index):
            return ("batch", index.tolist())

    assert list(Loader(Elsewhere(), batch_size=3)) == [(("batch", [0, 1, 2]),), (("batch", [3, 4]),)]


@pytest.mark.parametrize(("arrays", "options", "message"), [
    ((), {}, "Loader: arrays must be at least 1, got 0; try"),
    ((np.zeros(3), np.zeros(4)), {}, "Loader: arrays must have the same length, got 3, 4; does each image"),
    ((np.zeros((0, 2)),), {}, "Loader: arrays must have at least 1 element, got 0; was"),
    ((np.float64(1),), {}, "Loader: array 0 must be an array with at least one axis, got float64; np.asarray,"),
    ((np.zeros(2), (1, 2)), {}, "Loader: array 1 must be an array with at least one axis, got int"),
    ((np.zeros(2), ["cat", "dog"]), {}, "Loader: array 1 .*, got a list of words; np.unique"),
    ((np.zeros(3),), {"batch_size": 0}, "Loader: batch_size must be an integer .*, got 0; batch_size=128"),
    ((np.zeros(3),), {"batch_size": 2.0}, "Loader: batch_size must be an integer of at least 1, got 2.0"),
    ((np.zeros(3),), {"batch_size": True}, "Loader: batch_size must be an integer"),
    ((np.zeros(3),), {"batch_size": 4, "drop_last": True}, "Loader: with drop_last, .* at most .* 3, got 4; no batch"),
    ((np.zeros(3),), {"seed": -1}, r"Loader: seed must be an integer from 0 to 4294967295, got -1; seed=0"),
    ((np.zeros(3),), {"seed": 2**32}, "Loader: seed must be an integer"),
])
def test_loader_arguments(arrays, options, message):
    with pytest.raises(ArgumentError, match=message):
        Loader(*arrays, **{"batch_size": 1, **options})


@pytest.mark.parametrize("place", [0, 1])
def test_the_array_of_unequal_rows_is_named(place):
    arrays = [np.zeros(2), np.zeros(2)]
    arrays[place] = [[1.0], [1.0, 2.0]]
    with pytest.raises(ShapeError, match=f"Loader: array {place} must have rows of one length"):
        Loader(*arrays, batch_size=1)


@pytest.mark.parametrize(("n", "fraction", "size"), [(60000, 0.1, 6000), (10, 0.25, 2), (2, 0.5, 1), (7, 0.9, 6)])
def test_split(n, fraction, size):
    train, validation = split(n, fraction, seed=4)
    assert len(validation) == size and train.dtype == validation.dtype == np.int64
    assert (np.diff(train) > 0).all() and (np.diff(validation) > 0).all()
    np.testing.assert_array_equal(np.sort(np.concatenate([train, validation])), np.arange(n))


def test_split_is_fixed():
    assert [part.tolist() for part in split(10, 0.3, seed=0)] == [[0, 1, 3, 4, 6, 7, 9], [2, 5, 8]]


def test_split_depends_on_the_seed_alone():
    random.seed(9)
    train, validation = split(100, 0.2)
    again, differently = (split(100, 0.2, seed=seed) for seed in (9, 10))
    np.testing.assert_array_equal(train, again[0])
    np.testing.assert_array_equal(validation, again[1])
    assert validation.tolist() != differently[1].tolist()
    assert validation.min() < 50 < validation.max()  # not from one end


@pytest.mark.parametrize(("n", "fraction", "message"), [
    (10, 0.0, "split: fraction must lie between 0 and 1, got 0.0; try 0.1"),
    (10, 1.0, "split: fraction must lie between 0 and 1, got 1.0; try 0.1"),
    (10, float("nan"), "split: fraction must lie between 0 and 1, got nan"),
    (3, 0.1, "split: both parts must have at least 1 element, but fraction 0.1 of n = 3 gives 3 and 0; change"),
    (3, 0.9, "split: both parts must have at least 1 element, but fraction 0.9 of n = 3 gives 0 and 3; change"),
    (0, 0.5, "split: both parts must have at least 1 element, but fraction 0.5 of n = 0 gives 0 and 0"),
    (10.0, 0.5, "split: n must be an integer of at least 0, got 10.0; len.images"),
])
def test_split_arguments(n, fraction, message):
    with pytest.raises(ArgumentError, match=message):
        split(n, fraction, seed=0)


def test_split_seed():
    with pytest.raises(ArgumentError, match=r"split: seed must be an integer .*got 'a'; seed=0"):
        split(10, 0.5, seed="a")


# --- Imports --------------------------------------------------------------------------------------------------------


def test_importing_loads_nothing_heavy():
    code = ("import sys, tinynet.data; "
            "print([m for m in ('sklearn', 'urllib.request', 'http.client', 'ssl', 'numba') if m in sys.modules])")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                         cwd=Path(__file__).resolve().parents[2])
    assert run.stdout.strip() == "[]"
