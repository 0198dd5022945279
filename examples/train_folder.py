"""Train a model on a folder of your own images, and evaluate it: the command `tinynet train`.

    python examples/train_folder.py FOLDER
    python examples/train_folder.py FOLDER --size 96 --epochs 60 --augment --folds 5 --out runs/mine
    python examples/train_folder.py FOLDER --out runs/mine --resume          # continue an interrupted run

FOLDER holds a folder of images for each class. Options, files and exit codes are those of `tinynet train --help`, which
docs/folder.md describes. The code is in tinynet/from_folder.
"""

import sys

from tinynet.__main__ import main as tinynet


def main(arguments: list[str] | None = None) -> int:
    return tinynet(["train", *(sys.argv[1:] if arguments is None else arguments)])


if __name__ == "__main__":
    sys.exit(main())
