"""`python -m vla_ros.cli`, for launchers: `accelerate launch ... -m vla_ros.cli finetune ...`."""

from vla_ros.cli import main

if __name__ == "__main__":  # not in the processes that spawn from this one
    main()
