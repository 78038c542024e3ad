from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from datasets import Dataset

from compress.core.errors import InputError
from compress.methods.training.transfer import transfer_fingerprint, transfer_set
from compress.pipeline.encoded_data import EncodedData, joined_fingerprint
from compress.tasks.text_classification import TextClassification
from compress.tasks.token_classification import TokenClassification
from compress.tasks.vocabulary.tokenizer import TokenizerVocabulary


def readings(tokenizer: Any, make_model: Callable) -> tuple[EncodedData, EncodedData]:
    """The same two texts read with all tokens, and with six: numbers 0 to 3, `kas` (4) and `kam` (7)."""
    task, config = TextClassification(text="text", label="label", max_length=16), make_model().config
    splits = {"validation": Dataset.from_dict({"text": ["kam kas", "kas kat kam"], "label": ["cold", "warm"]})}
    trimmed = TokenizerVocabulary(tokenizer).keep([0, 1, 2, 3, 4, 7])
    return EncodedData(task, splits, tokenizer, config), EncodedData(task, splits, trimmed, config)


def test_each_processor_reads_for_itself(tokenizer: Any, make_model: Callable) -> None:
    whole, trimmed = readings(tokenizer, make_model)
    assert whole.split("validation")["input_ids"][:] == [[2, 7, 4, 3], [2, 4, 5, 7, 3]]
    assert trimmed.split("validation")["input_ids"][:] == [[2, 5, 4, 3], [2, 4, 1, 5, 3]]
    batch = trimmed.collate(list(trimmed.split("validation")))
    assert batch["input_ids"].tolist() == [[2, 5, 4, 3, 0], [2, 4, 1, 5, 3]]


def test_what_the_examples_are_does_not_depend_on_who_reads_them(tokenizer: Any, make_model: Callable) -> None:
    whole, trimmed = readings(tokenizer, make_model)
    assert whole.content("validation") == trimmed.content("validation") != ""
    assert whole.fingerprint("validation") != trimmed.fingerprint("validation")
    assert whole.content("test") == ""


def test_a_key_sees_both_readings(tokenizer: Any, make_model: Callable) -> None:
    whole, trimmed = readings(tokenizer, make_model)
    assert joined_fingerprint("validation", whole, whole) == whole.fingerprint("validation")
    both = joined_fingerprint("validation", trimmed, whole)
    assert both == f"{trimmed.fingerprint('validation')}+{whole.fingerprint('validation')}"
    assert len({both, whole.fingerprint("validation"), trimmed.fingerprint("validation")}) == 3


def test_which_examples_have_the_same_tokens(tokenizer: Any, make_model: Callable) -> None:
    whole, trimmed = readings(tokenizer, make_model)
    task, mine, theirs = trimmed._task, trimmed.split("validation"), whole.split("validation")
    # `kat` was dropped from the second.
    assert task.same_tokens(mine, trimmed.processor, theirs, whole.processor) == [True, False]


UNLABELLED = Dataset.from_dict({"text": ["kas kat kam", "kas kas", "kas  kas", "kat kas"]})


def with_unlabelled(tokenizer: Any, make_model: Callable) -> tuple[EncodedData, EncodedData, str]:
    task, config = TextClassification(text="text", label="label", max_length=16), make_model().config
    splits = {
        "train": Dataset.from_dict({"text": ["kam kas", "kam kat"], "label": ["cold", "warm"]}),
        "validation": Dataset.from_dict({"text": ["kas kat kam", "kas"], "label": ["warm", "cold"]}),
    }
    whole, note = EncodedData(task, splits, tokenizer, config).with_unlabelled(UNLABELLED)
    return whole, whole.encoded_by(TokenizerVocabulary(tokenizer).keep([0, 1, 2, 3, 4, 7]), config), note


