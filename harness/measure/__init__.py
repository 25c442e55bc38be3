"""Measuring: plan, benchmark loop, statistics, drift, store."""
