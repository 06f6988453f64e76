"""Trains networks of known lineage and writes them as Hub folders with truth.json: python -m benchmarks.zoo --help."""
