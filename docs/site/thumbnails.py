"""The pictures on the cards of tutorials."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from running import tutorials

WIDTH, HEIGHT = 480, 280


def thumbnails(app: Any, exception: Exception | None) -> None:
    """The first picture of every tutorial, small, once Sphinx has written the pages."""
    if exception is not None or app.builder.name != "html":
        return
    from PIL import Image

    out = Path(app.outdir)
    (out / "thumbnails").mkdir(exist_ok=True)
    for path in tutorials():
        page = (out / "tutorials" / f"{path.stem}.html").read_text(encoding="utf-8")
        found = re.search(r'src="\.\./(_images/[^"]+\.png)"', page)
        small = Image.new("RGB", (WIDTH, HEIGHT), "white")
        if found:
            fitted = _fitted(Image.open(out / found[1]).convert("RGB"))
            small.paste(fitted, ((WIDTH - fitted.width) // 2, 0))
        small.save(out / "thumbnails" / f"{path.stem}.png", optimize=True)


def _fitted(picture: Any) -> Any:
    """A picture as high as a card's, and of a wide one the left."""
    width = round(HEIGHT / picture.height * picture.width)
    return picture.resize((width, HEIGHT)).crop((0, 0, min(width, WIDTH), HEIGHT))
