"""Networks as data: names, blocks, search spaces."""
