"""What opens a language model in other programs. A worker process builds these by name, and asks for a token at a time.

Each of them chooses its tokens itself, and hands on no more than which: asking for all logits would be our cost and not
theirs. So `read` gives 1 for the token that was chosen, and 0 for all others.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from compress.core.signature import Signature

# One request at a time; more would never fit the prompts and continuations here.
CONTEXT = 1024


@dataclass(frozen=True, kw_only=True)
class GenAI:
    """ONNX Runtime GenAI, its own loop over a folder that its builder wrote."""

    threads: int

    label: ClassVar[str] = "ONNX Runtime GenAI"
    libraries: ClassVar[tuple[str, ...]] = ("onnxruntime-genai",)

    def open(self, folder: Path, signature: Signature) -> GenAISession:
        """Open the folder; `genai_config.json` names the threads."""
        import onnxruntime_genai

        return GenAISession(onnxruntime_genai.Model(str(folder)))


class GenAISession:
    """One opened model."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The logits at every position, a row at a time."""
        mask = inputs["attention_mask"]
        vocabulary, found = 0, []
        for ids, length in zip(inputs["input_ids"], mask.sum(axis=1), strict=True):
            generator = self._generator()
            generator.append_tokens(ids[None, :length].astype(np.int32))
            logits = np.asarray(generator.get_output("logits"))[0]
            if len(logits) != length:
                raise ValueError(f"GenAI told of {len(logits)} positions of {length}")
            vocabulary = logits.shape[-1]
            found.append(logits)
        together = np.zeros((*mask.shape, vocabulary), dtype=np.float32)
        for row, logits in zip(together, found, strict=True):
            row[: len(logits)] = logits
        return together

    def reader(self) -> GenAIReader:
        """A use that has read nothing yet."""
        return GenAIReader(self._generator())

    def _generator(self) -> Any:
        import onnxruntime_genai

        settings = onnxruntime_genai.GeneratorParams(self._model)
        # The end of a text ends no request here: all programs write as many tokens.
        settings.set_search_options(do_sample=False, max_length=CONTEXT, min_length=CONTEXT)
        return onnxruntime_genai.Generator(self._model, settings)


