"""Keras models trained on the data of the user."""
