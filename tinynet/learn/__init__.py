"""To learn by doing: a lab in the browser, and exercises.

    lab.py             what the lab computes
    trusted.py         what it says of an edited backward pass
    small_widgets.py   what its smaller widgets compute
    digits.py          ten digits, as strokes of a pen
    server.py          the lab on the user's machine, for `tinynet learn`
    page/              its page, and the weights of its model
    exercises.py       eight exercises: backward passes of the library with lines left out
    files.py           the text of their files, and of the solutions
    small_tape.py      a tape for numbers in sixty lines, the solution of the last one
    trial.py           runs an answer beside the library's own code, and compares each line
    checking.py        does so in a process of its own with a time limit, and says what was found
"""
