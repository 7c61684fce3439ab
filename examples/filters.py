"""Classical filters over folders of pictures."""

import time
from pathlib import Path

from PIL import Image, ImageFilter


def sharpen(folder: str, output: str | None = None, radius: float = 2.0, percent: int = 150, repeat: int = 1) -> dict:
    """Sharpen every JPEG of a folder with an unsharp mask.

    Args:
        folder: where the pictures are.
        output: where the sharpened ones go; by default `<folder>/../sharpened`.
        radius, percent: of the mask, in pixels and per cent.
        repeat: apply the mask this many times.
    """
    source = Path(folder)
    target = Path(output) if output else source.parent / "sharpened"
    target.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    pictures = sorted(source.glob("*.jpg"))
    for picture in pictures:
        with Image.open(picture) as image:
            for _ in range(repeat):
                image = image.filter(ImageFilter.UnsharpMask(radius=radius, percent=percent))
            image.save(target / picture.name, quality=88)
        print(f"{picture.name} sharpened", flush=True)
    return {"pictures": len(pictures), "folder": str(target), "seconds": round(time.perf_counter() - started, 3)}
