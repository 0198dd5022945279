"""The exercises of the chapters. `python -m docs.exercises NAME FILE` checks an answer.

A module holds the task (its text), the lines to complete, and `check`, which yields (what, fault) for each part of an
answer; the fault is "" if it is right. Answers are compared with what the library computes.
"""
