"""An exported folder, served: raw examples in, answers out. Imported without torch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from compress.core.checks import require_at_least, require_choice, require_integer
from compress.core.errors import InputError
from compress.core.evaluation import BatchEffect
from compress.core.kept_vectors import FLOAT, PRECISIONS, port_of
from compress.core.signature import Signature
from compress.deploy.answers import Answer, bytes_of
from compress.deploy.batching import batches_of, padded_length
from compress.deploy.cache import AnswerCache, CacheCounts
from compress.deploy.export import Export, read_export
from compress.deploy.pictures import LabelledImages
from compress.deploy.reading import Form, Reading
from compress.deploy.settings import Batching, Settings, usual_session
from compress.deploy.tags import TaggedTexts
from compress.deploy.texts import EmbeddedTexts, LabelledTexts
from compress.deploy.tuned import Tuned, read_tuned
from compress.measure.environment import allowed_cpus

FORMS: Mapping[str, Callable[[Export], Form]] = {
    "text-classification": LabelledTexts,
    "sentence-similarity": EmbeddedTexts,
    "token-classification": TaggedTexts,
    "image-classification": LabelledImages,
}
# Where nothing was tuned, and batches hold.
BATCH_SIZE = 32
# Sums in another order differ in the last digits of FP32; a range over a whole batch moves outputs by far more.
SAME = 1e-3


class Predictor:
    """`Predictor("OUT/export")(["a text", "another"])`: an answer for each, in order.

    Examples are texts, pairs of texts, lists of words or images, as the export's task has it; answers are `Labelled`,
    vectors, or tuples of `TaggedWord`. What is asked for together is sorted by length and computed in batches, where
    the folder says that an answer does not depend on what else is in its batch, else one after the other. Safe to call
    from several threads. notes: what the folder does not say, and what of its settings cannot be used here.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        threads: int | None = None,
        batch_size: int | None = None,
        cache_bytes: int = 0,
        settings: Settings | None = None,
        vectors: str = FLOAT,
    ) -> None:
        """threads, batch_size: instead of what `compress-tune` found, or else of the usual. cache_bytes: how much
        memory may hold answers to frequent inputs; 0 for none. settings: all of them, instead of the folder's. vectors:
        the form of an embedding model's answers, `float`, or `int8` or `binary` where the run exported it
        (export.vectors).

        Raises InputError where the folder is no export, or cannot be served here.
        """
        require_at_least("cache_bytes", cache_bytes, 0, "Use 0 for no cache, 10_000_000 for 10 MB.")
        path = Path(folder).expanduser()
        self.export = read_export(path)
        tuned = None if settings is not None else read_tuned(self.export)
        served = settings or (self.usual(self.export) if tuned is None else tuned.settings)
        self.settings, capped = _within(_with(served, threads, batch_size))
        self.notes = (*self.export.missing, *capped, *_doubts(self.export, tuned, self.settings.batching.batch_size))
        # Who brings settings of their own has looked at the folder.
        for note in self.notes if settings is None else ():
            logging.getLogger(__name__).warning(note)
        tag = self.export.serving.pipeline_tag
        if tag not in FORMS:
            raise InputError(f"{path} answers as {tag}, which is not served. Served are {', '.join(FORMS)}.")
        try:
            self._form = FORMS[tag](self.export)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            # What its files say may have any type.
            raise InputError(f"{path} is no whole export ({error!r}). Export the model again.") from error
        self._signature = _giving(self.export, vectors)
        self._session = self.settings.session.open_folder(path, self._signature)
        self._cache = AnswerCache(int(cache_bytes)) if cache_bytes else None

    @staticmethod
    def usual(export: Export) -> Settings:
        """What is used where nothing was tuned."""
        together = holds(export.serving.batch_effect)
        return Settings(
            session=usual_session(export.runtime_settings, export.runtime, len(allowed_cpus())),
            batching=Batching(batch_size=BATCH_SIZE if together else 1, padding="longest"),
        )

    def __call__(self, examples: Sequence[Any], *, prompt: str | None = None) -> list[Answer]:
        """An answer for each example. prompt: the name of what an embedding model puts before each text, such as
        `query`. Raises InputError for what is no example, before any is computed."""
        if isinstance(examples, str | bytes):
            raise InputError("one example was given by itself; give a list of them: predictor([EXAMPLE]).")
        given = [self._form.given(example, place, prompt) for place, example in enumerate(examples, start=1)]
        if self._cache is None:
            return self._computed(self._form.read(given))
        return self._remembered(given, self._cache)

    @property
    def cache(self) -> CacheCounts | None:
        """How often the cache helped; None where there is none."""
        return None if self._cache is None else self._cache.counts

    def outputs(self, readings: Sequence[Reading]) -> list[list[np.ndarray]]:
        """The runtime's outputs for each row of each reading, without padding."""
        rows = [(place, row, length) for place, one in enumerate(readings) for row, length in _rows_of(one)]
        found: list[np.ndarray | None] = [None] * len(rows)
        batching, signature = self.settings.batching, self._signature
        for part in batches_of([length for _, _, length in rows], batching.batch_size):
            width = padded_length(rows[part[0]][2], batching.padding, self._form.most)
            inputs = self._form.batch([rows[place][1] for place in part], width)
            for place, output in zip(part, signature.rows(self._session.run(inputs), inputs), strict=True):
                found[place] = output
        gathered: list[list[np.ndarray]] = [[] for _ in readings]
        for (place, _, _), of_row in zip(rows, found, strict=True):
            assert of_row is not None
            gathered[place].append(of_row)
        return gathered

    def read(self, examples: Sequence[Any]) -> list[Reading]:
        """Examples as the model reads them."""
        return self._form.read([self._form.given(example, place, None) for place, example in enumerate(examples, 1)])

    def key(self, example: Any) -> tuple[Hashable, int]:
        """What an example is found by in the cache, and its size in bytes."""
        return self._form.key(self._form.given(example, 1, None))

    def _computed(self, readings: Sequence[Reading]) -> list[Answer]:
        """Of examples that are read alike one is computed."""
        different = list({reading.key: reading for reading in readings}.values())
        outputs = self.outputs(different)
        answers = {
            reading.key: self._form.answer(reading, rows) for reading, rows in zip(different, outputs, strict=True)
        }
        return [answers[reading.key] for reading in readings]

    def _remembered(self, given: Sequence[Any], cache: AnswerCache) -> list[Answer]:
        keys = [self._form.key(example) for example in given]
        answers: list[Answer | None] = [cache.find(key) for key, _ in keys]
        open_places = [place for place, answer in enumerate(answers) if answer is None]
        if open_places:
            for place, answer in zip(
                open_places,
                self._read_and_remembered([given[place] for place in open_places], cache),
                strict=True,
            ):
                answers[place] = answer
                cache.keep(*keys[place], answer, bytes_of(answer))
        return [answer for answer in answers if answer is not None]

    def _read_and_remembered(self, given: Sequence[Any], cache: AnswerCache) -> list[Answer]:
        """Texts that are written differently and read alike share an answer."""
        readings = self._form.read(given)
        known: dict[Hashable, Answer | None] = {one.key: None for one in readings}
        known = {key: cache.find(key) for key in known}
        asked = {one.key: one for one in readings if known[one.key] is None}
        cache.missed(len(asked))
        for reading, answer in zip(asked.values(), self._computed(list(asked.values())), strict=True):
            known[reading.key] = answer
            cache.keep(reading.key, reading.key_bytes, answer, bytes_of(answer))
        return [answer for answer in (known[one.key] for one in readings) if answer is not None]


