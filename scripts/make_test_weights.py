"""Makes the small weights that tests of the vLLM engine run on: GGUF in, safetensors out.

    python scripts/make_test_weights.py GGUF DIRECTORY

The GGUF file is checked against its SHA-256 before anything is read from it. The directory is
written whole and then renamed, so that a directory that is there is complete. Needs gguf,
accelerate, transformers and torch, which `scripts/setup --with-vllm-cpu` installs.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_CHUNK_BYTES = 1 << 20


def main(gguf: Path, directory: Path) -> int:
    """Convert ``gguf`` into ``directory``; exit 1 when it is not the file that is expected."""
    found = sha256(gguf)
    if found != GGUF_SHA256:
        print(f"error: {gguf} has SHA-256 {found}, expected {GGUF_SHA256}", file=sys.stderr)
        return 1
    making = directory.with_name(directory.name + ".making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    convert(gguf, making)
    shutil.rmtree(directory, ignore_errors=True)
    making.rename(directory)
    return 0


def sha256(file: Path) -> str:
    """The file's SHA-256 in hexadecimal digits."""
    digest = hashlib.sha256()
    with file.open("rb") as handle:
        while chunk := handle.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def convert(gguf: Path, directory: Path) -> None:
    """Write the model and its tokenizer as a directory that vLLM and transformers load."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"gguf_file": gguf.name}
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.bfloat16, **source)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **source)
    tied = model.config.tie_word_embeddings
    weights = {
        name: tensor.contiguous()
        for name, tensor in model.state_dict().items()
        if not (tied and name.startswith("lm_head."))
    }
    # What is written is unpacked; the configuration must not say otherwise.
    del model.config.quantization_config
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    model.config.save_pretrained(directory)
    model.generation_config.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
