"""Windows and macOS, which no test has run on: no call of what does not exist there.

mypy compares each use of the standard library with the system's own list of functions. Then everything that a training
touches runs in a process without the functions and modules that the system lacks.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.project import ROOT

# Modules that exist on Linux alone, or not on Windows; functions likewise, by module.
MODULES = {"macOS": [], "Windows": ["fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog"]}
FUNCTIONS = {
    "macOS": {"os": ["sched_getaffinity", "sched_setaffinity", "posix_fadvise", "posix_fallocate", "fdatasync",
                     "memfd_create", "pipe2", "getrandom", "copy_file_range", "splice", "eventfd"],
              "signal": ["sigtimedwait", "sigwaitinfo"], "time": ["pthread_getcpuclockid"]},
    "Windows": {"os": ["sched_getaffinity", "sched_setaffinity", "sched_yield", "fork", "forkpty", "register_at_fork",
                       "wait", "WNOHANG", "killpg", "setsid", "getpgid", "getuid", "geteuid", "getgid", "getegid",
                       "chown", "lchown", "fchown", "fchmod", "mkfifo", "mknod", "statvfs", "fstatvfs", "sysconf",
                       "confstr", "uname", "getloadavg", "nice", "sync", "fdatasync", "pread", "pwrite", "readv",
                       "writev", "posix_fadvise", "posix_fallocate", "memfd_create", "pipe2", "sendfile", "ttyname",
                       "O_NOFOLLOW", "O_DIRECTORY", "O_CLOEXEC", "O_SYNC", "O_NONBLOCK"],
                "signal": ["SIGKILL", "SIGHUP", "SIGALRM", "SIGUSR1", "SIGCHLD", "SIGPIPE", "SIGQUIT", "SIGSTOP",
                           "alarm", "setitimer", "pthread_kill", "pthread_sigmask", "sigwait", "pause", "sigpending"],
                "time": ["tzset", "clock_gettime", "pthread_getcpuclockid"],
                "socket": ["AF_UNIX", "socketpair", "sendmsg"]},
}
TRAINING = """
import builtins, fcntl, io, os, signal, socket, sys, time, types
import concurrent.futures, csv, ctypes, hashlib, json, pathlib, platform, shutil, subprocess, tempfile, threading
import numba, numpy as np, PIL.Image, safetensors.numpy, tqdm.auto  # they know the system that they run on
import numba.core.registry, numba.core.typing, numba.np.arraymath

def opened(file, *rest, _open=io.open, **more):
    if str(file).startswith(("/proc", "/sys", "/etc", "/dev/null")):
        raise FileNotFoundError(file)
    return _open(file, *rest, **more)

builtins.open = io.open = opened
for module, names in {functions!r}.items():
    for name in names:
        if hasattr(sys.modules[module], name):
            delattr(sys.modules[module], name)
for name in {modules!r}:
    sys.modules[name] = None
sys.platform = {platform!r}
if sys.platform == "win32":
    def locking(descriptor, mode, count, lock=fcntl.flock, how=fcntl.LOCK_EX | fcntl.LOCK_NB):
        try:
            lock(descriptor, how)
        except BlockingIOError:
            raise PermissionError(13, "Permission denied")
    sys.modules["msvcrt"] = types.SimpleNamespace(LK_NBLCK=2, LK_UNLCK=0, locking=locking)

import tinynet as tn
from tinynet.__main__ import main

folder = pathlib.Path(sys.argv[1])
for label in ("a", "b"):
    (folder / "images" / label).mkdir(parents=True)
    for number in range(6):
        pixels = np.full((8, 8), 40 * number + 10 * (label == "a"), np.uint8)
        PIL.Image.fromarray(pixels).save(folder / "images" / label / f"{{number}}.png")
found = tn.data.scan_folder(folder / "images")
images = found.images((8, 8), channels=1)[:]
model = tn.nn.Sequential(tn.nn.Reshape((8, 8)), tn.nn.LSTM(8, 4), tn.nn.Conv1D(4, 3, 3), tn.nn.ReLU(),
                         tn.nn.MaxPool1D(2), tn.nn.Dropout(0.2), tn.nn.Flatten(), tn.nn.Dense(9, 2),
                         input_shape=(8, 8, 1))
train = tn.data.Loader(images, found.labels, batch_size=4, shuffle=True, threads=2,
                       augment=tn.data.Augment(shift=0.1), transform=lambda x, y: (x.astype("float32") / 255, y))
for resume in (False, True):
    history = tn.fit(model, tn.optim.Adam(model.parameters()), train, epochs=2 + resume, validation=train, show=False,
                     checkpoint=folder / "checkpoint", resume=resume, callbacks=[tn.callbacks.Log(folder / "log.csv"),
                     tn.callbacks.BestModel(folder / "best.safetensors")])
assert len(history) == 3
tn.set_threads(2)
tn.save(folder / "model.safetensors", model, classes=("a", "b"), scaling=tn.nn.Scaling())
again = tn.load(folder / "model.safetensors")
np.testing.assert_array_equal(tn.predict(model, images[:1] / np.float32(255)),
                              tn.predict(again, images[:1] / np.float32(255)))
assert main(["predict", str(folder / "model.safetensors"), str(folder / "images" / "a" / "0.png")]) == 0
assert "gpu-emulated" in str(tn.about()) and tn.threads() == 2
print("trained on", sys.platform)
"""


@pytest.mark.parametrize(("system", "platform"), [("Windows", "win32"), ("macOS", "darwin")])
def test_a_training_without_the_functions_of_linux(tmp_path: Path, system: str, platform: str) -> None:
    code = TRAINING.format(functions=FUNCTIONS[system], modules=MODULES[system], platform=platform)
    done = subprocess.run([sys.executable, "-W", "error", "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"trained on {platform}\n")


def absent(files: list[str]) -> list[str]:
    """What mypy says of attributes of modules that Windows lacks. macOS has all that Windows has."""
    command = [sys.executable, "-m", "mypy", "--platform", "win32", "--config-file=", "--cache-dir=/dev/null",
               "--follow-imports=skip", "--ignore-missing-imports", "--no-error-summary"]
    done = subprocess.run([*command, *files], cwd=ROOT, capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    return re.findall(r".*Module has no attribute.*", done.stdout)


def test_no_call_of_what_windows_lacks(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    bad = tmp_path / "bad.py"
    bad.write_text("import os\nif hasattr(os, 'chown'):\n    os.chown\nos.fork()\n")
    found = absent(["tinynet", "examples", str(bad)])
    assert len(found) == 1 and "bad.py:4" in found[0] and '"fork"' in found[0], found
