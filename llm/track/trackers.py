"""The trackers by their names in a recipe."""

from llm.track.mlflow_run import MLFLOW
from llm.track.swanlab_run import SWANLAB
from llm.track.tensorboard_events import TENSORBOARD
from llm.track.tracker import TrackerKind
from llm.track.trackio_run import TRACKIO
from llm.track.wandb_run import WANDB

TRACKERS: dict[str, TrackerKind] = {
    "tensorboard": TENSORBOARD,
    "wandb": WANDB,
    "swanlab": SWANLAB,
    "mlflow": MLFLOW,
    "trackio": TRACKIO,
}