class GenAIReader:
    """One request."""

    def __init__(self, generator: Any) -> None:
        self._generator, self._begun = generator, False

    def read(self, tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """The next token: the program knows its own last one."""
        if not self._begun:
            self._generator.append_tokens(tokens.astype(np.int32))
            self._begun = True
        self._generator.generate_next_token()
        return chosen(int(self._generator.get_next_tokens()[0]))


@dataclass(frozen=True, kw_only=True)
class LlamaCpp:
    """llama.cpp, through xllamacpp: the loop of its server, which streams what it writes."""

    threads: int

    label: ClassVar[str] = "llama.cpp"
    libraries: ClassVar[tuple[str, ...]] = ("xllamacpp",)

    def open(self, folder: Path, signature: Signature) -> LlamaCppSession:
        """Open `folder/model.gguf`."""
        import xllamacpp

        assert signature.decoding is not None
        settings = xllamacpp.CommonParams()
        settings.model.path = str(folder / "model.gguf")
        settings.n_ctx, settings.n_parallel, settings.cache_prompt = CONTEXT, 1, False
        settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = self.threads
        settings.verbosity = 0
        return LlamaCppSession(xllamacpp.Server(settings), signature.decoding.new_tokens)


class LlamaCppSession:
    """One opened model."""

    def __init__(self, server: Any, new_tokens: int) -> None:
        self._server, self._new_tokens = server, new_tokens

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Raises NotImplementedError: the server tells of no logits before the last position."""
        raise NotImplementedError

    def reader(self) -> LlamaCppReader:
        """A use that has read nothing yet."""
        return LlamaCppReader(self._server, self._new_tokens)


class LlamaCppReader:
    """One request. The server streams text and not tokens, and holds back what is no whole character: so it is told
    when the first of it came, and when all was there, and not which tokens they were."""

    def __init__(self, server: Any, new_tokens: int) -> None:
        self._server, self._new_tokens = server, new_tokens
        self._begun, self._written, self._error = threading.Event(), 0, ""
        self._thread: threading.Thread | None = None
        self._read = 0

    def read(self, tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """The first call sends the whole request and returns once it is being answered, the last one once it was; those
        between return at once. Raises RuntimeError where another number of tokens was written."""
        self._read += 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._ask, args=(tokens[0].tolist(),), daemon=True)
            self._thread.start()
            self._begun.wait()
        elif self._read == self._new_tokens:
            self._thread.join()
            if self._written != self._new_tokens:
                raise RuntimeError(f"{self._written} tokens were written, not {self._new_tokens}. {self._error}")
        return chosen(0)

    def _ask(self, prompt: list[int]) -> None:
        request = {
            "prompt": prompt,
            "n_predict": self._new_tokens,
            "temperature": 0.0,
            "top_k": 1,
            "ignore_eos": True,
            "cache_prompt": False,
            "stream": True,
        }
        try:
            self._server.handle_completions(request, self._heard)
        finally:
            self._begun.set()

    def _heard(self, answer: Any) -> bool:
        self._begun.set()
        for part in answer if isinstance(answer, list) else [answer]:
            self._error += str(part.get("error", ""))
            self._written = part.get("usage", {}).get("completion_tokens", self._written)
        return False


@dataclass(frozen=True, kw_only=True)
class CTranslate2Decoder:
    """CTranslate2 on a folder that its converter wrote. compute: `int8`, or `float32`."""

    threads: int
    compute: str

    label: ClassVar[str] = "CTranslate2"
    libraries: ClassVar[tuple[str, ...]] = ("ctranslate2",)

    def open(self, folder: Path, signature: Signature) -> CTranslate2DecoderSession:
        """Open the folder."""
        import json

        import ctranslate2

        assert signature.decoding is not None
        generator = ctranslate2.Generator(
            str(folder), device="cpu", compute_type=self.compute, inter_threads=1, intra_threads=self.threads
        )
        words = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
        return CTranslate2DecoderSession(generator, words, signature.decoding.new_tokens)


class CTranslate2DecoderSession:
    """One opened model."""

    def __init__(self, generator: Any, words: list[str], new_tokens: int) -> None:
        self._generator, self._words, self._new_tokens = generator, words, new_tokens

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The logits at every position of a batch."""
        lengths = inputs["attention_mask"].sum(axis=1).tolist()
        ids = [row[:length].tolist() for row, length in zip(inputs["input_ids"], lengths, strict=True)]
        logits = np.asarray(self._generator.forward_batch(ids, return_log_probs=False))
        missing = inputs["input_ids"].shape[1] - logits.shape[1]
        return np.pad(logits, ((0, 0), (0, missing), (0, 0)))

    def reader(self) -> CTranslate2Reader:
        """A use that has read nothing yet."""
        return CTranslate2Reader(self._generator, self._words, self._new_tokens)


class CTranslate2Reader:
    """One request."""

    def __init__(self, generator: Any, words: list[str], new_tokens: int) -> None:
        self._generator, self._words, self._new_tokens = generator, words, new_tokens
        self._steps: Any = None

    def read(self, tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """The next token."""
        if self._steps is None:
            # Without an end, or it would stop there.
            self._steps = self._generator.generate_tokens(
                [self._words[token] for token in tokens[0].tolist()],
                max_length=self._new_tokens,
                min_length=self._new_tokens,
                sampling_topk=1,
            )
        return chosen(int(next(self._steps).token_id))


# The largest token that was told: longer arrays than are needed cost time.
_largest = 0


def chosen(token: int) -> np.ndarray:
    """(1, vocabulary), 1 for the token."""
    global _largest
    _largest = max(_largest, token)
    logits = np.zeros((1, _largest + 1), dtype=np.float32)
    logits[0, token] = 1.0
    return logits
