"""What people see: pages, tables and figures from plain records of a run.

Nothing here computes a score, opens a system or reads a recording; `runs`
hands in what is shown. `page` is the report of one run, `sweep` that of many
settings, `compare` that of two runs; `text` and `figures` are the paper they
are printed on. Every page is one file that fetches nothing, can be read on a
phone, in the dark, on paper and aloud, and escapes whatever a file is called.
"""