def test_unlabelled_texts_are_read_by_each_processor_too(tokenizer: Any, make_model: Callable) -> None:
    whole, trimmed, note = with_unlabelled(tokenizer, make_model)
    assert note.startswith("data.unlabelled: 2 of 4 examples are imitated; 1 are left out because the validation ")
    assert whole.unlabelled is not None and trimmed.unlabelled is not None
    assert whole.unlabelled["input_ids"][:] == [[2, 4, 4, 3], [2, 5, 4, 3]]
    # The same two texts, row by row; `kat` is unknown to the second.
    assert trimmed.unlabelled["input_ids"][:] == [[2, 4, 4, 3], [2, 1, 4, 3]]
    assert trimmed.unlabelled["labels"][:] == [-100, -100]
    assert len({whole.fingerprint("unlabelled"), trimmed.fingerprint("unlabelled"), ""}) == 3


def test_no_unlabelled_texts(tokenizer: Any, make_model: Callable) -> None:
    whole, _ = readings(tokenizer, make_model)
    assert whole.unlabelled is None
    assert whole.fingerprint("unlabelled") == ""


def test_texts_that_judge_without_labels_change_nothing_that_is_learned_from(
    tokenizer: Any, make_model: Callable
) -> None:
    before, _, _ = with_unlabelled(tokenizer, make_model)
    # The first is learned from, the second unlabelled, the third a validation text; the fourth only reads otherwise.
    texts = Dataset.from_dict({"text": ["kam kas", "kat kas", "kas", "kas  kas kas", "kas kas kas"]})
    whole, note = before.with_spare(texts)
    assert note == (
        "data.unlabelled_validation: 3 of 5 examples judge without labels; 2 are left out because they, or their "
        "groups, are in the train, unlabelled or test split"
    )
    assert whole.split("unlabelled_validation")["input_ids"][:] == [[2, 4, 3], [2, 4, 4, 4, 3], [2, 4, 4, 4, 3]]
    assert whole.spare is not None
    # `kas` is the second validation text; the two that read alike are one group, the first after those.
    assert (whole.spare.groups, whole.spare.usable) == ([1, 2, 2], [True, True])
    assert (whole.spare.lengths, whole.spare.text_lengths, whole.spare.unit) == ([5, 3], [3, 5, 5], "tokens")
    for name in ("train", "validation", "unlabelled"):
        assert whole.fingerprint(name) == before.fingerprint(name)
    assert whole.spliced(50, seed=0)["input_ids"][:] == before.spliced(50, seed=0)["input_ids"][:]
    trimmed = whole.encoded_by(TokenizerVocabulary(tokenizer).keep([0, 1, 2, 3, 4, 7]), whole.config)
    assert len(trimmed.split("unlabelled_validation")) == 3 and trimmed.spare is whole.spare


def test_an_empty_text_that_judges_is_named_by_its_own_setting(tokenizer: Any, make_model: Callable) -> None:
    whole, _, _ = with_unlabelled(tokenizer, make_model)
    with pytest.raises(InputError, match=r"example 2 of data\.unlabelled_validation has no text"):
        whole.with_spare(Dataset.from_dict({"text": ["kas los", " "]}))
    with pytest.raises(InputError, match=r"a column that data\.unlabelled_validation does not have"):
        whole.with_spare(Dataset.from_dict({"one": ["kas los"], "other": ["kas"]}))


def test_what_a_stage_is_told_of_the_teacher(tokenizer: Any, make_model: Callable) -> None:
    whole, trimmed, _ = with_unlabelled(tokenizer, make_model)
    assert whole.for_student(whole, 0) is None
    told = whole.for_student(trimmed, 0)
    assert told is not None and told.unlabelled is not None
    # `kam kas` | `kam kat` | `kas kas` | `kat kas`
    assert told.aligned(0) == [True, False, True, False]
    assert told.train["input_ids"][:] == [[2, 7, 4, 3], [2, 7, 5, 3]]
    assert told.unlabelled["input_ids"][:] == [[2, 4, 4, 3], [2, 5, 4, 3]]
    assert told.train_fingerprint == whole.fingerprint("train")
    assert told.unlabelled_fingerprint == whole.fingerprint("unlabelled")
    # Those made of `kam kas` and `kam kat` that end with `kas` have no `kat` where they have no first `kam kat`.
    texts = [tokenizer.decode(row[1:-1]) for row in told.spliced(6)["input_ids"]]
    assert told.aligned(6) == [True, False, True, False, *("kat" not in text for text in texts)]
    assert len(set(told.aligned(6)[4:])) == 2
    assert told.collate(list(told.train))["input_ids"].tolist() == [[2, 7, 4, 3], [2, 7, 5, 3]]


