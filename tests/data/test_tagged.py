from __future__ import annotations

from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from compress.core.errors import InputError
from compress.data.assemble import with_class_names
from compress.data.formats import read_file
from compress.data.tagged import read_conllu, read_iob

CONLLU = """\
# newdoc id = a
# text = Don't go.
1-2\tDon't\t_\t_\t_\t_\t_\t_\t_\t_
1\tDo\tdo\tAUX\tVBP\t_\t3\taux\t_\t_
2\tn't\tnot\tPART\tRB\t_\t3\tadvmod\t_\t_
2.1\tever\tever\tADV\tRB\t_\t_\t_\t_\t_
3\tgo\tgo\tVERB\tVB\t_\t0\troot\t_\tSpaceAfter=No

# newdoc id = b
1\tYes\tyes\tINTJ\tUH\t_\t0\troot\t_\t_
"""


def test_words_and_tags_of_two_columns() -> None:
    # As it is found on the web: an empty line may hold a tab, a word may be a number sign.
    assert read_iob("Ada\tB-PER\n#\tO\n\t\n\nRome\tB-LOC\r\n") == {
        "tokens": [["Ada", "#"], ["Rome"]],
        "tags": [["B-PER", "O"], ["B-LOC"]],
    }


def test_documents_are_counted_and_other_columns_kept() -> None:
    first = "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\n"
    text = f"{first}-DOCSTART- -X- -X- O\n\nPeter NNP B-NP B-PER\n"
    assert read_iob(text) == {
        "tokens": [["EU", "rejects"], ["Peter"]],
        "tags": [["B-ORG", "O"], ["B-PER"]],
        "column_2": [["NNP", "VBZ"], ["NNP"]],
        "column_3": [["B-NP", "B-VP"], ["B-NP"]],
        "document": [1, 2],
    }


def test_a_tab_keeps_spaces_within_a_word() -> None:
    assert read_iob("New York\tB-LOC\n")["tokens"] == [["New York"]]


def test_conllu_gives_syntactic_words() -> None:
    columns = read_conllu(CONLLU)
    assert columns["tokens"] == [["Do", "n't", "go"], ["Yes"]]
    assert columns["tags"] == [["AUX", "PART", "VERB"], ["INTJ"]]
    assert columns["xpos"] == [["VBP", "RB", "VB"], ["UH"]]
    assert columns["misc"] == [["_", "_", "SpaceAfter=No"], ["_"]]
    assert columns["document"] == [1, 2]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.conll", "Ada B-PER\nand\n", "line 2 has one column ('and'). Write a word and its tag on each line."),
        ("a.iob", "a NN O\n\nb O\n", "line 3 has 2 columns, line 1 has 3. Write as many."),
        ("a.bio", "\n\n", "it holds no rows. Give"),
        ("a.bio", "-DOCSTART- O\n", "it holds no rows. Give"),
        ("a.conllu", "1\tYes\tINTJ\n", "line 1 has 3 columns; CoNLL-U has 10, separated by tabs. Rename"),
        ("a.conllu", "# only a comment\n", "it holds no rows. Give"),
        ("a.iob", b"caf\xe9 O\n", "line 1 is not UTF-8 (byte 0xe9). Save"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, content: str | bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError) as caught:
        read_file("data.train", str(path))
    assert str(caught.value).startswith(f"data.train is {str(path)!r}; ") and words in str(caught.value)


def test_the_suffix_says_which_reader(tmp_path: Path) -> None:
    (tmp_path / "a.conllu").write_text(CONLLU, encoding="utf-8")
    (tmp_path / "a.iob").write_text("Ada B-PER\n", encoding="utf-8")
    assert read_file("data.train", str(tmp_path / "a.conllu"))["tags"][0] == ["AUX", "PART", "VERB"]
    assert read_file("data.train", str(tmp_path / "a.iob")).to_dict() == {"tokens": [["Ada"]], "tags": [["B-PER"]]}


def test_lists_of_class_numbers_become_names() -> None:
    features = Features({"tags": List(ClassLabel(names=["O", "B-PER"])), "tokens": List(Value("string"))})
    part = Dataset.from_dict({"tags": [[1, 0], []], "tokens": [["a", "b"], []]}, features=features)
    assert with_class_names(part)["tags"][:] == [["B-PER", "O"], []]
