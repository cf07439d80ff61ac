"""What people see: pages, tables and figures from plain records of a run.

Nothing here computes a score or opens a system; `runs` hands in what is shown.
"""
