"""The command line: python -m benchmarks --help"""

import argparse
import json
import os
import re
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import benchmarks
from benchmarks import machine, report, table
from benchmarks.bench import Bench, Options, titles
from benchmarks.peers import OURS, names, peer
from benchmarks.process import PeerError
from benchmarks.rows import ROWS

BUSY = 0.5  # the load average above which other programs disturb the times


def main(arguments: list[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else arguments
    lacking = {name: lack for name in names()[1:] if (lack := peer(name).lacks())}
    options = parse(given, lacking)
    if options.list:
        show(lacking)
        return 0
    if options.report:
        return write_report()
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if busy > BUSY and not options.quick:
        print(f"Other programs are running here (load {busy:.1f}): the times are not reliable.", file=sys.stderr)
    chosen = Options(options.peers, machine.cores()[: options.threads], 0.05 if options.quick else options.seconds,
                     quick=options.quick, say=progress())
    results = {**run(chosen, options.rows, shlex.join(["python", "-m", "benchmarks", *given])), "not_there": lacking}
    if options.out is None and not options.quick:
        options.out = report.RESULTS / f"{name_of(results['machine'], len(chosen.cpus))}.json"
    print(f"\n{printed(results)}")
    if options.out is not None:
        from tinynet.atomic import write_whole

        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(options.out, (json.dumps(results, indent=1) + "\n").encode())
        print(f"\nwritten to {options.out}")
    return 0


def parse(arguments: list[str], lacking: dict[str, str]) -> argparse.Namespace:
    """The options, checked. `lacking` maps peers that cannot run here to the reason."""
    cores = len(machine.cores())
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(benchmarks.__doc__ or "").split("\n")[0])
    parser.add_argument("--list", action="store_true", help="show the rows, and which peers can run here")
    parser.add_argument("--report", action="store_true", help="measure nothing: write RESULTS.md from the results")
    parser.add_argument("--rows", type=listed(list(ROWS)), default=list(ROWS),
                        help="such as step,forward (default: all)")
    parser.add_argument("--peers", type=listed(names()[1:]), help="such as torch,jax (default: all that can run here)")
    parser.add_argument("--threads", type=int, default=cores,
                        help=f"threads of each side (default: one for each core, {cores})")
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds for each pair of sides (default: 2)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything runs")
    parser.add_argument("--out", type=Path, help="file for the results (default: benchmarks/results/MACHINE.json; "
                                                 "no file with --quick)")
    options = parser.parse_args(arguments)
    if not 1 <= options.threads <= cores:
        parser.error(f"--threads must be from 1 to {cores}, the cores of this machine, got {options.threads}")
    if options.peers is None:
        options.peers = [name for name in names()[1:] if name not in lacking]
    missing = [f"{name}: {lacking[name]}" for name in options.peers if name in lacking]
    if missing:
        parser.error("; ".join(missing))
    return options


def run(options: Options, rows: list[str], command: str) -> dict[str, Any]:
    """Measure these rows. Returns the content of the file of results."""
    begin = {"machine": machine.describe(), **machine.commit(), "date": time.strftime("%Y-%m-%d"), "command": command}
    start = time.perf_counter()
    with Bench(options) as bench:
        settings = {name: worker.ask("settings")["settings"] for name, worker in bench.workers.items()}
        for row in rows:
            try:
                ROWS[row](bench)
            except PeerError as error:  # tinynet failed; the other rows may work
                bench.record(row, "", "s", {OURS: {"error": str(error)}})
        packages = sorted({package for name in bench.workers for package in peer(name).packages})
        return {**begin, "seconds": round(time.perf_counter() - start), "threads": len(options.cpus),
                "titles": titles(list(bench.workers)), "versions": machine.versions(packages),
                "settings": {"seconds_for_a_pair": options.seconds, "quick": options.quick, "peers": settings},
                "records": bench.records}


def printed(results: dict[str, Any]) -> str:
    """The tables, with the machine, versions and commit."""
    versions = ", ".join(f"{package} {version}" for package, version in results["versions"].items())
    where = f"{results['machine']['cpu']}, {results['threads']} threads, Python {results['machine']['python']}"
    return (f"{table.tables(results['records'], results['titles'])}\n\n"
            "In brackets: ours divided by theirs, the median over rounds; below 1, tinynet is faster or smaller.\n"
            f"{where}, {versions}\n"
            f"{report.commit_of(results)}, {results['seconds']} s")


def show(lacking: dict[str, str]) -> None:
    """Print the rows and the peers."""
    print("rows")
    for name, function in ROWS.items():
        print(f"  {name:10} {' '.join(str(function.__doc__).split())}")
    print("\npeers")
    for name in names()[1:]:
        found = machine.versions(list(peer(name).packages))
        print(f"  {name:10} {peer(name).title}: {lacking.get(name) or ', '.join(f'{p} {v}' for p, v in found.items())}")


def listed(known: list[str]) -> Any:
    """An argparse type: some of the known names, separated by commas."""
    def names(text: str) -> list[str]:
        chosen = [name for name in text.split(",") if name]
        strange = [name for name in chosen if name not in known]
        if strange or not chosen:
            raise argparse.ArgumentTypeError(f"must be some of {','.join(known)}, got {text!r}")
        return chosen
    return names


def progress() -> Any:
    """A function that prints a line with the time since the start."""
    start = time.perf_counter()
    return lambda line: print(f"{time.perf_counter() - start:6.0f} s  {line}", file=sys.stderr, flush=True)


def write_report() -> int:
    from tinynet.atomic import write_whole

    write_whole(report.PLACE, report.text().encode())
    print(f"written to {report.PLACE}")
    return 0


def name_of(machine: dict[str, Any], threads: int) -> str:
    """The name of the file of results of a machine."""
    words = f"{machine['cpu']} {report.vectors(machine['features'])} {threads} threads"
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
