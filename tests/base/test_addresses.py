"""Addresses: what counts as one, what its text shows, and what it doesn't."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from pydantic import BaseModel

from synthcore.base.addresses import Address, local, place_of
from synthcore.base.errors import SpecError

SIGNED = "https://data.example.org/a/demo%20one.h5?X-Amz-Expires=60&X-Amz-Signature=0123456789abcdef"


@pytest.mark.parametrize("text", ["s3://bucket/demo.h5", "https://example.org/demo.h5", "HTTP://example.org/demo.h5"])
def test_what_begins_like_an_address_is_one(text: str) -> None:
    assert isinstance(place_of(text), Address)


@pytest.mark.parametrize("text", ["demo.h5", "/data/demo.h5", "a:/b.h5", "./s3/x.h5"])
def test_everything_else_is_a_path(text: str) -> None:
    assert place_of(text) == Path(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ftp://example.org/x.h5", "an address begins with s3://, https://, http://"),
        ("s3://bucket", "names no file"),
        ("https://", "names no file"),
        ("s3://key:word@bucket/x.h5", r"s3://\*\*\*@bucket/x.h5 holds credentials, .*set AWS_PROFILE"),
    ],
)
def test_an_address_that_cannot_be_read_is_refused_without_its_secrets(text: str, says: str) -> None:
    with pytest.raises(SpecError, match=says) as refused:
        place_of(text)
    assert "word" not in str(refused.value)


def test_secrets_are_used_and_never_shown() -> None:
    class Result(BaseModel):
        place: Address

    for url, secret in ((SIGNED, "0123456789abcdef"), ("https://me:hunter2@example.org/demo.h5", "hunter2")):
        address = Address(url)
        assert address.has_secrets
        assert pickle.loads(pickle.dumps(address)).url == url
        assert Address(address).url == url
        assert place_of(address) == address
        result = Result(place=address).model_dump_json()
        for shown in (str(address), repr(address), f"{address}", json.dumps({"file": address}), result):
            assert secret not in shown
            assert "***" in shown


def test_the_name_of_the_file_is_without_what_surrounds_it() -> None:
    assert Address(SIGNED).name == "demo one.h5"
    assert Address("s3://bucket/a/demo?1.h5").stem == "demo?1"
    assert Address("s3://bucket/folder/").joined("x.h5").url == "s3://bucket/folder/x.h5"


def test_what_needs_a_file_of_this_machine_says_so() -> None:
    with pytest.raises(SpecError, match="^s3://b/x.h5 can be read from there, but not for this: download it"):
        local(Address("s3://b/x.h5"))
