"""What a password looks like, and what only looks like one."""

from __future__ import annotations

import pytest

from compress.core.secrets import masked

SECRETS = [
    ("tracking.uri=http://me:geheim@host:5000/x", "tracking.uri=http://***@host:5000/x"),
    ("http://geheim@host/x@y", "http://***@host/x@y"),
    ("postgresql+psycopg://me:ge/h@eim@host/db", "postgresql+psycopg://***@host/db"),
    ("http://me:gehe#im?@host", "http://***@host"),
    (
        "could not reach 'https://me:geheim@host' (http://you:geheim@there)",
        "could not reach 'https://***@host' (http://***@there)",
    ),
    ("http://host:5000/x?user=me&api_key=geheim&page=2", "http://host:5000/x?user=me&api_key=***&page=2"),
    ("MLFLOW_TRACKING_PASSWORD=geheim compress", "MLFLOW_TRACKING_PASSWORD=*** compress"),
    ("compress tracking.token=geheim seed=0", "compress tracking.token=*** seed=0"),
]


@pytest.mark.parametrize(("told", "written"), SECRETS, ids=[case[0] for case in SECRETS])
def test_a_password_is_not_written(told: str, written: str) -> None:
    assert masked(told) == written
    assert masked(written) == written


@pytest.mark.parametrize(
    "text",
    [
        "http://host:5000/me@home",
        "http://host:5000",
        "sqlite:////home/me@work/mlflow.db",
        "data.group=article me@work: 3 tokens=4",
        "config.pad_token_id=0",
        "words.subtoken=mean",
        "file:///tmp/a:b",
    ],
)
def test_what_is_no_password_stays(text: str) -> None:
    assert masked(text) == text


def test_values_are_masked_by_their_names_at_any_depth() -> None:
    settings = {
        "tracking": {"uri": "http://a:b@c", "password": "geheim", "auth-token": None},
        "order": ["a"],
        "seed": 3,
    }
    assert masked(settings) == {
        "tracking": {"uri": "http://***@c", "password": "***", "auth-token": None},
        "order": ["a"],
        "seed": 3,
    }
    assert masked(("http://a:b@c", 1.5)) == ("http://***@c", 1.5)
    # In a sequence, and whatever the case.
    assert masked([{"DB_PASSWORD": "geheim"}, ["token=geheim"]]) == [{"DB_PASSWORD": "***"}, ["token=***"]]
    assert masked({"credentials": "geheim", "s3_access_key": "geheim"}) == {
        "credentials": "***",
        "s3_access_key": "***",
    }
    # One that nobody has set is none, nor is a figure whose name only ends like one.
    assert masked({"password": "", "same_top_token": 0.98}) == {"password": "", "same_top_token": 0.98}
    # YAML reads a password of digits as a number.
    assert masked({"password": 4711, "api_key": 0, "token": 3, "set_password": True}) == {
        "password": "***",
        "api_key": "***",
        "token": 3,
        "set_password": True,
    }