def _giving(export: Export, form: str) -> Signature:
    """The signature with the output that is asked for. Raises InputError where the folder has none."""
    signature = export.serving.signature
    require_choice("vectors", form, (FLOAT, *PRECISIONS))
    if form == FLOAT:
        return signature
    port = port_of(signature.output, form)
    if port not in signature.more:
        given = [other for other in PRECISIONS if port_of(signature.output, other) in signature.more]
        raise InputError(
            f"vectors is {form}, and {export.folder} gives {', '.join((FLOAT, *given))}. Use one of these, or run "
            f"again with export.vectors={form}."
        )
    return replace(signature, output=port, more=())


def holds(effect: BatchEffect | None) -> bool:
    """Whether an answer is known not to depend on what else is in its batch."""
    return effect is not None and effect.changed == 0 and effect.largest_difference <= SAME


def told(effect: BatchEffect) -> str:
    """In a sentence's end."""
    return (
        f"in batches of {effect.batch}, {effect.changed} of {effect.rows} examples get another answer than alone, and "
        f"outputs differ by up to {effect.largest_difference:.2g}"
    )


def _rows_of(reading: Reading) -> list[tuple[Any, int]]:
    return list(zip(reading.rows, reading.lengths, strict=True))


def _with(settings: Settings, threads: int | None, batch_size: int | None) -> Settings:
    if threads is not None:
        require_integer("threads", threads, 1, "Leave it out to use every core this process may use.")
        settings = replace(settings, session=replace(settings.session, threads=threads))
    if batch_size is not None:
        settings = replace(settings, batching=replace(settings.batching, batch_size=batch_size))
    return settings


def _within(settings: Settings) -> tuple[Settings, tuple[str, ...]]:
    """No more threads than there are processors here, and what there is to say of it."""
    asked, here = settings.session.threads, len(allowed_cpus())
    if asked <= here:
        return settings, ()
    told = f"{asked} threads are asked for, and this process may use {here} processors: {here} are used."
    return replace(settings, session=replace(settings.session, threads=here)), (told,)


def _doubts(export: Export, tuned: Tuned | None, batch_size: int) -> tuple[str, ...]:
    """What batches cost where they change answers."""
    effect = export.serving.batch_effect if tuned is None or tuned.batch_effect is None else tuned.batch_effect
    if batch_size == 1 or holds(effect):
        return ()
    if effect is None:
        return (f"batches of {batch_size} are asked for, and nobody measured whether they change answers.",)
    return (f"batches of {batch_size} are asked for, and they change answers: {told(effect)}.",)
