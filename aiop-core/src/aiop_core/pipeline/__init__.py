"""The steps of a run: sample, label, collect, fit, report. One function a step."""
