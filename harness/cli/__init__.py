"""The `harness` command: each command parses, makes one library call, prints."""
