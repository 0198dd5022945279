"""tinynet beside other frameworks: the same models, weights and data, in turn, in one run.

    python -m benchmarks --list
    python -m benchmarks --rows step,forward --peers torch,jax

    rows.py       what is measured                      peers/    how each framework does it
    cases.py      a model, its weights, data and work   agree.py  whether two peers compute the same
    process.py    a peer in a process of its own, seen  worker.py ... and from inside
    timing.py     in turn, medians, ratios              flops.py  the operations a model needs
    machine.py    where it ran                          table.py  how it is shown

How it is measured, and why so, is told in README.md.
"""
