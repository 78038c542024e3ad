"""Fashion-MNIST as files, and a small ViT trained on it, for `compress -cn image_classification`.

Debian's package `dataset-fashion-mnist` carries the data of Xiao, Rasul and Vollgraf 2017, Fashion-MNIST: a Novel Image
Dataset for Benchmarking Machine Learning Algorithms: grey images of 28 x 28 pixels, ten kinds of clothes, 60,000 to
learn from and 10,000 to judge by. The ViT (6 layers, 192 wide, patches of 4 x 4, so 49 and the class token) starts from
random weights and learns from all images but those that judge.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch.nn.functional import cross_entropy
from tqdm.auto import tqdm
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

from compress.methods.training.loop import computes_bfloat16

PACKAGE = "dataset-fashion-mnist"
SHA256 = "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0"
INNER = "usr/share/datasets/fashion-mnist"
NAMES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
SIDE = 28
# Of the pixels of the training images, black 0 and white 1.
MEAN, DEVIATION = 0.286, 0.353

Images = tuple[np.ndarray, np.ndarray]


def main() -> int:
    """Write train, validation and test .parquet and the teacher, and print the command that uses them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the three files and the folder `teacher` go")
    parser.add_argument("--archive", type=Path, help=f"the .deb of {PACKAGE}, where it is at hand already")
    parser.add_argument("--train", type=int, default=20_000, help="images in train.parquet, which compress learns from")
    parser.add_argument("--validation", type=int, default=5_000, help="images in validation.parquet")
    parser.add_argument("--epochs", type=int, default=4, help="passes of the teacher over its images")
    parser.add_argument("--steps", type=int, help="stop the teacher's training there: for a look whether all works")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        known, test = read_archive(arguments.archive or download(Path(temporary)), Path(temporary))
    parts = split(known, arguments.train, arguments.validation, arguments.seed)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name, part in {"train": parts["train"], "validation": parts["validation"], "test": test}.items():
        pq.write_table(table(part), arguments.folder / f"{name}.parquet")
        print(f"{name}: {len(part[1])} images")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    model = ViTForImageClassification(config())
    began = time.monotonic()
    learn(model, parts["teacher"], arguments.epochs, arguments.steps)
    seconds = time.monotonic() - began
    save(model, arguments.folder / "teacher")
    print(f"teacher: {accuracy(model, test):.2%} right on the test split, trained for {seconds:.0f} s")
    files = " ".join(f"data.{name}={arguments.folder / name}.parquet" for name in ("train", "validation", "test"))
    print(f"\ncompress -cn image_classification model.path={arguments.folder / 'teacher'} {files}")
    return 0


def download(folder: Path) -> Path:
    """The package's archive, through apt and whatever mirror it is set up with. Nothing is installed."""
    subprocess.run(["apt-get", "download", PACKAGE], cwd=folder, check=True)
    return next(folder.glob(f"{PACKAGE}_*.deb"))


def read_archive(archive: Path, folder: Path) -> tuple[Images, Images]:
    """Images and labels to learn from, and those to judge by. folder: for what is unpacked. Raises SystemExit for
    another archive than the pinned one."""
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != SHA256:
        raise SystemExit(f"{archive} has the sha256 {found}; the {PACKAGE} that is meant has {SHA256}.")
    subprocess.run(["dpkg-deb", "-x", str(archive), str(folder / "unpacked")], check=True)
    inner = folder / "unpacked" / INNER
    known, test = (
        (
            read_idx(gzip.decompress((inner / f"{name}-images-idx3-ubyte.gz").read_bytes())),
            read_idx(gzip.decompress((inner / f"{name}-labels-idx1-ubyte.gz").read_bytes())),
        )
        for name in ("train", "t10k")
    )
    return known, test


