"""Reads a YAML file of parameters before any node does, to say clearly what is wrong with it.

rclpy's own parser names a line of its source, and skips a section whose node does not exist.
Whether a node has a parameter the node itself says (`vla_ros.runtime.declare`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sim.yaml_file import YamlError, expected_one_of, read_yaml, shortened
from vla_ros.errors import UserError

NODES = (
    "sim_node", "policy_node", "executor_node", "recorder_node", "task_node", "teleop_node",
)  # fmt: skip
EVERY_NODE = ("/**", "/*")  # rcl's wildcards for names
PARAMETERS = "ros__parameters"
EXAMPLE = f"executor_node: {{{PARAMETERS}: {{speed_m_s: 0.25}}}}"


def read_parameter_file(path: Path) -> dict[str, dict[str, Any]]:
    """Parameters by node of this package, wildcards resolved; raises `UserError`."""
    try:
        content = read_yaml(path, "config")
    except YamlError as error:
        text = str(error)
        raise UserError(text if text.startswith("config") else f"config: {text}") from error
    if not isinstance(content, dict) or not content:
        raise UserError(_expected(path, "parameters by node", content))
    given: dict[str, dict[str, Any]] = {name: {} for name in NODES}
    for section in sorted(content, key=lambda name: name not in EVERY_NODE):  # a node's own win
        name = str(section).removeprefix("/")
        nodes = NODES if section in EVERY_NODE else (name,)
        if not set(nodes) <= set(NODES):
            if not isinstance(content[section], dict):
                raise UserError(_expected(path, "parameters by node", {section: content[section]}))
            known = expected_one_of([*NODES, *EVERY_NODE], name)
            raise UserError(f"config: {path}: node: {known}")
        values = _parameters(path, section, content[section])
        for node in nodes:
            given[node] |= values
    return given


def check_sections(path: Path, node: str) -> None:
    """Refuse a file whose values for `node` (its name with its namespace) ROS would pass over: a
    section of a misspelled node, or of this one in another namespace. Raises `UserError`."""
    try:
        content = read_yaml(path, "parameters")
    except YamlError:
        return  # ROS has read it: its launch writes Python's tuples into files of its own
    own = node.rsplit("/", 1)[-1]
    for section in _sections(content, ""):
        name = section.rsplit("/", 1)[-1]
        if "*" in section:
            continue
        if name not in (own, *NODES):
            known = expected_one_of([*NODES, *EVERY_NODE], name)
            raise UserError(f"parameters: {path}: node: {known}")
        if name == own and section != node:
            raise UserError(
                f"parameters: {path}: node: expected {node} or /**, for so this node is called, "
                f"got {section}"
            )


def _sections(content: Any, prefix: str) -> Iterator[str]:
    """Names of the nodes that a file has values for, from "/" on; namespaces may be nested."""
    if not isinstance(content, dict):
        return
    for key, value in content.items():
        name = f"{prefix}/{str(key).strip('/')}"
        if isinstance(value, dict) and PARAMETERS not in value:
            yield from _sections(value, name)
        else:
            yield name


def _parameters(path: Path, section: str, content: Any) -> dict[str, Any]:
    if not (isinstance(content, dict) and set(content) == {PARAMETERS}):
        raise UserError(
            _expected(path, f"{section}: {PARAMETERS} and below it the values", content)
        )
    values = content[PARAMETERS]
    if not isinstance(values, dict):
        raise UserError(_expected(path, f"{section}: {PARAMETERS}: names and values", values))
    flat = _flat(values)
    for name, value in flat.items():
        if value is None or value == []:
            raise UserError(
                f"config: {path}: {section}: {name}: expected a value, got "
                f"{'an empty list' if value == [] else 'nothing'}; leave it out for the default"
            )
        kinds = {_kind(each) for each in value} if isinstance(value, list) else set()
        if len(kinds) > 1:
            raise UserError(
                f"config: {path}: {section}: {name}: expected a list of one kind of value, got "
                f"{shortened(value)}, of {' and '.join(sorted(kinds))}"
            )
    return flat


def _flat(values: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Parameters of groups have names with dots."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _kind(value: Any) -> str:
    if isinstance(value, str):
        try:
            float(value)  # "1e3": to ROS a number, to PyYAML none
        except ValueError:
            return "text"
        return "numbers with a point"
    kinds = {bool: "truth values", int: "whole numbers", float: "numbers with a point"}
    return kinds.get(type(value), type(value).__name__)


def _expected(path: Path, what: str, got: Any) -> str:
    return f"config: {path}: expected {what} (as in {EXAMPLE}), got {shortened(got)}"
