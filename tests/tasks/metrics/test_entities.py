import pytest

from compress.tasks.metrics.entities import entities, scheme_of


@pytest.mark.parametrize(
    ("labels", "scheme"),
    [
        (["O", "B-PER", "I-PER"], "bio"),
        (["O", "I-PER"], "bio"),
        (["O", "B", "I"], "bio"),
        (["O", "B-PER", "I-PER", "E-PER", "S-PER"], "bioes"),
        (["NOUN", "VERB", "O"], "plain"),
        (["B-PER", "L-PER", "O"], "plain"),
        (["O"], "plain"),
    ],
)
def test_the_scheme_is_known_by_the_labels(labels: list[str], scheme: str) -> None:
    assert scheme_of(labels) == scheme


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("B-PER I-PER O B-LOC", {("PER", 0, 1), ("LOC", 3, 3)}),
        # What continues nothing of its type begins an entity.
        ("O I-PER I-PER", {("PER", 1, 2)}),
        ("B-PER I-LOC I-LOC", {("PER", 0, 0), ("LOC", 1, 2)}),
        ("B-PER B-PER I-PER", {("PER", 0, 0), ("PER", 1, 2)}),
        ("B-a-b I-a-b O", {("a-b", 0, 1)}),
        ("B I O B", {("_", 0, 1), ("_", 3, 3)}),
        ("O O", set()),
    ],
)
def test_bio_is_read_as_seqeval_reads_it(tags: str, found: set) -> None:
    assert entities(tags.split(), "bio") == found


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("B-PER I-PER E-PER S-LOC", {("PER", 0, 2), ("LOC", 3, 3)}),
        ("B-PER E-LOC", set()),
        ("B-PER I-PER O", set()),
        ("I-PER E-PER", set()),
        ("B-PER B-PER E-PER", {("PER", 1, 2)}),
        ("B-PER S-PER E-PER", {("PER", 1, 1)}),
        ("B-PER I-LOC E-PER", set()),
    ],
)
def test_bioes_counts_whole_entities_only(tags: str, found: set) -> None:
    assert entities(tags.split(), "bioes") == found


def test_plain_tags_are_taken_in_runs() -> None:
    assert entities(["PER", "PER", "O", "LOC", "PER"]) == {("PER", 0, 1), ("LOC", 3, 3), ("PER", 4, 4)}
    assert entities([], "plain") == set()


def test_without_a_scheme_the_tags_themselves_tell() -> None:
    assert entities(["B-PER", "E-PER"]) == {("PER", 0, 1)}
    assert entities(["B-PER", "I-PER"]) == {("PER", 0, 1)}
