"""Exercises: backward passes of the library with lines left out, and a check of each line.

    small_tape.py   a tape for numbers in sixty lines, the solution of an exercise
    exercises.py    the eight exercises
    files.py        the text of their files, and of the solutions
    trial.py        runs a file beside the library's own code, and compares each line
    checking.py     does so in a process of its own with a time limit, and says what was found
"""