def test_spliced_texts_are_made_of_the_training_split_and_judge_nobody(tokenizer: Any, make_model: Callable) -> None:
    whole, trimmed, _ = with_unlabelled(tokenizer, make_model)
    rows = whole.spliced(50, seed=0)
    texts = [tokenizer.decode(row[1:-1]) for row in rows["input_ids"]]
    # From `kam kas` and `kam kat`: three beginnings, `kam`, `kam kas` and `kam kat`, before four ends, less the two
    # that are there already.
    ends = ["kas", "kat", "kam kas", "kam kat"]
    expected = {f"{begin} {end}" for begin in ("kam", "kam kas", "kam kat") for end in ends}
    assert sorted(texts) == sorted(expected - {"kam kas", "kam kat"})
    assert rows["labels"][:] == [-100] * 10
    assert whole.spliced(50, seed=0) is rows
    assert whole.spliced(3, seed=0)["input_ids"][:] == rows["input_ids"][:3]
    # The same texts as the other processor, which has no `kat`, reads them.
    assert [row.count(1) for row in trimmed.spliced(50, seed=0)["input_ids"]] == [text.count("kat") for text in texts]


def test_what_is_in_the_validation_split_is_not_spliced(tokenizer: Any, make_model: Callable) -> None:
    task, config = TextClassification(text="text", label="label", max_length=16), make_model().config
    train = Dataset.from_dict({"text": ["kam kas", "kam kat"], "label": ["cold", "warm"]})
    judging = Dataset.from_dict({"text": ["kam  kam kas", "kam kas kat"], "label": ["cold", "warm"]})
    found = EncodedData(task, {"train": train, "validation": judging}, tokenizer, config).spliced(50, seed=0)
    texts = {tokenizer.decode(row[1:-1]) for row in found["input_ids"]}
    assert len(texts) == 8 and not texts & {"kam kam kas", "kam kas kat"}


def test_nothing_is_spliced_where_nothing_new_can_be(tokenizer: Any, make_model: Callable) -> None:
    task, config = TextClassification(text="text", label="label", max_length=16), make_model().config
    train = Dataset.from_dict({"text": ["kam", "kam"], "label": ["cold", "warm"]})
    # One word is taken apart into letters.
    judging = ["".join(parts) for parts in itertools.product(("k", "ka", "kam"), ("m", "am", "kam"))]
    split = Dataset.from_dict({"text": judging, "label": ["cold", "warm", "cold"] * 3})
    reading = EncodedData(task, {"train": train, "validation": split}, tokenizer, config)
    assert len(reading.spliced(4, seed=0)) == 0
    told = EncodedData(task, {"train": train, "validation": split}, tokenizer, config).for_student(reading, 0)
    assert told is not None and told.aligned(4) == [True, True]
    assert len(transfer_set(told, 4)) == 2 and transfer_fingerprint(told, 4)[0] == reading.fingerprint("train")


def test_a_long_unlabelled_text_stays_whole_or_goes_whole(tokenizer: Any, make_model: Callable) -> None:
    names = {"words": "tokens", "tags": "tags", "text": "text", "spans": "spans", "scheme": "auto"}
    task, config = TokenClassification(**names, max_length=6, stride=0), make_model().config
    judging = Dataset.from_dict({"tokens": [["kas", "kat", "kan", "kam"]], "tags": [["cold", "warm", "cold", "warm"]]})
    train = Dataset.from_dict({"tokens": [["los", "lot"]], "tags": [["cold", "warm"]]})
    # Windows of four words; the first of the second text is the validation split's.
    texts = [["kat"] * 4 + ["kas"], ["kas", "kat", "kan", "kam", "los"], ["kar"]]
    unlabelled = Dataset.from_dict({"tokens": texts})
    reading = EncodedData(task, {"train": train, "validation": judging}, tokenizer, config)
    whole, _ = reading.with_unlabelled(unlabelled)
    assert whole.unlabelled is not None
    assert whole.unlabelled["input_ids"][:] == [[2, 5, 5, 5, 5, 3], [2, 4, 3], [2, 8, 3]]
    again = whole.encoded_by(tokenizer, config).unlabelled
    assert again is not None and again["input_ids"][:] == whole.unlabelled["input_ids"][:]


