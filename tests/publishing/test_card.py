"""The card: what people, and the hub, read of a publication."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthcore.publishing.card import CARD, CROISSANT, PICTURE, as_plain_text, write_card
from synthcore.publishing.publication import read_publication
from synthcore.publishing.sharing import decide_sharing
from synthcore.storage.dataset import Dataset
from tests.publishing.conftest import publish_in

pytestmark = pytest.mark.slow


def head(folder: Path):
    """The head of a card, as the hub's own library reads it."""
    hub = pytest.importorskip("huggingface_hub")
    return hub.DatasetCard((folder / CARD).read_text()).data


def code(folder: Path) -> str:
    (block,) = re.findall(r"^```python\n(.*?)^```$", (folder / CARD).read_text(), re.M | re.S)
    return block.replace("FOLDER", str(folder))


@pytest.fixture
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.slow
def test_the_head_names_splits_size_and_tags(published):
    for form, folder in published.items():
        publication, said = read_publication(folder), head(folder)
        assert said.size_categories == ["n<1K"]
        assert {"audio", "vital", form} <= {*said.tags}
        (config,) = said.configs
        ending = {"parquet": "parquet", "webdataset": "tar"}[form]
        named = {part["split"]: part["path"] for part in config["data_files"]}
        assert named == {split: f"data/{split}-*.{ending}" for split in publication.row_files}
        rows = {part["name"]: part["num_examples"] for part in said.dataset_info["splits"]}
        assert sum(rows.values()) == publication.rows


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_the_features_of_the_head_are_those_of_the_files(published):
    datasets = pytest.importorskip("datasets")
    folder = published["parquet"]
    (first, *_) = sorted((folder / "data").glob("*.parquet"))
    bare = datasets.load_dataset("parquet", data_files=str(first), split="train")
    assert datasets.Features._from_yaml_list(head(folder).dataset_info["features"]) == bare.features
    assert {*datasets.load_dataset(str(folder))} == {*read_publication(folder).row_files}


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_what_the_card_says_of_loading_works(published, licensed):
    with Dataset(licensed.path) as dataset:
        for folder in published.values():
            read: dict = {}
            exec(code(folder), read)
            place = read["row"].get("json", read["row"])["row"]
            np.testing.assert_allclose(read["sound"].T, dataset.column("audio", [place])[0], atol=2e-7)
            np.testing.assert_allclose(read["controls"][0], dataset.column("continuous", [place])[0])


@pytest.mark.slow
def test_rows_under_several_licences_are_counted_by_licence(published, licensed):
    text, said = (published["parquet"] / CARD).read_text(), head(published["parquet"])
    assert (said.license, said["license_name"], said["license_link"]) == ("other", "by-row", CARD)
    with Dataset(licensed.path) as dataset:
        sharing = decide_sharing(dataset, "CC0-1.0")
    for licence, rows in sharing.licences.items():
        assert f"\n| {licence} | {rows} | " in text
    for reason, rows in sharing.left_out.items():
        assert f"\n| {rows} | {as_plain_text(reason)} |\n" in text
    assert "| CC-BY-SA-4.0 | authors named, changes under the same licence |" in text
    assert "| CC-BY-ND-4.0 | left out: CC-BY-ND-4.0 allows no changed copies" in text
    assert f"{sum(sharing.left_out.values())} of them are left out" in text
    assert "\nLeft out:\n" in text


@pytest.mark.parametrize(
    ("own", "on_the_hub", "link"),
    [("cc-by-4.0", "cc-by-4.0", None), ("OFL-1.1", "other", "https://spdx.org/licenses/OFL-1.1.html")],
)
def test_one_licence_is_in_the_head(tier_1, tmp_path, own, on_the_hub, link):
    folder = publish_in(tmp_path, tier_1, own)
    said = head(folder)
    assert (said.license, said.to_dict().get("license_link")) == (on_the_hub, link)
    assert json.loads((folder / CROISSANT).read_text())["license"][0].startswith("https://spdx.org/licenses/")
    assert "\nLeft out:\n" not in (folder / CARD).read_text()


@pytest.mark.slow
def test_a_recipe_shows_no_sound_and_says_which_rows_have_no_licence(licensed, tmp_path):
    folder = publish_in(tmp_path, licensed, recipe=True)
    text = (folder / CARD).read_text()
    assert not (folder / PICTURE).exists()
    assert PICTURE not in text
    assert re.search(r"^\| none \| \d+ \| labels alone", text, re.M)
    assert head(folder).license == "other"


@pytest.mark.slow
def test_the_picture_is_one(published):
    with Image.open(published["parquet"] / PICTURE) as picture:
        assert picture.format == "PNG"


@pytest.mark.slow
def test_what_strangers_wrote_is_text_and_nothing_else(published):
    text = (published["parquet"] / CARD).read_text()
    assert "<b>" not in text
    assert "free for &#60;b&#62;all&#60;/b&#62;" in text
    assert as_plain_text("a|b\n# `x` [y](z) **w** <i> & _u_ {{ 1 }}") == (
        "a&#124;b &#35; &#96;x&#96; &#91;y&#93;(z) &#42;&#42;w&#42;&#42; &#60;i&#62; &#38; &#95;u&#95; "
        "&#123;&#123; 1 &#125;&#125;"
    )
    assert as_plain_text("Zoë's 50 % - CC-BY-4.0; a/b: https://example.org") == (
        "Zoë's 50 % - CC-BY-4.0; a/b: https://example.org"
    )


@pytest.mark.slow
def test_nothing_of_this_machines_folders_is_published(published, licensed):
    for folder in published.values():
        for name in (CARD, CROISSANT):
            assert str(licensed.data_dir) not in (folder / name).read_text()
            assert str(folder.parent) not in (folder / name).read_text()


@pytest.mark.slow
def test_a_card_that_was_edited_is_kept_and_one_that_is_gone_is_written_again(published, licensed, tmp_path):
    folder = Path(shutil.copytree(published["parquet"], tmp_path / "copy"))
    (folder / CARD).write_text("mine")
    (folder / CROISSANT).unlink()
    write_card(read_publication(folder), licensed.path, folder)
    assert (folder / CARD).read_text() == "mine"
    described = [json.loads((place / CROISSANT).read_text()) for place in (folder, published["parquet"])]
    assert described[0]["distribution"] == described[1]["distribution"]
