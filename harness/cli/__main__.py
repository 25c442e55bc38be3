"""`python -m harness.cli` is the `harness` command, for where no script is installed."""

from harness.cli.main import main

if __name__ == "__main__":
    main()
