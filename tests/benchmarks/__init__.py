"""Our time beside the peer's, in one run: `python -m tests.benchmarks [NAME …]`. Nothing here is a test."""
