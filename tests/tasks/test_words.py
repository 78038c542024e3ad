"""Words to pieces, and long documents in windows, on a tokenizer that cuts every word into its letters."""

from __future__ import annotations

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from compress.tasks.words import Document, cut, joined, judges, separate_words, split_words, windows_of

# [PAD] [CLS] [SEP] are 0 to 2, a to e 3 to 7, and ##a to ##e 8 to 12.
VOCABULARY = {name: i for i, name in enumerate(["[PAD]", "[CLS]", "[SEP]", *"abcde", *(f"##{x}" for x in "abcde")])}


def letters() -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordPiece(VOCABULARY, unk_token="[PAD]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]")


def byte_level() -> PreTrainedTokenizerFast:
    vocabulary = {name: i for i, name in enumerate(["<pad>", "Ġ", "a", "b", "Ġa", ".", ".."])}
    backend = Tokenizer(models.BPE(vocabulary, [("Ġ", "a"), (".", ".")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.post_processor = processors.ByteLevel(trim_offsets=True)
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>")


def test_windows_share_words_and_hold_all() -> None:
    assert cut([1] * 10, room=4, stride=2) == [(0, 4), (2, 6), (4, 8), (6, 10)]
    assert cut([1] * 4, room=4, stride=2) == [(0, 4)]
    # Two words of three pieces never fit together, so none is shared.
    assert cut([3, 3, 3], room=4, stride=2) == [(0, 1), (1, 2), (2, 3)]
    # The third word fits beside the second only.
    assert cut([1, 1, 3], room=4, stride=2) == [(0, 2), (1, 3)]
    # Longer than a window: by itself, cut by the tokenizer.
    assert cut([9, 1, 1], room=4, stride=1) == [(0, 1), (1, 3)]


def test_a_word_is_judged_where_most_is_around_it() -> None:
    windows = [(0, 4), (2, 6), (4, 8), (6, 10)]
    # Word 3 is the last of the first window; the second has one word before and two behind it.
    assert [judges(windows, word, 10) for word in range(10)] == [0, 0, 0, 1, 1, 2, 2, 3, 3, 3]


def test_first_pieces_and_windows() -> None:
    # Room for four letters between [CLS] and [SEP].
    windows = windows_of([Document(("ab", "c", "d", "e"))], letters(), max_length=6, stride=1)
    assert [window.ids for window in windows] == [(1, 3, 9, 5, 6, 2), (1, 6, 7, 2)]
    assert [window.words for window in windows] == [(-1, 0, -1, 1, 2, -1), (-1, 2, 3, -1)]
    # "d" is at an inner edge of both: the first has it.
    assert [window.judged for window in windows] == [(-1, 0, -1, 1, 2, -1), (-1, -1, 3, -1)]
    assert {window.document for window in windows} == {0}


def test_a_word_that_the_tokenizer_reads_as_nothing_has_no_piece() -> None:
    (window,) = windows_of([Document(("a", " ", "b"))], letters(), max_length=8, stride=1)
    assert window.words == (-1, 0, 2, -1)


def test_a_text_is_read_as_it_is_written() -> None:
    document = Document.of_text(" a bc.")
    assert document.words == ("a", "bc", ".") and document.spans == ((1, 2), (3, 5), (5, 6))
    (window,) = windows_of([Document.of_text("a bc")], letters(), max_length=8, stride=1)
    assert (window.ids, window.words) == ((1, 3, 4, 10, 2), (-1, 0, 1, -1, -1))


def test_a_part_of_a_text_counts_its_words_from_the_documents_first() -> None:
    windows = windows_of([Document.of_text("ab c  d e")], letters(), max_length=6, stride=1)
    assert [window.ids for window in windows] == [(1, 3, 9, 5, 6, 2), (1, 6, 7, 2)]
    assert [window.judged for window in windows] == [(-1, 0, -1, 1, 2, -1), (-1, -1, 3, -1)]


def test_byte_level_words_of_a_list_read_like_those_of_a_text() -> None:
    tokenizer = byte_level()
    assert tokenizer(["a", "b"], is_split_into_words=True)["input_ids"] == [2, 3]
    tokenizer = separate_words(tokenizer)
    (of_list,) = windows_of([Document(("a", "b"))], tokenizer, max_length=9, stride=1)
    (of_text,) = windows_of([Document.of_text("a b")], tokenizer, max_length=9, stride=1)
    # "Ġa", "Ġ", "b": the second word begins with its space.
    assert of_list.ids == of_text.ids == (4, 1, 3)
    assert of_list.words == of_text.words == (0, 1, -1)


def test_a_piece_of_two_words_is_the_first_ones() -> None:
    (window,) = windows_of([Document.of_text("a..")], separate_words(byte_level()), max_length=9, stride=1)
    assert (window.ids, window.words) == ((4, 6), (0, 1))


def test_words_of_a_text() -> None:
    found = [("It's 5$ (日本)!"[begin:end]) for begin, end in split_words("It's 5$ (日本)!")]
    assert found == ["It", "'", "s", "5", "$", "(", "日", "本", ")", "!"]
    # A vowel sign belongs to its word.
    assert split_words("की है") == [(0, 2), (3, 5)]
    assert split_words(" \n") == []


def test_documents_are_joined_in_the_order_of_their_words() -> None:
    rows = [{"document": 0, "words": [-1, 0, 2]}, {"document": 0, "words": [1, -1]}, {"document": 1, "words": [0]}]
    assert joined([[9, 10, 12], [11, 9], [20]], rows) == [[10, 11, 12], [20]]
