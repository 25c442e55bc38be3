"""The program that runs on a device and times inference there."""
