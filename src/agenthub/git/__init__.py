"""Git as the hub uses it: a bare repository per project, and what a push may bring into it.

Other packages use `repository` (read and write one), `ingest` (take a push in), `policy` (what a
push may hold), `bundle` and `packets` (wire formats), and `subprocesses` (start a clean git).
"""
