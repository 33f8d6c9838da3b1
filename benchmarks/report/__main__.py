"""Renders benchmarks/RESULTS.md and its charts from the raw results: `python -m benchmarks.report`."""

from __future__ import annotations

from benchmarks.report.report import render
from benchmarks.report.results import Results

if __name__ == "__main__":
    print(f"written: {render(Results())}")
