"""All checks that need a GPU, in one call of under eight minutes: correctness and speed.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --device gpu-emulated --quick        # tiny sizes, without a GPU

Only NumPy and CuPy are required, and the data is generated. The peer is PyTorch, if it is installed and finds the
device. Each section runs in its own process with a time limit. After the limit its rows so far are kept, and the next
section starts. At the end a table is printed; the numbers are written to benchmarks/results/ as JSON.

    warm      loads PyTorch and the libraries of CUDA, before the clocks of the others start
    tests     the tests marked `gpu`, by pytest if it is installed
    mnist     ten epochs of a job of the size of MNIST: the paper's LSTM-CNN, 60,000 images
    launch    the cost of small work: an op, a product, a product in a CUDA graph
    lstm      an LSTM, forward and backward, beside torch.nn.LSTM (cuDNN), in float32 and in TF32
    steps     training steps of all models of the examples beside PyTorch; peak memory

The last two run eagerly and as a CUDA graph, on both sides. `gpu_predictions.md` predicts the times of an H200; it was
written before the first measurement.

Results are compared with PyTorch's before they are timed. The file is written after each section. Ctrl-C and SIGTERM
end the running section, and the table of the results so far is printed. Exit code: 0 if all sections finished and all
tests passed, else 1; 2 if the device is missing.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import gpu_device, gpu_sections, machine, table  # noqa: E402
from tinynet.atomic import write_whole  # noqa: E402
from tinynet.errors import DeviceError  # noqa: E402

SECONDS = {"warm": 40.0, "tests": 120.0, "mnist": 75.0, "launch": 25.0, "lstm": 105.0,
           "steps": 100.0}  # at most, in this order
IN_ALL = 465.0
STOPPED = "was stopped; the sections after it did not run"
GRACE = 5.0  # seconds between the limit given to a section and killing it
PACKAGES = ["tinynet", "numpy", "numba", "cupy", "cupy-cuda12x", "cupy-cuda13x", "torch", "pytest"]


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    if options.section:
        gpu_sections.run(options.section, options.device, options.quick, options.seconds)
        return 0
    start = time.monotonic()
    try:
        place = gpu_device.described(options.device)
    except DeviceError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"on {place}", flush=True)
    path = options.out or ROOT / "benchmarks" / "results" / f"gpu-{time.strftime('%Y-%m-%d-%H%M', time.gmtime())}.json"
    found = {
        "device": str(place), "quick": options.quick, "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        **gpu_device.driver(options.device), **machine.commit(options.commit), "machine": machine.describe(),
        "versions": machine.versions(PACKAGES),
    }
    sections: list[dict[str, Any]] = []
    for name in options.sections or SECONDS:
        seconds = min(SECONDS[name], start + options.seconds - time.monotonic())
        sections.append(watched(name, options, seconds))
        print(f"{time.monotonic() - start:5.0f} s  {summary(sections[-1])}", file=sys.stderr, flush=True)
        where = keep(path, {**found, "seconds": time.monotonic() - start, "sections": sections})
        if sections[-1]["error"] == STOPPED:
            break
    print(f"\n{tables(sections)}\n\non {place}, {time.monotonic() - start:.0f} s; {where}")
    return int(any(section["error"] or any("error" in row for row in section["rows"]) for section in sections))


def keep(path: Path, found: dict[str, Any]) -> str:
    """Write the results into a file. Returns a phrase for the table, which is printed even if writing failed."""
    try:
        write_whole(path, (json.dumps(found, indent=1) + "\n").encode())
    except OSError as error:
        return f"not written to {path}: {error.strerror or error}"
    return f"written to {path}"


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="gpu", help="gpu, gpu:1 ..., gpu-emulated or cpu (default: gpu)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything runs")
    parser.add_argument("--sections", nargs="+", choices=SECONDS, help="only these (default: all)")
    parser.add_argument("--seconds", type=float, default=IN_ALL, help=f"for all sections (default: {IN_ALL:.0f})")
    parser.add_argument("--out", type=Path, help="the file to write (default: one in benchmarks/results)")
    parser.add_argument("--commit", help="the commit to record, for a copy without git's history")
    parser.add_argument("--section", choices=SECONDS, help=argparse.SUPPRESS)  # the process of this section
    return parser.parse_args(arguments)


def watched(name: str, options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """Run a section in its own process for at most `seconds`. Returns its rows, and the error if there was one."""
    start, error = time.monotonic(), ""
    command = [sys.executable, __file__, "--section", name, "--device", options.device,
               "--seconds", str(max(1.0, seconds - GRACE)), *(["--quick"] if options.quick else [])]
    with tempfile.TemporaryFile() as rows, tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(command, cwd=ROOT, stdout=rows, stderr=complaints, start_new_session=True)
        try:
            if process.wait(timeout=max(1.0, seconds)):
                error = f"ended with code {process.returncode}"
        except subprocess.TimeoutExpired:
            error = f"was ended after {seconds:.0f} s"
        except KeyboardInterrupt:
            error = STOPPED
        finally:
            end(process)
        rows.seek(0)
        complaints.seek(0)
        said = complaints.read().decode(errors="replace").strip().splitlines()
        if error not in ("", STOPPED) and said:
            error += f": {said[-1][:300]}"
        return {"section": name, "seconds": time.monotonic() - start, "error": error or None,
                "rows": list(whole(rows.read().decode(errors="replace").splitlines()))}


def whole(lines: list[str]) -> Iterator[dict[str, Any]]:
    """The rows among the lines that a section printed, without other output and incomplete rows."""
    for line in lines:
        with suppress(ValueError):
            row = json.loads(line)
            if isinstance(row, dict) and "name" in row:
                yield row


def end(process: "subprocess.Popen[bytes]") -> None:
    """Kill a section and its child processes."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def summary(section: dict[str, Any]) -> str:
    wrong = sum("error" in row for row in section["rows"])
    ending = f", {section['error']}" if section["error"] else ""
    return f"{section['section']}: {len(section['rows'])} rows, {wrong} with errors{ending}"


def tables(sections: list[dict[str, Any]]) -> str:
    """A table for each section, and the errors."""
    parts, errors = [], []
    for section in sections:
        lines = [["", "ours", "theirs", "ours/theirs", ""]]
        for row in section["rows"]:
            ours, theirs, ratio = times(row, row["unit"])
            lines.append([row["name"], ours, theirs, ratio, row.get("note", "")])
            errors += [f"  {section['section']}, {row['name']}: {row['error']}"] if "error" in row else []
        errors += [f"  {section['section']}: {section['error']}"] if section["error"] else []
        parts.append(f"{section['section']}, {section['seconds']:.0f} s\n{table.aligned(lines)}")
    return "\n\n".join([*parts, *(["Errors\n" + "\n".join(errors)] if errors else [])])


def times(row: dict[str, Any], unit: str) -> tuple[str, str, str]:
    """Ours, theirs and their ratio as text; "" for missing values."""
    ours, theirs = (table.written(row[of], unit) if row.get(of) else "" for of in ("ours", "theirs"))
    return ours, theirs, table.short(row["ours"] / row["theirs"]) if ours and theirs else ""


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the table is printed after SIGTERM, too
    sys.exit(main())
