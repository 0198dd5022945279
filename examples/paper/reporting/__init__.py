"""From the records of runs to what is published of them: RESULTS.md, its figures, and what the numbers allow to say.

records, grouping      a run as a file; runs that belong together
intervals, pairs       how sure a number is; whether one model is better than another
goals                  what others published, and what was wanted
tables, curves, figures, committees
digits, idc, xrays     a section of RESULTS.md for each kind of experiment; report puts them together
"""
