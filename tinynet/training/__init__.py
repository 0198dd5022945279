"""The training loop, and what makes it safe to interrupt.

    fit.py          tn.fit: the loop over epochs and batches
    step.py         one step on the device: forward, loss, backward, update
    evaluate.py     tn.evaluate and tn.predict
    run.py          Run, the state of a training in progress; Callback, the base of callbacks
    callbacks.py    early stopping, best model, logs
    session.py      the steps of a run, its last good state, its checkpoint file
    checkpoint.py   that state as arrays and JSON, captured, restored, written and read
    guard.py        the first tensor that became NaN or infinite
    recorded.py     a step recorded, and launched as one
    ranks.py        what the ranks of a job add up and agree on
    progress.py     means and times of an epoch, the progress bar
    signals.py      Ctrl-C and SIGTERM, handled after the current step
"""
