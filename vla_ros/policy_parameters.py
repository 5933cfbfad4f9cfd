"""What a user may choose of the policy node; every default lives here."""

from __future__ import annotations

from policies.factory import DEFAULT_POLICY, DTYPES, QUANTIZATIONS
from vla_ros.limit_parameters import OWN
from vla_ros.robot_parameters import ROBOT_PARAMETERS
from vla_ros.runtime import Parameter

PARAMETERS = (
    Parameter(
        "policy", DEFAULT_POLICY, "Name of a policy that ships here, a folder, or ws://host:port"
    ),
    Parameter("device", "cpu", "Where it runs: cpu, cuda or cuda:<index>"),
    Parameter("unnorm_key", "", "Data set whose statistics un-normalize; empty: the only one"),
    Parameter("dtype", "float32", f"What it computes in: {', '.join(DTYPES)}"),
    Parameter("quantization", "", f"Of its weights: {', '.join(QUANTIZATIONS)}; empty: none"),
    Parameter("compile", False, "Decode faster token by token, after half a minute of compiling"),
    Parameter("cameras", [""], "Cameras to use; empty: those the policy looks at"),
    Parameter("image_size_px", 224, "Expected width and height of images; 0: any", 0, 4096),
    Parameter("least_contrast", 8.0, "Refuse darker images, of 255; 0: none", 0.0, 255.0),
    Parameter(
        "still_picture_s",
        0.5,
        "Refuse a picture that has not changed in any pixel for so long while the arm moved; 0: "
        "never, as for rendered ones, which have no noise",
        0.0,
        60.0,
    ),
    Parameter("rate_hz", 10.0, "Most predictions a second", 0.1, 100.0),
    Parameter(
        "request_margin_s",
        0.0,
        "Ask again this long, and the measured latency, before a chunk ends; 0: at every image",
        0.0,
        5.0,
    ),
    Parameter("tolerance_s", 0.05, "Streams further apart than this do not match", 0.001, 1.0),
    Parameter("max_age_s", 0.5, "Streams older than this are stale", 0.01, 10.0),
    Parameter("speed_m_s", 0.0, "Refuse policies that move the tool faster" + OWN, 0.0, 5.0),
    Parameter("turn_rad_s", 0.0, "Refuse policies that turn the tool faster" + OWN, 0.0, 50.0),
    Parameter("step_m", 0.0, "Refuse policies with longer steps" + OWN, 0.0, 5.0),
    *ROBOT_PARAMETERS,
    Parameter("planner", "", "Plans around the policy: best-of-n, gate, icem; empty: none"),
    Parameter(
        "world_model",
        "",
        "World model (name or folder) that the planner imagines with; empty: the one that ships",
    ),
    Parameter("deadline_ms", 200.0, "Of a planner's decision, the policy included", 1.0, 1e4),
    Parameter(
        "patience_s",
        0.0,
        "A policy without progress for so long is stuck, and the planner does something else; 0: "
        "never, as a robot does not tell it that the task is done",
        0.0,
        60.0,
    ),
    Parameter("autostart", True, "Configure and activate at once, without a lifecycle manager"),
)
