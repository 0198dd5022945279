"""From the records of runs to RESULTS.md and its figures, with the conclusions that the numbers allow.

records, grouping      the file of a run; runs that are compared
intervals, pairs       the uncertainty of a number; whether one model is better than another
goals                  published results and targets
tables, curves, figures, committees
digits, idc, xrays     the sections of RESULTS.md by kind of experiment; report joins them
"""
