"""Searches over spaces of networks that know what a candidate costs on a device."""
