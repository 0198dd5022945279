"""Exercises of the chapters that leave no line of the library out. Those that do are in tinynet/learn.

`python -m docs.exercises NAME FILE` checks an answer. The file blanks/NAME.py holds the task and the lines to complete.
The module NAME has `check`, which gets the names of an answer and yields (what, fault) for each part of it; the fault
is "" if the part is right. Answers are compared with what the library computes.
"""
