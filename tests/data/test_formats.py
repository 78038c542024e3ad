from __future__ import annotations

import gzip
import os
import shutil
import tempfile
import zipfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from compress.core.errors import InputError
from compress.data.formats import read_file, require_file


def _read(tmp_path: Path, name: str, content: str | bytes) -> Dataset:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_file("data.train", str(path))


def _message(tmp_path: Path, name: str, content: str | bytes) -> str:
    with pytest.raises(InputError) as caught:
        _read(tmp_path, name, content)
    assert str(caught.value).startswith(f"data.train is {str(tmp_path / name)!r}; ")
    return str(caught.value)


def test_json_lines_keep_the_kinds_of_their_values(tmp_path: Path) -> None:
    read = _read(
        tmp_path, "a.jsonl", '{"text": "a\u2028b", "label": "01", "n": 1}\r\n\n{"label": "2020-01-01", "text": "NA"}\n'
    )
    assert read.to_dict() == {"text": ["a\u2028b", "NA"], "label": ["01", "2020-01-01"], "n": [1, None]}


def test_csv_is_text_throughout(tmp_path: Path) -> None:
    read = _read(tmp_path, "a.CSV", '\ufefftext,label\n"a, ""b""\nc",01\nNA,\n\n')
    assert read.to_dict() == {"text": ['a, "b"\nc', "NA"], "label": ["01", ""]}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'text;label\n"a; b";c\n'),
        ("a.csv", '\n\n"text";"label"\n"a; b";c\n'),
        ("a.csv", "text\tlabel\na; b\tc\n"),
        ("a.tsv", "text\tlabel\na; b\tc\n"),
        # What lies within quotes separates nothing.
        ("a.csv", '"text";"label";"x, y"\n"a; b";c;d\n'),
    ],
)
def test_the_first_line_says_what_separates_values(tmp_path: Path, name: str, content: str) -> None:
    read = _read(tmp_path, name, content).to_dict()
    assert (read["text"], read["label"]) == (["a; b"], ["c"])


