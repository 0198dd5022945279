"""The paper's table II on IDC (invasive ductal carcinoma, patches of 50 x 50 in colour): LSTM-CNN, LSTM, CNN.

    python examples/idc_table2.py --data IDC_FOLDER
    python examples/idc_table2.py --data IDC_FOLDER --seed 7 --out runs/mine
    python examples/idc_table2.py --data stand-in --epochs 2 --seed 0

The 50 rows of a patch are 50 time steps of 50 x 3 values. IDC_FOLDER holds PATIENT/CLASS/*.png, as on Kaggle
("paultimothymooney/breast-histopathology-images"), as a whole or in part. No patient is in two of the parts to train,
validate and test on. With three or more patients, they are in five folds, as in `tinynet train --folds 5`. With two,
each is the test part once, and a strip of the other's slide is the validation part; the report then calls it a smoke
test. A patch counts as positive if its probability is above 0.5. The results are also shown for another rule: the
threshold of the highest balanced accuracy on the validation part. The classes have weights in the loss if one has less
than half of the images of the other. The models of the folds are also written as an ensemble.

Patches are read when they are needed, if they are many: the whole set of 277,524 takes less than 2 GB of memory. The
three models have the same number of parameters within 10 %, and are trained in the same way with five seeds.
Without data ($TINYNET_DATA/idc), images in the same layout are generated, and the report says so. After an
interruption, the same command continues. Written to --out: a JSON file and a model for each run, idc_table2_error.png
and .svg (training and validation error over the epochs), confusion matrices.

Not for medical use. Exit codes: 0 done, 1 an error in the data or a file, 2 in an option or the device, 130 ended by
Ctrl-C, 143 by SIGTERM.
"""

import argparse
import sys
from pathlib import Path

import models
from paper import experiment
from paper.experiment import Job, Recipe
from paper.reporting import report

import tinynet as tn

EXPERIMENT = "idc_table2"
MODELS = ("idc_lstm_cnn", "idc_lstm", "idc_cnn")
RECIPE = Recipe(epochs=20, batch_size=32, peak=2e-3, max_norm=1.0,
                augment={"flip": "both", "shift": 0.04, "contrast": 0.3, "brightness": 0.1, "border": "reflect"})
SIDE = 50  # pixels
FOLDS = 5  # with at least five patients


def main(arguments: list[str] | None = None) -> int:
    return experiment.main(experiment.parser(EXPERIMENT, __doc__, data=experiment.FOLDER), work, arguments)


def work(options: argparse.Namespace) -> None:
    def generate(place: Path) -> Path:
        return tn.data.write_idc_stand_in(place, patients=2, patches=60, seed=0)

    folds = experiment.folder(options, "idc", SIDE, generate, crossed=FOLDS)
    jobs = [Job(name, getattr(models, name), seed, data, RECIPE, threshold=True)
            for seed in options.seeds for data in folds for name in MODELS]
    runs = experiment.run_all(jobs, options)
    if len(folds) > 1:
        for seed in options.seeds:
            for name in MODELS:
                experiment.save_ensemble([job for job in jobs if (job.model, job.seed) == (name, seed)], options)
    report.show(EXPERIMENT, runs, options.out)


if __name__ == "__main__":
    sys.exit(main())
