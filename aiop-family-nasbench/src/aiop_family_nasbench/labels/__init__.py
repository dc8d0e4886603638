"""The benchmarks' published files of labels, as tables."""
