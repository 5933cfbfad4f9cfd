"""Describes vla_ros to colcon (an ament_python package) and to pip; both read this one file."""

from pathlib import Path

from setuptools import find_packages, setup

# colcon --symlink-install runs this file through a link, away from the files it reads.
ROOT = Path(__file__).resolve().parent
NAME = "vla_ros"


def requirements(name: str) -> list[str]:
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    return [text for line in lines if (text := line.split("#")[0].strip())]


def files(pattern: str) -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in ROOT.glob(pattern))


setup(
    name=NAME,
    version="0.1.0",  # package.xml says the same; a test compares them
    description=(
        "Runs vision-language-action policies and world models on robot arms over ROS 2, "
        "and trains both in MuJoCo."
    ),
    author="vla_ros contributors",
    license="MIT",
    python_requires=">=3.12",
    packages=find_packages(
        include=[
            pattern
            for package in ("policies", "sim", "world_models", "vla_ros")
            for pattern in (package, f"{package}.*")
        ]
    ),
    package_data={
        "policies": ["checkpoints/**/*"],  # the policy that runs by default
        "world_models": ["checkpoints/**/*"],  # what planners imagine with by default
        # The transport between processes; the page of `vla-ros watch`.
        "vla_ros": ["*.xml", "watch/*.html", "watch/*.css", "watch/*.js"],
    },
    include_package_data=False,
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml", "LICENSE"]),
        (f"share/{NAME}/launch", files("launch/*.py")),
        (f"share/{NAME}/config", files("config/*.*")),
        (f"share/{NAME}/config/randomization", files("config/randomization/*.yaml")),
        (f"share/{NAME}/config/robots", files("config/robots/*")),
        (f"share/{NAME}/config/scenes", files("config/scenes/*.yaml")),
        (f"share/{NAME}/config/worlds", files("config/worlds/*.yaml")),
    ],
    zip_safe=False,
    install_requires=requirements("core"),
    extras_require={
        name: requirements(name)
        # "ros" is an extra because a ROS distribution brings rclpy itself.
        for name in ("ros", "dev", "diffusion", "menagerie", "ray", "smolvla")
    },
    entry_points={
        "console_scripts": [
            "vla-ros = vla_ros.cli:main",
            "sim_node = vla_ros.sim_node:main",
            "policy_node = vla_ros.policy_node:main",
            "executor_node = vla_ros.executor_node:main",
            "recorder_node = vla_ros.recorder_node:main",
            "task_node = vla_ros.task_node:main",
            "teleop_node = vla_ros.teleop_node:main",
        ]
    },
)
