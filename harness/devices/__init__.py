"""Devices: the inventory, how bytes reach them, one live agent each."""
