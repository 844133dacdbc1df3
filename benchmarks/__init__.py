"""How fast Propolis is beside its peers, measured side by side in one run: `python -m benchmarks --help`.

A contender is a script of its own, run as a process of its own in the venv that has what it needs. The harness runs
the contenders in turn, round after round, and compares medians, so that a noisy machine is noisy to all of them.
Nothing here is a test: a number depends on the machine, a ratio much less so.
"""