def written_otherwise(tokenizer: Any, make_model: Callable) -> tuple[EncodedData, dict[str, list[bytes]]]:
    """Capitals are small letters to this tokenizer, and of eight tokens six are words."""
    task, config = TextClassification(text="text", label="label", max_length=8), make_model().config
    texts = {
        "train": ["kas kat", "Kas kat", "los lot", "kan kan kan kan kan kan kam", "mis", "mis"],
        "validation": ["LOS lot", "kan kan kan kan kan kan kar", "nus nut"],
    }
    splits = {
        name: Dataset.from_dict(
            {"text": of_split, "label": ["cold", "warm"] * 3 if name == "train" else ["cold"] * 2 + ["warm"]}
        )
        for name, of_split in texts.items()
    }
    read = {name: [text.encode() for text in of_split] for name, of_split in texts.items()}
    return EncodedData(task, splits, tokenizer, config), read


def test_examples_that_are_written_otherwise_and_encoded_alike_are_told(tokenizer: Any, make_model: Callable) -> None:
    data, read = written_otherwise(tokenizer, make_model)
    same, notes = data.looked_at(read, once=False)
    # "Kas kat" in train; "los lot" and the long text, which validation has. "mis" twice was told by the source.
    assert same is data
    assert notes == (
        "3 examples of train are encoded like others, of it or of another split, that are written otherwise; they stay",
    )


def test_examples_that_are_encoded_alike_are_left_out_of_what_is_learned_from(
    tokenizer: Any, make_model: Callable
) -> None:
    data, read = written_otherwise(tokenizer, make_model)
    fewer, notes = data.looked_at(read, once=True)
    assert notes[0].endswith("they are left out")
    before = data.split("train")["input_ids"][:]
    assert fewer.split("train")["input_ids"][:] == [before[0], before[4], before[5]] and before[0] == [2, 4, 5, 3]
    assert fewer.split("validation")["input_ids"][:] == data.split("validation")["input_ids"][:]
    assert fewer.content("train") != data.content("train")
    # A message about an example names its place in the file.
    assert fewer._origins == {"train": ("train", [0, 4, 5])}


def test_a_split_of_which_nothing_is_left_is_refused(tokenizer: Any, make_model: Callable) -> None:
    task, config = TextClassification(text="text", label="label", max_length=8), make_model().config
    splits = {
        name: Dataset.from_dict({"text": texts, "label": ["cold", "warm"]})
        for name, texts in {"train": ["KAS", "KAT"], "validation": ["kas", "kat"]}.items()
    }
    read = {"train": [b"KAS", b"KAT"], "validation": [b"kas", b"kat"]}
    with pytest.raises(InputError, match=r"data\.repeated is drop; every example of data\.train is encoded like one"):
        EncodedData(task, splits, tokenizer, config).looked_at(read, once=True)


def test_windows_of_documents_are_not_compared(tokenizer: Any, make_model: Callable) -> None:
    task = TokenClassification(
        words="tokens", tags="tags", text="text", spans="spans", scheme="plain", max_length=4, stride=0
    )
    config = make_model().config
    splits = {
        name: Dataset.from_dict({"tokens": [words, ["mis"]], "tags": [["cold", "warm", "cold"], ["warm"]]})
        for name, words in {"train": ["kas", "kat", "kan"], "validation": ["KAS", "kat", "kan"]}.items()
    }
    data = EncodedData(task, splits, tokenizer, config)
    assert data.looked_at({name: [b"1", name.encode()] for name in splits}, once=True) == (data, ())
