"""Images to pixel values, labels to numbers, logits to statistics, and what is said about data that cannot be used."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pytest
import torch
from datasets import Dataset
from transformers import AutoConfig, AutoModelForImageClassification, DeiTImageProcessorPil, ViTImageProcessorPil

from compress.core.context import FILE
from compress.core.errors import InputError
from compress.tasks.image_classification import ImageClassification
from compress.tasks.image_processor import load_image_processor, pillow_steps, save_image_processor

TASK = ImageClassification(image="image", label="label")
NAMES = ("bag", "coat", "shoe")


def vit(model_type: str = "vit", *, side: int = 2, channels: int = 3, labels: Sequence[str] = NAMES) -> Any:
    """The configuration of a tiny model that takes images of `side` pixels, in patches of one pixel where side is 2."""
    return AutoConfig.for_model(
        model_type,
        image_size=side,
        patch_size=max(1, side // 4),
        num_channels=channels,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
        # Of DeiT there are two kinds.
        architectures=[{"vit": "ViTForImageClassification", "deit": "DeiTForImageClassification"}[model_type]],
    )


def saved(folder: Path, config: Any, processor: Any) -> Path:
    """A model of random weights and its processor, as the library writes them."""
    torch.manual_seed(0)
    AutoModelForImageClassification.from_config(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def plain(side: int = 2, **more: Any) -> Any:
    return ViTImageProcessorPil(size={"height": side, "width": side}, **more)


@pytest.fixture
def processor(tmp_path: Path) -> Any:
    """Of colour images of 2 x 2: times 1/255, minus 0.5, over 0.5."""
    plain().save_pretrained(tmp_path)
    return load_image_processor(tmp_path, vit())


def png(pixels: Any, mode: str | None = None, kind: str = "PNG", **more: Any) -> bytes:
    image = PIL.Image.fromarray(np.array(pixels, dtype=np.uint8))
    image = image if mode is None else image.convert(mode)
    file = io.BytesIO()
    image.save(file, kind, **more)
    return file.getvalue()


def data(images: Sequence[bytes | None], labels: Sequence[Any], **more: Any) -> Dataset:
    return Dataset(pa.table({"image": pa.array(images, pa.binary()), "label": list(labels), **more}))


RED, GREY = png([[[255, 0, 0]] * 2] * 2), png([[51, 51], [51, 51]])


def test_encode_keeps_the_bytes(processor: Any) -> None:
    rows = TASK.encode(data([RED, GREY], ["shoe", "bag"]), processor, vit(), "train")
    assert rows["image"] == [RED, GREY]
    assert rows["labels"] == [2, 0]
    # Four patches and the class token.
    assert rows["length"] == [5, 5]
    assert rows["group"] == [0, 1]
    grouped = data([RED, GREY], ["shoe", "bag"], group=[7, 7])
    assert TASK.encode(grouped, processor, vit(), "train")["group"] == [7, 7]
    # DeiT has a second token, for what it was distilled from.
    assert TASK.encode(data([RED, GREY], ["shoe", "bag"]), processor, vit("deit"), "train")["length"] == [6, 6]


def test_pixel_values_of_two_by_two(processor: Any) -> None:
    image = png([[[0, 51, 255], [255, 0, 0]], [[102, 0, 0], [0, 0, 204]]])
    batch = TASK.collate([{"image": image, "labels": 1}], processor)
    # n / 255 is 0, .2, .4, .8, 1; minus .5 and over .5 that is -1, -.6, -.2, .6, 1.
    wanted = [[[-1, 1], [-0.2, -1]], [[-0.6, -1], [-1, -1]], [[1, -1], [-1, 0.6]]]
    assert batch["pixel_values"].dtype == torch.float32
    torch.testing.assert_close(batch["pixel_values"], torch.tensor([wanted], dtype=torch.float32))
    assert batch["labels"].tolist() == [1]


def test_grey_palette_and_alpha_become_colour(processor: Any) -> None:
    palette = png([[[255, 0, 0]] * 2] * 2, mode="P")
    alpha = png([[[255, 0, 0, 3]] * 2] * 2)
    both = png([[[51, 9]] * 2] * 2)
    assert [PIL.Image.open(io.BytesIO(image)).mode for image in (GREY, palette, alpha, both)] == [
        "L",
        "P",
        "RGBA",
        "LA",
    ]
    batch = TASK.collate([{"image": image, "labels": 0} for image in (GREY, palette, alpha, both)], processor)
    colours = batch["pixel_values"][:, :, 0, 0].round(decimals=4).tolist()
    assert colours == [
        pytest.approx([-0.6] * 3),
        pytest.approx([1, -1, -1]),
        pytest.approx([1, -1, -1]),
        pytest.approx([-0.6] * 3),
    ]


def test_colour_becomes_grey_where_the_model_has_one_channel(tmp_path: Path) -> None:
    plain(image_mean=[0.2], image_std=[0.5]).save_pretrained(tmp_path)
    grey = load_image_processor(tmp_path, vit(channels=1))
    batch = TASK.collate([{"image": image, "labels": 0} for image in (GREY, RED)], grey)
    assert batch["pixel_values"].shape == (2, 1, 2, 2)
    # Red is 0.299 of 255, in whole numbers 76; (76 / 255 - .2) / .5. Grey of 51 is .2.
    assert batch["pixel_values"][:, 0, 0, 0].tolist() == [pytest.approx(0), pytest.approx(0.1960784)]


def test_an_image_is_turned_as_its_camera_says(processor: Any) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 3  # upside down
    image = png([[[255] * 3] * 2, [[0] * 3] * 2], exif=exif.tobytes())
    found = TASK.collate([{"image": image, "labels": 0}], processor)["pixel_values"]
    assert found[0, 0].tolist() == [[-1, -1], [1, 1]]


def test_steps_that_are_left_out_change_nothing(tmp_path: Path) -> None:
    plain(side=9, do_resize=False, do_rescale=False, do_normalize=False).save_pretrained(tmp_path)
    processor = load_image_processor(tmp_path, vit())
    found = TASK.collate([{"image": RED, "labels": 0}], processor)["pixel_values"]
    assert found[0, :, 0, 0].tolist() == [255, 0, 0]


def test_signature() -> None:
    config = vit(side=8, channels=1)
    config.image_size = [8, 16]
    signature = TASK.signature(config)
    assert signature.names == ("pixel_values",)
    assert signature.fixed == {"channels": 1, "height": 8, "width": 16}
    assert signature.dynamic_axes() == {"pixel_values": {0: "batch"}}
    assert (signature.mask, signature.output.name, signature.output.axes) == (None, "logits", ("batch", "labels"))


def test_statistics_figures_and_kinds() -> None:
    config = vit()
    outputs = [np.array(values) for values in ([3.0, 1, 0], [0.0, 2, 1], [0.0, 2, 1], [0.0, 1, 2])]
    rows = [{"labels": label} for label in (0, 1, 2, 2)]
    statistics = TASK.statistics(outputs, rows, config)
    assert statistics.tolist() == [[1, 1], [1, 1], [0, 1], [1, 1]]
    assert TASK.metric(config).name == "accuracy"
    assert TASK.metric(config).value(statistics) == 0.75
    # F1 of 1, 2/3 and 2/3. Three of four are right: (3 * 4 - 5) / sqrt((16 - 6) * (16 - 6)).
    assert TASK.figures(outputs, rows, config) == {
        "f1_macro": pytest.approx(7 / 9),
        "matthews_correlation": pytest.approx(0.7),
    }
    assert TASK.kinds(Dataset.from_dict({"labels": [2, 0]}), config) == ["shoe", "bag"]
    # Label 0 has the smallest of six logits, label 1 the fifth largest.
    six = [np.arange(6.0), np.arange(6.0)]
    assert TASK.figures(six, [{"labels": 0}, {"labels": 1}], config)["top_5_accuracy"] == 0.5


def test_the_label_loss_of_those_that_have_one() -> None:
    # Probabilities (3/4, 1/4): label 1 costs ln 4.
    logits = torch.tensor([[3.0, 1.0]]).log().repeat(2, 1)
    batch = {"labels": torch.tensor([1, -100])}
    assert float(TASK.label_loss(logits, batch)) == pytest.approx(np.log(4))
    assert int(TASK.labelled(batch)) == 1


def test_images_without_labels(processor: Any) -> None:
    examples = Dataset(pa.table({"image": pa.array([RED, GREY], pa.binary())}))
    rows = TASK.encode_unlabelled(examples, processor, vit())
    assert rows["labels"] == [-100, -100]
    assert rows.features == TASK.encode(data([RED, GREY], ["shoe", "bag"]), processor, vit(), "train").features


def test_labels_of_the_data_for_a_model_that_is_fine_tuned() -> None:
    config = TASK.fit_config(vit(), data([RED, RED, GREY], ["tree", "sea", "tree"]))
    assert config.id2label == {0: "sea", 1: "tree"}
    with pytest.raises(InputError, match=r"data.train has a single label \('sea'\)"):
        TASK.fit_config(vit(), data([RED, GREY], ["sea", "sea"]))


def test_an_image_that_cannot_be_opened(processor: Any) -> None:
    cut = png(np.random.default_rng(0).integers(256, size=(30, 30, 3)), kind="JPEG")[:-300]
    labels = ["bag", "shoe", "coat"]
    with pytest.raises(
        InputError, match=r"data.image=image: example 2 of data.test cannot be opened as an image \(cannot"
    ):
        TASK.encode(data([RED, b"text", GREY], labels), processor, vit(), "test")
    named = data([RED, GREY, cut], labels, **{FILE: ["a.png", "b.png", "coat/c.jpg"]})
    with pytest.raises(
        InputError, match=r"example 3 of data.train \(coat/c.jpg\) cannot be opened .*truncated.* Remove"
    ):
        TASK.encode(named, processor, vit(), "train")
    with pytest.raises(InputError, match=r"example 3 of data.train has no image"):
        TASK.encode(data([RED, GREY, None], labels), processor, vit(), "train")


def test_labels_that_do_not_fit(processor: Any) -> None:
    with pytest.raises(InputError, match=r"the label 'shoes', which the model does not know .* Did you mean 'shoe'\?"):
        TASK.encode(data([RED, GREY], ["bag", "shoes"]), processor, vit(), "train")
    with pytest.raises(InputError, match=r"the label '3', .* knows: bag, coat, shoe, as 0 to 2\)"):
        TASK.encode(data([RED, GREY], [0, 3]), processor, vit(), "train")
    assert TASK.encode(data([RED, GREY], [0, 2]), processor, vit(), "train")["labels"] == [0, 2]
    with pytest.raises(InputError, match=r"data.validation has a single label \('bag'\)"):
        TASK.encode(data([RED, GREY], ["bag", "bag"]), processor, vit(), "validation")


def test_columns_that_do_not_fit(processor: Any) -> None:
    examples = Dataset.from_dict({"img": ["a.png", "b.png"], "label": ["bag", "shoe"]})
    with pytest.raises(
        InputError, match=r"data.image is 'image', a column that data.train does not have \(found: img, la"
    ):
        TASK.encode(examples, processor, vit(), "train")
    with pytest.raises(
        InputError, match=r"data.image is 'img', a column of data.train that holds string; it must hold"
    ):
        ImageClassification(image="img", label="label").encode(examples, processor, vit(), "train")
    with pytest.raises(InputError, match=r"data.label is 'kind', a column that data.train does not have"):
        ImageClassification(image="image", label="kind").encode(data([RED], ["bag"]), processor, vit(), "train")


def test_processors_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no preprocessor_config.json. Save it beside the model"):
        load_image_processor(tmp_path, vit())
    plain(side=4).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"makes images of 4 x 4; the model takes 2 x 2 pixels"):
        load_image_processor(tmp_path, vit())
    ViTImageProcessorPil(size={"shortest_edge": 2}).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"makes images of no fixed size; the model takes 2 x 2 pixels"):
        load_image_processor(tmp_path, vit())
    plain().save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"has 3 values for image_mean; the model takes images of 1 \(num_channels"):
        load_image_processor(tmp_path, vit(channels=1))
    with pytest.raises(InputError, match=r"num_channels 4; images are read in grey \(1\) or in colour \(3\)"):
        load_image_processor(tmp_path, vit(channels=4))
    with pytest.raises(InputError, match=r"bert model, which takes no images"):
        load_image_processor(tmp_path, AutoConfig.for_model("bert"))
    for name, value in (("rescale_factor", "x"), ("image_std", 0.0), ("rescale_factor", [1, 2, 3])):
        plain().save_pretrained(tmp_path)
        path = tmp_path / "preprocessor_config.json"
        told = {**json.loads(path.read_text(encoding="utf-8")), "do_rescale": True, "do_normalize": True, name: value}
        path.write_text(json.dumps(told), encoding="utf-8")
        with pytest.raises(InputError, match=r"cannot be loaded|what no model reads"):
            load_image_processor(tmp_path, vit())
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(InputError, match=r"whose image processor cannot be loaded"):
        load_image_processor(tmp_path, vit())


def test_what_pillow_does_for_a_processor_that_crops(tmp_path: Path) -> None:
    cropping = DeiTImageProcessorPil(size={"height": 9, "width": 12}, crop_size={"height": 8, "width": 8})
    cropping.save_pretrained(tmp_path)
    processor = load_image_processor(tmp_path, vit("deit", side=8))
    # Of the one row too many none is left above.
    assert pillow_steps(processor) == {"pillow_mode": "RGB", "pillow_size": [12, 9], "pillow_box": [2, 0, 10, 8]}


RUNTIME = SimpleNamespace(
    snippet=(
        "torch, transformers",
        'model = transformers.AutoModelForImageClassification.from_pretrained(".")',
        "model(**{name: torch.tensor(values) for name, values in INPUTS.items()}).logits.detach().numpy()",
    )
)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("crops", [False, True])
def test_the_usage_does_what_was_measured(tmp_path: Path, channels: int, crops: bool) -> None:
    """Six lines, run word for word, with Pillow and numpy for the image: the pixels are those that `collate` gives."""
    mean = {"image_mean": [0.45] * channels, "image_std": [0.22] * channels}
    if crops:
        given = DeiTImageProcessorPil(size={"height": 10, "width": 10}, crop_size={"height": 8, "width": 8}, **mean)
    else:
        given = plain(side=8, resample=3, **mean)
    config = vit("deit" if crops else "vit", side=8, channels=channels)
    folder = saved(tmp_path, config, given)
    processor = load_image_processor(folder, config)
    save_image_processor(processor, folder)
    photo = png(np.random.default_rng(1).integers(256, size=(23, 31, 3)), kind="JPEG")
    (folder / "Put the name of an image file here.").write_bytes(photo)
    usage = TASK.usage(RUNTIME, None)  # type: ignore[arg-type]
    assert len(usage.splitlines()) == 6
    told = subprocess.run(
        [sys.executable, "-c", f"{usage}numpy.save('pixels.npy', {'pixels'})"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    batch = TASK.collate([{"image": photo, "labels": 0}], processor)
    shown = np.load(folder / "pixels.npy").transpose(2, 0, 1)
    np.testing.assert_allclose(shown, batch["pixel_values"][0].numpy(), atol=1e-5)
    with torch.inference_mode():
        answer = TASK.load_model(folder)(pixel_values=batch["pixel_values"]).logits.argmax().item()
    assert told.strip() == config.id2label[answer]


def test_the_saved_processor_is_what_a_stock_library_reads(tmp_path: Path, processor: Any) -> None:
    from transformers import AutoImageProcessor

    save_image_processor(processor, tmp_path)
    read = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    image = PIL.Image.open(io.BytesIO(png(np.random.default_rng(2).integers(256, size=(9, 7, 3)))))
    theirs = read(image.convert("RGB"), return_tensors="np")["pixel_values"]
    np.testing.assert_array_equal(theirs, processor(image, return_tensors="np")["pixel_values"])
    settings = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert settings["image_processor_type"] == "ViTImageProcessor"
    assert settings["size"] == {"height": 2, "width": 2}
    assert settings["pillow_size"] == [2, 2]


def test_a_model_without_a_head(tmp_path: Path) -> None:
    from transformers import AutoModel

    AutoModel.from_config(vit()).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"has no trained classification head \(missing: classifier"):
        TASK.load_model(tmp_path)
    config = TASK.fit_config(vit(), data([RED, GREY], ["sea", "tree"]))
    assert TASK.load_pretrained(tmp_path, config).classifier.weight.shape == (2, 16)


def test_a_missing_label_of_a_model_to_be_trained_names_the_file() -> None:
    task = ImageClassification(image="image", label="topic")
    with pytest.raises(InputError, match=r"data\.label is 'topic', a column that data\.train does not have"):
        task.fit_config(None, Dataset.from_dict({"image": [b"x"], "label": ["x"]}))