def read_idx(data: bytes) -> np.ndarray:
    """An array of bytes in the IDX format: two zeros, the kind 8, the number of axes, then their sizes in four bytes
    each, then the values."""
    if data[:3] != b"\0\0\x08":
        raise ValueError(f"this is no IDX file of bytes: it begins with {data[:4].hex()}")
    axes = data[3]
    sizes = np.frombuffer(data, ">u4", axes, offset=4).tolist()
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(sizes).copy()


def split(known: Images, train: int, validation: int, seed: int) -> dict[str, Images]:
    """`validation`, and of the rest, which is the `teacher`'s, so many as `train`; drawn by `seed`."""
    images, labels = known
    if train + validation > len(labels):
        raise SystemExit(f"--train {train} and --validation {validation} are more than the {len(labels)} there are.")
    order = np.random.default_rng(seed).permutation(len(labels))
    rest = order[validation:]
    rows = {"validation": order[:validation], "teacher": rest, "train": rest[:train]}
    return {name: (images[chosen], labels[chosen]) for name, chosen in rows.items()}


def table(part: Images) -> pa.Table:
    """Columns `image`, a PNG file's bytes, and `label`, the name."""
    images, labels = part
    return pa.table({"image": [png(pixels) for pixels in images], "label": [NAMES[label] for label in labels]})


def png(pixels: np.ndarray) -> bytes:
    """A grey image's file. pixels: (height, width), bytes."""
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def config() -> ViTConfig:
    """Of a ViT for grey images of 28 x 28 pixels."""
    return ViTConfig(
        image_size=SIDE,
        patch_size=4,
        num_channels=1,
        hidden_size=192,
        num_hidden_layers=6,
        num_attention_heads=6,
        intermediate_size=768,
        id2label=dict(enumerate(NAMES)),
        label2id={name: number for number, name in enumerate(NAMES)},
    )


def pixel_values(images: np.ndarray) -> torch.Tensor:
    """(images, 1, 28, 28), as the processor that is saved beside the teacher makes them."""
    return ((torch.from_numpy(images).float() / 255 - MEAN) / DEVIATION)[:, None]


def learn(model: ViTForImageClassification, part: Images, epochs: int, steps: int | None, batch: int = 64) -> None:
    """AdamW with a learning rate that rises to 1e-3 for the first tenth and then falls as a cosine; half of the images
    mirrored."""
    pixels, labels = pixel_values(part[0]), torch.from_numpy(part[1].astype(np.int64))
    per_epoch = len(labels) // batch
    total = per_epoch * epochs
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: share_of_rate(step, total))
    model.train()
    for step in tqdm(range(total if steps is None else min(steps, total)), "the teacher", unit="step", leave=False):
        if step % per_epoch == 0:
            order = torch.randperm(len(labels))
        rows = order[step % per_epoch * batch :][:batch]
        shown = pixels[rows]
        mirrored = torch.rand(len(rows)) < 0.5
        shown[mirrored] = shown[mirrored].flip(-1)
        with torch.autocast("cpu", torch.bfloat16, enabled=computes_bfloat16("cpu")):
            logits = model(pixel_values=shown).logits
        loss = cross_entropy(logits.float(), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval()


def share_of_rate(step: int, total: int) -> float:
    """Of the highest learning rate, at `step` of `total`."""
    warmup = max(1, total // 10)
    return (step + 1) / warmup if step < warmup else 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))


def save(model: ViTForImageClassification, folder: Path) -> None:
    """The model and its image processor, as the library writes them."""
    model.save_pretrained(folder)
    size: Mapping[str, int] = {"height": SIDE, "width": SIDE}
    ViTImageProcessorPil(size=size, image_mean=[MEAN], image_std=[DEVIATION]).save_pretrained(folder)


@torch.inference_mode()
def accuracy(model: ViTForImageClassification, part: Images) -> float:
    """The share of images that get their label."""
    images, labels = part
    found = [model(pixel_values=pixel_values(shown)).logits.argmax(dim=1) for shown in np.array_split(images, 20)]
    return float((torch.cat(found).numpy() == labels).mean())


if __name__ == "__main__":
    sys.exit(main())
