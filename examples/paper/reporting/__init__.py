"""From the records of runs to RESULTS.md and its figures, with the conclusions that the numbers allow.

records, grouping      the file of a run; runs that are compared
pairs                  whether one model is better than another; the uncertainty of a number: tinynet/intervals.py
goals                  published results and targets
tables, curves, figures, committees
digits, idc, xrays     the sections of RESULTS.md by kind of experiment; report joins them
summary                the table at its top
"""
