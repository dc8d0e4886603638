"""Zero-cost proxies as a profiler of aiop."""
