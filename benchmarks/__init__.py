"""tinynet beside other frameworks: the same models, weights and data, timed in turn in one run.

    python -m benchmarks --list
    python -m benchmarks --rows step,forward --peers torch,jax

    rows.py       the measurements                      peers/     an adapter for each framework
    cases.py      a model, its weights, data and work   agree.py   whether two peers compute the same
    process.py    the process of a peer, from outside   worker.py  ... and from inside
    timing.py     alternating runs, medians, ratios     flops.py   the operations of a model
    machine.py    the machine                           table.py   the tables
    gpu.py        the benchmark on a GPU

README.md describes the method.
"""
