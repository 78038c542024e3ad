"""The user's sample of inputs: what is measured, and whatever is asked twice."""

from __future__ import annotations

from pathlib import Path

from compress.core.errors import InputError

Example = str | tuple[str, str]
# Of a sample in which frequent inputs are counted; images take longer to read.
MOST, MOST_IMAGES = 20_000, 2_000
IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


def read_texts(path: Path, *, pairs: bool) -> list[Example]:
    """The lines of a file that are not blank, in their order, the first 20,000. pairs: whether a line is two texts with
    a tab between them. Raises InputError where there is none."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"--texts is {path}, which cannot be read ({error.strerror}). Give a text file.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"--texts is {path}, of which byte {error.start} is not UTF-8. Save it as UTF-8.") from error
    texts = [line for line in lines if line.strip()][:MOST]
    if not texts:
        raise InputError(f"--texts is {path}, which holds no text. Write one a line, as they are asked in use.")
    if not pairs:
        return list(texts)
    found: list[Example] = []
    for number, line in enumerate(texts, start=1):
        first, tab, second = line.partition("\t")
        if not tab:
            raise InputError(
                f"--texts is {path}, whose text {number} has no tab; this export reads pairs: FIRST, a tab, SECOND."
            )
        found.append((first, second))
    return found


def read_images(folder: Path) -> list[Example]:
    """The paths of the images in a folder and below it, in order, the first 2,000.

    Raises InputError where there is none.
    """
    found: list[Example] = [str(path) for path in sorted(folder.rglob("*")) if path.suffix.lower() in IMAGES]
    if not found:
        raise InputError(f"--images is {folder}, which holds no image ({', '.join(IMAGES)}). Give a folder of images.")
    return found[:MOST_IMAGES]
