"""The paper's tables 1 and 2 and figures 2 and 3: data, rows, runs, table, figures.

May import evaluation, run and all below them.
"""
