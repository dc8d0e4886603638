"""Labels and graphs on disk: records, the append-only store, the graph cache, splits."""
