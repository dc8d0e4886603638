"""The MAC counters thop and fvcore as profilers of aiop."""
