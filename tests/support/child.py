"""Run a function in a forked process."""

import os
import time
from collections.abc import Callable


def in_a_child(work: Callable[[], object]) -> int:
    """Fork, run `work` in the child, and return its exit status: 0 if it returned, -1 if it took over 20 seconds."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    for _ in range(2000):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return -1
