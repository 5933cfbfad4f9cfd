"""What `sim.episode_files` writes of an episode: columns, counters, statistics, LeRobot's rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

STATISTICS_STRIDE_PX = 8  # every 8th pixel of every frame enters the image statistics
STATISTICS = "stats/"  # how their columns begin among the episodes'


@dataclass(frozen=True)
class EpisodeData:
    """A finished episode of n rows."""

    task: str  # what LeRobot calls so: the instruction
    columns: Mapping[str, NDArray]  # feature -> (n, ...)
    videos: Mapping[str, bytes]  # feature -> mp4 of n frames, all with the same options
    pixels: Mapping[str, NDArray[np.uint8]]  # feature -> (n, 3, h', w'), see `sample_pixels`

    @property
    def length(self) -> int:
        return len(next(iter((self.columns or self.pixels).values())))


def sample_pixels(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Of (n, h, w, 3) those that enter the statistics, (n, 3, h', w')."""
    stride = STATISTICS_STRIDE_PX
    return images[:, ::stride, ::stride].transpose(0, 3, 1, 2)


def vector(names: Sequence[str]) -> dict[str, Any]:
    """LeRobot's description of a feature of numbers with names."""
    return {"dtype": "float32", "shape": (len(names),), "names": list(names)}


def image(height_px: int, width_px: int) -> dict[str, Any]:
    """LeRobot's description of a camera's feature."""
    return {
        "dtype": "video",
        "shape": (height_px, width_px, 3),
        "names": ["height", "width", "channels"],
    }


# How an episode went: of the row whose action did it.
OUTCOME: dict[str, dict[str, Any]] = {
    "next.reward": {"dtype": "float32", "shape": (1,), "names": None},
    "next.success": {"dtype": "bool", "shape": (1,), "names": None},
}


def outcome_columns(success: bool, length: int) -> dict[str, NDArray]:
    """The columns of `OUTCOME`: success, if any, comes with the last action."""
    done = np.zeros(length, dtype=bool)
    done[-1] = success
    return {"next.reward": done.astype(np.float32), "next.success": done}


# --- tables -----------------------------------------------------------------------------------


def counters(
    episode: EpisodeData, rate_hz: int, number: int, first_row: int, tasks: Any
) -> dict[str, NDArray]:
    """The columns every LeRobotDataset has."""
    length = episode.length
    return {
        "timestamp": np.arange(length, dtype=np.float32) / rate_hz,
        "frame_index": np.arange(length),
        "episode_index": np.full(length, number),
        "index": np.arange(length) + first_row,
        "task_index": np.full(length, int(tasks.loc[episode.task].task_index)),
    }


def episode_row(
    episode: EpisodeData, table: Mapping[str, NDArray], found: Mapping[str, Any]
) -> dict[str, Any]:
    """The episode's row of `meta/episodes`, but for where its files are."""
    from lerobot.utils.utils import flatten_dict

    first = int(table["index"][0])
    flat = flatten_dict({STATISTICS[:-1]: dict(found)})
    return {
        "episode_index": int(table["episode_index"][0]),
        "tasks": [episode.task],
        "length": episode.length,
        "dataset_from_index": first,
        "dataset_to_index": first + episode.length,
        # One type, whatever the episode: LeRobot reads all such files as one table.
        **{
            name: np.asarray(value, int if name.endswith("/count") else float).tolist()
            for name, value in flat.items()
        },
    }


def with_tasks(tasks: Any, new: Sequence[str]) -> Any:
    """LeRobot's table of tasks (None: empty), and those of `new` that it lacks."""
    import pandas

    names = [] if tasks is None else list(tasks.index)
    names += [task for task in dict.fromkeys(new) if task not in names]
    return pandas.DataFrame(
        {"task_index": range(len(names))}, index=pandas.Index(names, name="task")
    )


def write_rows(
    path: Path, tables: Sequence[Mapping[str, NDArray]], features: Mapping[str, Any]
) -> None:
    """The episodes' rows as one parquet file."""
    import datasets
    import pyarrow.parquet
    from lerobot.datasets.feature_utils import get_hf_features_from_features

    schema = get_hf_features_from_features(features)
    columns = {name: np.concatenate([table[name] for table in tables]) for name in schema}
    # LeRobot keeps vectors of one number as plain numbers.
    columns = {
        name: column.reshape(-1) if tuple(features[name]["shape"]) == (1,) else column
        for name, column in columns.items()
    }
    table = datasets.Dataset.from_dict(columns, features=schema)
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(table.with_format("arrow")[:], path)


def write_episodes(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    import pyarrow
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)


# --- statistics -------------------------------------------------------------------------------


def statistics(
    values: Mapping[str, NDArray], pixels: Mapping[str, NDArray[np.uint8]]
) -> dict[str, dict[str, NDArray]]:
    """LeRobot's statistics of one episode; images (n, 3, h, w) as numbers from 0 to 1."""
    from lerobot.datasets.compute_stats import DEFAULT_QUANTILES, get_feature_stats

    found = {
        name: get_feature_stats(
            column.astype(np.float32) if column.dtype == bool else column,
            axis=0,
            keepdims=column.ndim == 1,
            quantile_list=DEFAULT_QUANTILES,
        )
        for name, column in values.items()
    }
    for name, samples in pixels.items():
        of_image = get_feature_stats(
            samples, axis=(0, 2, 3), keepdims=True, quantile_list=DEFAULT_QUANTILES
        )
        found[name] = {
            key: value if key == "count" else np.squeeze(value / 255.0, axis=0)  # (3, 1, 1)
            for key, value in of_image.items()
        }
    return found


def sum_statistics(folder: Path, episodes: int) -> dict[str, dict[str, NDArray]]:
    """Those of a dataset's first `episodes`, from what `meta/episodes` keeps of each."""
    import pyarrow.dataset
    from lerobot.datasets.compute_stats import aggregate_stats
    from lerobot.utils.utils import unflatten_dict

    files = [str(path) for path in sorted((folder / "meta" / "episodes").rglob("*.parquet"))]
    rows = pyarrow.dataset.dataset(files, format="parquet").to_table().to_pylist()
    return aggregate_stats(
        [
            unflatten_dict(
                {
                    name.removeprefix(STATISTICS): np.array(value)
                    for name, value in row.items()
                    if name.startswith(STATISTICS)
                }
            )
            for row in rows
            if row["episode_index"] < episodes
        ]
    )