def test_parquet_is_taken_as_it_is(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": list("abcd"), "label": pd.Categorical(list("xyxz")), "n": [1, 2, 3, 4]})
    frame[frame.n != 3].to_parquet(tmp_path / "a.parquet")
    read = read_file("data.train", str(tmp_path / "a.parquet"))
    assert read.to_dict() == {"text": ["a", "b", "d"], "label": ["x", "y", "z"], "n": [1, 2, 4]}


def test_parquet_keeps_class_labels(tmp_path: Path) -> None:
    features = Features({"label": ClassLabel(names=["no", "yes"]), "text": Value("string")})
    Dataset.from_dict({"label": [1], "text": ["a"]}, features=features).to_parquet(tmp_path / "a.parquet")
    assert read_file("data.train", str(tmp_path / "a.parquet")).features["label"].names == ["no", "yes"]


@pytest.mark.parametrize("name", ["with space.csv", "[x] (1)*?.csv", "żółć-日本.csv", "label=a/b.csv"])
def test_unusual_paths_work(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    assert _read(tmp_path, name, "text\na\n").to_dict() == {"text": ["a"]}


def test_a_folder_of_a_partition_adds_no_column(tmp_path: Path) -> None:
    (tmp_path / "label=a").mkdir()
    pd.DataFrame({"text": ["a"]}).to_parquet(tmp_path / "label=a" / "b.parquet")
    assert read_file("data.train", str(tmp_path / "label=a" / "b.parquet")).column_names == ["text"]


def test_nothing_is_kept_on_disk(tmp_path: Path) -> None:
    assert _read(tmp_path, "a.csv", "text\na\n").cache_files == []


def test_a_missing_file_is_offered_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").touch()
    with pytest.raises(
        InputError, match=r"data\.train is '.*trian\.jsonl'; there is no such file in .*'train\.jsonl'\?"
    ):
        read_file("data.train", str(tmp_path / "trian.jsonl"))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.test is '.*'; there is no folder '.*nowhere'\. Check the path"):
        read_file("data.test", str(tmp_path / "nowhere" / "a.csv"))


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"that is a folder\. Give one file in it \(\.jsonl, \.csv, \.tsv, \.parquet, \.conll, \.iob"
    ):
        read_file("data.train", str(tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", "a", "its suffix is '.txt'; it must be one of .jsonl, .csv, .tsv, .parquet, .conll, "),
        ("a.jsonl", "", "it holds no rows. Give"),
        ("a.jsonl", "\n\n", "it holds no rows. Give"),
        ("a.csv", "", "it holds no rows. Give"),
        ("a.csv", "text,label\n", "it holds no rows. Give"),
        ("a.jsonl", '{"a": 1}\n{"a": 1,}\n', 'line 2 is {"a": 1,}, which cannot be read (column '),
        (
            "a.jsonl",
            '{"a": 1}\n\n[1, 2]\n',
            "line 3 is [1, 2], which cannot be read (it holds an array, not an object). Write",
        ),
        ("a.jsonl", '{"a": "\\ud800"}\n', "cannot be read ('\\ud800' holds half of a character)"),
        ("a.jsonl", '{"a": 1, "a": 2}\n', "cannot be read ('a' stands twice in one object)"),
        ("a.jsonl", '{"a": ' + "[" * 70 + "]" * 70 + "}\n", "cannot be read (it is nested deeper than 64)"),
        ("a.jsonl", '{"a": 1}\n{"a": "x"}\n', "column 'a' mixes kinds of value ("),
        ("a.jsonl", '{"a": 123456789012345678901234567890}\n', "column 'a' mixes kinds of value ("),
        ("a.jsonl", b'{"a": "b"}\n{"a": "caf\xe9"}\n', "line 2 is not UTF-8 (byte 0xe9). Save"),
        ("a.csv", b"text\nok\ncaf\xe9\n", "line 3 is not UTF-8 (byte 0xe9). Save"),
        ("a.csv", "\0a,b\n1,2\n", "its columns cannot be used ("),
        ("a.csv", "a,b\n1,2\n1,2,3\n", "line 3 has 3 values, the first line 2 (a, b). Put"),
        ("a.csv", "a;b\n1;2;3\n", "line 2 has 3 values, the first line 2 (a, b). Put values that contain a semicolon"),
        ("a.csv", "a,b\n1\n", "line 2 has 1 values, the first line 2 (a, b). Put"),
        ("a.csv", 'a,b\n1,"2\n', "line 2 is not values separated by a comma ("),
        ("a.csv", "a,a\n1,2\n", "its first line names a column twice (a, a). Rename"),
        ("a.parquet", b"PAR1 this is not one", "it is not a whole Parquet file ("),
        ("a.parquet", b"", "it is not a whole Parquet file ("),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, content: str | bytes, words: str) -> None:
    assert words in _message(tmp_path, name, content)


def test_text_in_parquet_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": ["abc"]}), path, compression="none", use_dictionary=False, write_statistics=False)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"abc", b"a\xf6c", 1))
    with pytest.raises(InputError, match=r"is not a whole Parquet file .*UTF"):
        read_file("data.train", str(path))


def test_a_truncated_parquet_file_is_named(tmp_path: Path) -> None:
    pd.DataFrame({"text": ["a"] * 100}).to_parquet(tmp_path / "b.parquet")
    whole = (tmp_path / "b.parquet").read_bytes()
    assert "it is not a whole Parquet file" in _message(tmp_path, "a.parquet", whole[: len(whole) // 2])


def test_a_parquet_file_without_rows_is_named(tmp_path: Path) -> None:
    pd.DataFrame({"text": pd.Series([], dtype=str)}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match="it holds no rows"):
        read_file("data.train", str(tmp_path / "a.parquet"))


def test_a_first_line_that_tells_a_spreadsheet_the_separator(tmp_path: Path) -> None:
    for first, sign in (("sep=;", ";"), ('"sep=,"', ","), ("SEP=\t", "\t")):
        path = tmp_path / "a.csv"
        path.write_text(f"{first}\r\ntext{sign}label\r\none three{sign}x\r\n", encoding="utf-8")
        assert read_file("data.train", str(path)).to_dict() == {"text": ["one three"], "label": ["x"]}
    path.write_text("sep=;\na;b\n1;2;3\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"line 3 has 3 values, the first line 2 \(a, b\)"):
        read_file("data.train", str(path))
    # A column may be called so.
    path.write_text("sep=,label\n1,2\n", encoding="utf-8")
    assert read_file("data.train", str(path)).column_names == ["sep=", "label"]


def test_a_value_of_any_length(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"text,label\n{'x' * 200_000},y\n", encoding="utf-8")
    assert len(read_file("data.train", str(tmp_path / "a.csv"))["text"][0]) == 200_000


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_a_packed_file_by_another_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(gzip.compress(b"text,label\nx,y\n"))
    message = rf"it is packed by gzip, whatever its name says. Unpack it first: gzip -dc '{name}' > OTHER\."
    with pytest.raises(InputError, match=message):
        read_file("data.train", str(tmp_path / name))
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr("xl/workbook.xml", "")
    with pytest.raises(InputError, match=r"it is a zip archive, or a spreadsheet's own format.*save the sheet as"):
        read_file("data.train", str(tmp_path / name))


def test_a_file_in_a_folder_that_may_not_be_looked_into() -> None:
    folder = Path(tempfile.mkdtemp())
    user = os.geteuid()
    (folder / "a.csv").write_text("text,label\nx,y\n", encoding="utf-8")
    folder.chmod(0o000)
    if user == 0:
        os.seteuid(65534)
    try:
        for read in (require_file, read_file):
            with pytest.raises(InputError, match=r"it cannot be read \(Permission denied\)\. Check its permissions\."):
                read("data.train", str(folder / "a.csv"))
    finally:
        os.seteuid(user)
        folder.chmod(0o700)
        shutil.rmtree(folder)
