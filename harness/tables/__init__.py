"""Latency tables: what blocks take on a device, and what whole networks would take."""
