"""``python -m loudml`` is the command ``loudml``."""

from loudml.cli import main

if __name__ == "__main__":
    main()
