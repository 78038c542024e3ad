from compress.tasks.vocabulary.byte_pair import BytePair
from compress.tasks.vocabulary.unigram import Unigram
from compress.tasks.vocabulary.word_level import WordLevel
from compress.tasks.vocabulary.word_piece import WordPiece


def numbered(*tokens: str) -> dict[str, int]:
    return {token: number for number, token in enumerate(tokens)}


def test_word_piece_keeps_single_characters_and_what_they_cannot_spell() -> None:
    # `qa` needs a `q`, `##bq` a `##q`: neither is there.
    vocabulary = numbered("[UNK]", "a", "##a", "b", "##b", "ab", "##bb", "qa", "##bq", "##aa")
    found = WordPiece({"vocab": vocabulary, "unk_token": "[UNK]", "continuing_subword_prefix": "##"})
    assert found.characters() == {"a", "##a", "b", "##b", "qa", "##bq", "[UNK]"}
    assert found.needed() == {"[UNK]"}
    assert found.with_parts(["ab"]) == {"ab"}


def test_word_piece_takes_the_new_numbers() -> None:
    found = WordPiece({"vocab": numbered("[UNK]", "a", "##a"), "unk_token": "[UNK]", "continuing_subword_prefix": "##"})
    assert found.numbers() == {"[UNK]": 0, "a": 1, "##a": 2}
    assert found.keep({"[UNK]": 0, "##a": 1})["vocab"] == {"[UNK]": 0, "##a": 1}


def test_byte_pairs_keep_what_a_token_is_merged_from() -> None:
    merges = [["a", "b"], ["c", "d"], ["ab", "cd"]]
    found = BytePair({"vocab": numbered("a", "b", "c", "d", "ab", "cd", "abcd"), "merges": merges})
    assert found.with_parts(["abcd"]) == {"abcd", "ab", "cd", "a", "b", "c", "d"}
    assert found.with_parts(["ab", "c"]) == {"ab", "a", "b", "c"}
    assert found.characters() == {"a", "b", "c", "d"}
    assert found.needed() == set()
    kept = found.keep(numbered("a", "b", "c", "d", "cd"))
    assert kept["merges"] == [["c", "d"]]
    assert kept["vocab"] == {"a": 0, "b": 1, "c": 2, "d": 3, "cd": 4}


def test_byte_pairs_that_make_the_same_token_are_all_kept() -> None:
    # `abc` comes from `ab` and `c`, or from `a` and `bc`, depending on what stands around it.
    merges = ["a b", "b c", "ab c", "a bc"]
    found = BytePair({"vocab": numbered("a", "b", "c", "ab", "bc", "abc"), "merges": merges})
    assert found.with_parts(["abc"]) == {"abc", "ab", "bc", "a", "b", "c"}


def test_byte_pairs_with_a_prefix_inside_words() -> None:
    vocabulary = numbered("a", "##b", "ab")
    model = {"vocab": vocabulary, "merges": [["a", "##b"]], "continuing_subword_prefix": "##", "unk_token": "a"}
    assert BytePair(model).with_parts(["ab"]) == {"ab", "a", "##b"}
    assert BytePair(model).keep(vocabulary)["merges"] == [["a", "##b"]]
    assert BytePair(model).needed() == {"a"}


def test_unigram_keeps_scores_and_the_price_of_the_unknown() -> None:
    pieces = [["<s>", 0.0], ["<unk>", 0.0], ["a", -2.0], ["b", -9.5], ["ab", -3.0], ["aq", -4.0]]
    found = Unigram({"vocab": pieces, "unk_id": 1, "byte_fallback": False})
    assert found.numbers()["aq"] == 5
    assert found.needed() == {"<unk>", "b"}
    # `<s>` and `<unk>` hold characters that are no pieces, as does `aq`.
    assert found.characters() == {"a", "b", "aq", "<s>", "<unk>"}
    kept = found.keep({"<unk>": 0, "b": 1, "ab": 2})
    assert kept["vocab"] == [["<unk>", 0.0], ["b", -9.5], ["ab", -3.0]]
    assert kept["unk_id"] == 0


def test_unigram_keeps_the_bytes_that_unknown_text_becomes() -> None:
    pieces = [["<unk>", 0.0], ["<0x0A>", -1.0], ["<0xFF>", -1.0], ["0", -1.0]]
    letters = [[letter, -1.0] for letter in "<>xAFunk"]
    model = {"vocab": [*pieces, *letters], "unk_id": 0}
    assert {"<0x0A>", "<0xFF>"} <= Unigram({**model, "byte_fallback": True}).characters()
    assert not {"<0x0A>", "<0xFF>"} & Unigram({**model, "byte_fallback": False}).characters()


def test_words_have_nothing_smaller() -> None:
    found = WordLevel({"vocab": numbered("[UNK]", "one", "two"), "unk_token": "[UNK]"})
    assert (found.needed(), found.characters(), found.with_parts(["two"])) == ({"[UNK]"}, set(), {"two"})
    assert found.keep({"[UNK]": 0, "two": 1})["vocab"] == {"[UNK]": 0, "two": 1}
