"""Time GRU, LayerNorm and two convolutions beside those of PyTorch, by processor time, with one thread each.

    python -m benchmarks.layers [--rounds 15] [--rows GRU LayerNorm depthwise wide]

"depthwise" is a 3x3 convolution of each channel alone; "wide" is one whose weights, 2.25 MB, exceed most second-level
caches.

Both are called in turn, in one process. "forward" leaves no tape; "both" is forward and backward, with the gradients of
input and weights. The table has the medians of milliseconds, and the median of the rounds' ratios: below 1, tinynet is
faster. PyTorch's convolution has its faster memory format. Outputs are compared first, to 1e-4.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import tinynet as tn

Call = Callable[[], Any]
ROWS = {"GRU": (128, 28, 28), "LayerNorm": (128, 28, 128), "depthwise": (16, 56, 56, 64),
        "wide": (16, 14, 14, 256)}  # shapes of the inputs
GROUPS = {"depthwise": 64, "wide": 1}  # of the convolutions


def layers(row: str, torch: Any, channels_last: bool) -> tuple[Any, Any, Callable[[Any], Any]]:
    """Our layer and PyTorch's, with equal weights, and PyTorch's output as one array in our order of axes."""
    if row == "GRU":
        ours, theirs = tn.nn.GRU(28, 128), torch.nn.GRU(28, 128, batch_first=True)
        tn.exchange.from_torch(tn.nn.Sequential(ours), theirs.state_dict())
        return ours, theirs, lambda output: output[0]
    if row == "LayerNorm":
        return tn.nn.LayerNorm(128), torch.nn.LayerNorm(128), lambda output: output
    channels, options = ROWS[row][-1], {"padding": 1, "groups": GROUPS[row]}
    ours, theirs = tn.nn.Conv2D(channels, channels, 3, **options), torch.nn.Conv2d(channels, channels, 3, **options)
    tn.exchange.from_torch(tn.nn.Sequential(ours), theirs.state_dict())
    if channels_last:
        theirs = theirs.to(memory_format=torch.channels_last)
    return ours, theirs, lambda output: output.permute(0, 2, 3, 1)


def drawn(shape: tuple[int, ...], step: int) -> np.ndarray:
    """Normal numbers, the same in every run."""
    return tn.random.normal(shape, (0, tn.random.stream("layers")), step).astype("float32")


def calls(row: str, torch: Any, channels_last: bool = False) -> dict[str, tuple[Call, Call]]:
    """What is timed: by name our call and PyTorch's. Errors: AssertionError if the outputs differ."""
    ours, theirs, same = layers(row, torch, channels_last)
    array = drawn(ROWS[row], 0)
    x = tn.Tensor(array, requires_grad=True)
    theirs_x = torch.tensor(array)
    if row in GROUPS:
        theirs_x = theirs_x.permute(0, 3, 1, 2)
        theirs_x = theirs_x if channels_last else theirs_x.contiguous()
    theirs_x.requires_grad_()
    y = same(theirs(theirs_x)).detach().numpy()
    np.testing.assert_allclose(ours(x).numpy(), y, atol=1e-4)
    dy = drawn(y.shape, 1)
    theirs_dy = torch.tensor(dy)

    def our_forward() -> None:
        with tn.no_grad():
            ours(x)

    def their_forward() -> None:
        with torch.no_grad():
            theirs(theirs_x)

    def our_both() -> None:
        x.grad = None
        for parameter in ours.parameters():
            parameter.grad = None
        ours(x).backward(dy)

    def their_both() -> None:
        theirs_x.grad = None
        theirs.zero_grad()
        same(theirs(theirs_x)).backward(theirs_dy)

    return {"forward": (our_forward, their_forward), "both": (our_both, their_both)}


def milliseconds(call: Call) -> float:
    begin = time.process_time()
    call()
    return 1e3 * (time.process_time() - begin)


def in_turn(ours: Call, theirs: Call, rounds: int) -> tuple[float, float, float]:
    """The medians of both, and of the ratios of the rounds."""
    for call in (ours, theirs) * 2:
        call()
    times = [(milliseconds(ours), milliseconds(theirs)) for _ in range(rounds)]
    mine, other = zip(*times, strict=True)
    return statistics.median(mine), statistics.median(other), statistics.median(a / b for a, b in times)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="turns of both sides (default: 15)")
    parser.add_argument("--rows", nargs="+", choices=[*ROWS], default=[*ROWS], help="only these (default: all)")
    options = parser.parse_args(arguments)
    import torch

    torch.set_num_threads(1)
    tn.set_threads(1)
    print(f"{'':12}{'':10}{'tinynet':>10}{'PyTorch':>10}{'ratio':>8}")
    for row in options.rows:
        formats = [calls(row, torch, last) for last in ((False, True) if row in GROUPS else (False,))]
        for name in ("forward", "both"):
            results = [in_turn(*pairs[name], options.rounds) for pairs in formats]
            mine, other, ratio = max(results, key=lambda result: result[2])
            print(f"{row:12}{name:10}{mine:10.2f}{other:10.2f}{ratio:8.2f}")


if __name__ == "__main__":
    main()
