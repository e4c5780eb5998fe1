"""What params.yaml may say of networks and their training: a frozen section for each subject, with every key's range.

``python -m stages.engines.config`` validates the whole file. The defaults are for code that builds a config by itself;
in params.yaml every key must be given.
"""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from stages.pipeline.classifier import IMAGE_SHAPE
from stages.pipeline.config import DataConfig, Section

Probability = Annotated[float, Field(ge=0, lt=1)]
NonNegative = Annotated[float, Field(ge=0, le=1e9)]
Epochs = Annotated[int, Field(ge=1, le=10_000)]
Units = Annotated[int, Field(ge=1, le=10_000)]
Channels = Annotated[int, Field(ge=1, le=1000)]
Pixels = Annotated[float, Field(ge=0, le=28)]

POOL_SIZE = 2

Activation = Literal["relu", "leaky_relu", "sigmoid", "tanh", "gelu"]
Initialization = Literal["xavier_uniform", "xavier_normal", "he_uniform", "he_normal"]
OptimizerName = Literal["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"]
ScheduleName = Literal["constant", "step", "cosine", "one_cycle"]


class NetworkConfig(Section):
    """The architecture, and how its weights are initialized."""

    channels: list[Channels] = Field(default=[], max_length=20)
    convolutions: Annotated[int, Field(ge=1, le=3)] = 1
    kernel_size: Annotated[int, Field(ge=1, le=28)] = 5
    padding: Annotated[int, Field(ge=0, le=28)] = 0
    global_avg_pool: bool = False
    hidden_sizes: list[Units] = Field(default=[128, 64], max_length=20)
    activation: Activation = "relu"
    batch_norm: bool = False
    dropout: Probability = 0.0
    initialization: Initialization = "he_uniform"

    def sides(self) -> list[int]:
        """Width and height of the feature maps after each block. Raises ValueError where they get too small."""
        side, sides = IMAGE_SHAPE[0], []
        for block in range(1, len(self.channels) + 1):
            for _ in range(self.convolutions):
                if side + 2 * self.padding < self.kernel_size:
                    raise self._too_small(side, f"kernels of {self.kernel_size}x{self.kernel_size}", block)
                side += 2 * self.padding - self.kernel_size + 1
            if side < POOL_SIZE:
                raise self._too_small(side, f"pooling of {POOL_SIZE}x{POOL_SIZE}", block)
            side //= POOL_SIZE
            sides.append(side)
        return sides

    def _too_small(self, side: int, window: str, block: int) -> ValueError:
        return ValueError(
            f"channels: must be of a length <= {block - 1} with convolutions {self.convolutions}, kernel_size "
            f"{self.kernel_size} and padding {self.padding}, because in block {block}, feature maps of {side}x{side} "
            f"are too small for {window}; got a length of {len(self.channels)}"
        )

    @model_validator(mode="after")
    def _every_feature_map_is_large_enough(self) -> "NetworkConfig":
        self.sides()
        return self


class OptimizerConfig(Section):
    """The optimizer with its learning rate schedule."""

    name: OptimizerName = "sgd"
    learning_rate: Annotated[float, Field(gt=0, le=1e9)] = 0.01
    schedule: ScheduleName = "constant"
    warmup_fraction: Annotated[float, Field(ge=0, le=1)] = 0.2
    step_size: Epochs = 4
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    momentum: Probability = 0.9
    weight_decay: NonNegative = 0.0
    max_grad_norm: NonNegative = 0.0
    ema_decay: Probability = 0.0


class TrainingConfig(Section):
    """The training loop and its loss."""

    epochs: Epochs = 10
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 64
    label_smoothing: Probability = 0.0
    patience: Annotated[int, Field(ge=0, le=10_000)] = 0


class AugmentationConfig(Section):
    """Random distortions of the training images."""

    enabled: bool = False
    rotation: Annotated[float, Field(ge=0, le=180)] = 7.5
    shift: Pixels = 1.2
    scale: Annotated[float, Field(ge=0, le=0.9)] = 0.075
    shear: Annotated[float, Field(ge=0, le=80)] = 7.5
    elastic: Pixels = 0.7
    no_aug_epochs: Annotated[int, Field(ge=0, le=10_000)] = 0


class EngineConfig(Section):
    """All that one engine is trained with: the shared sections, overridden by its own."""

    network: NetworkConfig = NetworkConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    training: TrainingConfig = TrainingConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    threads: Annotated[int, Field(ge=1, le=256)] = 1

    @model_validator(mode="after")
    def _some_epochs_are_augmented(self) -> "EngineConfig":
        if self.augmentation.enabled and self.augmentation.no_aug_epochs >= self.training.epochs:
            raise ValueError(
                f"augmentation.no_aug_epochs: must be < training.epochs, which is {self.training.epochs}, got "
                f"{self.augmentation.no_aug_epochs}"
            )
        return self

    def updated(self, **values: Any) -> "EngineConfig":
        """Return a validated copy with other values: ``config.updated(threads=2)``. Raises ValidationError."""
        return type(self).model_validate(merge(self.model_dump(), values))


class TorchConfig(EngineConfig):
    """What only PyTorch offers: a choice of device."""

    device: Literal["auto", "cuda", "mps", "cpu"] = "cpu"


class Config(DataConfig):
    """All of params.yaml. An engine is a section of its own, whose name is also that of its model and metrics."""

    model_config = ConfigDict(extra="forbid")

    network: NetworkConfig
    optimizer: OptimizerConfig
    training: TrainingConfig
    augmentation: AugmentationConfig
    torch: TorchConfig
    scratch: EngineConfig

    @model_validator(mode="before")
    @classmethod
    def _complete_engines(cls, content: Any) -> Any:
        """Complete each engine's section by the shared ones."""
        shared = {name: content[name] for name in SHARED if name in content}
        own = {engine: content[engine] for engine in ENGINES if isinstance(content.get(engine), dict)}
        return {**content, **{engine: merge(shared, section) for engine, section in own.items()}}

    def engine(self, name: str) -> EngineConfig:
        """The config of one engine. Raises AttributeError for an engine without a section."""
        section: EngineConfig = getattr(self, name)
        return section


SHARED = ("network", "optimizer", "training", "augmentation")
ENGINES = tuple(
    name
    for name, field in Config.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, EngineConfig)
)


def merge(shared: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """``own`` over ``shared``, key by key within sections."""
    both = {
        name: {**shared[name], **own[name]}
        for name in shared.keys() & own.keys()
        if isinstance(shared[name], dict) and isinstance(own[name], dict)
    }
    return {**shared, **own, **both}


if __name__ == "__main__":
    from stages.pipeline.params import load_config
    from stages.pipeline.stage import run

    def main() -> None:
        """End with one line unless params.yaml is valid, also what no stage depends on."""
        load_config(Config)

    run(main)
