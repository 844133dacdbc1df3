"""The scripts that are measured. Each prints one JSON line per measurement and imports nothing of the harness."""
