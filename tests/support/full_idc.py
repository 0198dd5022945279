"""A folder in the layout and of the size of the whole IDC set, to measure time and memory with.

    python -m tests.support.full_idc FOLDER             # 277,524 patches of 279 patients, links to generated ones
    /usr/bin/time -v python examples/idc_table2.py --data FOLDER --epochs 1 --seed 0

Most files are hard links to others, so that it takes little space and a minute. The patches mean nothing.

Measured: 1.11 GB at most (1,112,032 kB, the maximum resident set size that `time` gives). The process did the scan,
runs 3 to 15, their ensembles and the report in 65 minutes on one processor. Runs 1 and 2, in an earlier process, took
less.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import tinynet as tn

PATIENTS, PATCHES = 279, 277_524  # of the set on Kaggle
SIDE, COLUMNS = 50, 60  # pixels of a patch; patches in a row of a slide


def main(folder: Path, patches: int = PATCHES, patients: int = PATIENTS) -> None:
    """Write the folder, which must not exist."""
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        small = tn.data.write_idc_stand_in(Path(place) / "small", patients=4, patches=60, seed=0)
        kinds = [sorted(small.glob(f"*/{label}/*.png")) for label in (0, 1)]
        for number in range(patches):
            patient, index = 10_000 + number % patients, number // patients
            label = int(index % 7 < 2) if index % 251 else 0
            path = folder / f"{patient}/{label}"
            name = f"{patient}_idx5_x{SIDE * (index % COLUMNS) + 1}_y{SIDE * (index // COLUMNS) + 1}_class{label}.png"
            path.mkdir(parents=True, exist_ok=True)
            source = kinds[label][number % len(kinds[label])]
            if number < 100 * len(kinds[0]):  # a file can have a limited number of links
                shutil.copy(source, path / name)
                kinds[label].append(path / name)
            else:
                os.link(source, path / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
