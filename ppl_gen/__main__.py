"""``python -m ppl_gen`` and the console script ``ppl-gen``."""

from ppl_gen.app.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
