"""Addresses with options, and tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from policies.factory import check_name, load_policy
from policies.openvla.config import CheckpointError
from policies.remote.settings import SettingsError, is_remote, parse_remote, read_token
from policies.remote.table import PRESETS


def test_an_address_alone() -> None:
    settings = parse_remote("ws://robot.local:8000", {})
    assert (settings.uri, settings.table, settings.images) == ("ws://robot.local:8000", None, "raw")
    assert settings.token is None


def test_every_option(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    settings = parse_remote(
        "wss://[::1]:9000/path?table=libero&images=jpeg&timeout_s=0.5&start_timeout_s=3"
        f"&patience_s=60&ca={tmp_path}/ca.pem",
        {"VLA_ROS_TOKEN": " sesame\n"},
    )
    assert settings.uri == "wss://[::1]:9000/path"
    assert settings.table == PRESETS["libero"]
    assert (settings.images, settings.ca_file) == ("jpeg", tmp_path / "ca.pem")
    times = (settings.timeout_s, settings.start_timeout_s, settings.patience_s)
    assert times == (0.5, 3.0, 60.0)
    assert settings.token == "sesame"
    assert "sesame" not in repr(settings)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("ws://host", "expected ws://host:port"),
        ("ws://:8000", "expected ws://host:port"),
        ("ws://host:x", "policy: 'ws://host:x'"),
        ("ws://host:99999", "policy: 'ws://host:99999'"),
        ("ws://me:secret@host:1", "nothing but a host and a port"),
        ("ws://host:1?token=abc", "expected in the environment"),
        ("ws://host:1?speed=3", "expected each of table, images"),
        ("ws://host:1?images=raw&images=jpeg", "at most once"),
        ("ws://host:1?images=png", "images: expected one of raw, jpeg, got 'png'"),
        ("ws://host:1?timeout_s=fast", "timeout_s: expected seconds, got 'fast'"),
        ("ws://host:1?timeout_s=0", "timeout_s: expected 0.001 or more"),
        ("ws://host:1?patience_s=nan", "patience_s: expected 0 or more"),
        ("ws://host:1?patience_s=-1", "patience_s: expected 0 or more"),
        ("ws://host:1?table=aloha", "table: expected one of default, libero"),
        ("wss://host:1?ca=/no/such/file", "ca: expected a certificate file"),
        ("ws://host:1?ca=" + __file__, "only wss:// is encrypted"),
    ],
)
def test_a_wrong_address_is_refused_before_anything_starts(address: str, said: str) -> None:
    for check in (lambda: parse_remote(address, {}), lambda: check_name(address)):
        with pytest.raises(SettingsError) as caught:
            check()
        assert said in str(caught.value)


def test_names_of_policies_are_told_from_addresses() -> None:
    assert is_remote("ws://a:1")
    assert is_remote("wss://a:1")
    assert not is_remote("openvla-mini")
    assert not is_remote("runs/ws:")
    check_name("openvla-mini")
    check_name("ws://a:1")
    with pytest.raises(CheckpointError, match="expected a checkpoint folder"):
        check_name("http://a:1")


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"unnorm_key": "bridge"}, "unnorm_key: chosen where the server runs, got 'bridge'"),
        ({"dtype": "bfloat16"}, "dtype: chosen where the server runs"),
        ({"quantization": "int8"}, "quantize: chosen where the server runs"),
    ],
)
def test_what_the_server_chooses_cannot_be_chosen_here(option: dict[str, str], said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        load_policy("ws://127.0.0.1:1", **option)  # type: ignore[arg-type]


def test_a_token_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-file\n")
    assert read_token({}) is None
    assert read_token({"VLA_ROS_TOKEN": "here"}) == "here"
    assert read_token({"VLA_ROS_TOKEN": "here", "VLA_ROS_TOKEN_FILE": str(file)}) == "from-file"
    assert read_token({"VLA_ROS_TOKEN": "here"}, file) == "from-file"


@pytest.mark.parametrize("text", ["", " \n", "two words", "gr\u00fcn", "a\x07b"])
def test_a_token_that_no_header_carries_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="expected printable ASCII without spaces"):
        read_token({"VLA_ROS_TOKEN": text})
    (tmp_path / "token").write_text(text)
    with pytest.raises(SettingsError) as caught:
        read_token({}, tmp_path / "token")
    assert text.strip() == "" or text not in str(caught.value)  # it is not shown
    with pytest.raises(SettingsError, match="cannot read"):
        read_token({"VLA_ROS_TOKEN_FILE": str(tmp_path / "absent")})
