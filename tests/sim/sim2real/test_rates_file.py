import pytest

from sim.sim2real.correlation import PolicyRates, RatesError
from sim.sim2real.rates_file import read_rates, write_rates


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "rates.csv"
        path.write_text(text)
        return path

    return write


def test_columns_are_found_by_name(file):
    text = "real,policy,simulation\n0.1,a,0.2\n0.3,b,0.4\n"
    assert read_rates(file(text)) == [PolicyRates("a", 0.2, 0.1), PolicyRates("b", 0.4, 0.3)]


def test_numbers_of_episodes_are_optional_and_can_be_given(file):
    text = "\ufeffpolicy, simulation, real, real_episodes\na, 0.2, 0.1, 50\nb, 0.4, 0.3,\n"
    assert read_rates(file(text), episodes=20) == [
        PolicyRates("a", 0.2, 0.1, 20, 50),
        PolicyRates("b", 0.4, 0.3, 20, 20),
    ]


def test_what_is_written_is_read(tmp_path):
    rows = [PolicyRates("a, with a comma", 0.25, 0.5, 4, 8), PolicyRates("b", 1.0, 0.0)]
    write_rates(tmp_path / "new" / "rates.csv", rows)
    assert read_rates(tmp_path / "new" / "rates.csv") == rows
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["rates.csv"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "columns: expected policy, simulation, real .* missing policy, .* got none"),
        ("policy,sim,real\na,0.1,0.2\n", "missing simulation, got policy, sim, real"),
        ("policy,real,simulation,real\n", "real given more than once"),
        ("policy,real,simulation,real_episode\n", "expected only .*, got real_episode"),
        ("policy,real,simulation\na,0.1\n", "line 2: expected 3 cells, got 2"),
        ("policy,real,simulation\n,0.1,0.2\n", "policy: expected a name, got an empty cell"),
        ("policy,real,simulation\na,85%,0.2\n", "got '85%'; divide percentages by 100"),
        ("policy,real,simulation\na,,0.2\n", "real: expected a success rate .* got ''"),
        ("policy,real,simulation\na,0.1,nan\n", "simulation of policy 'a': .* got nan"),
        ("policy,real,simulation,real_episodes\na,0.1,0.2,1.5\n", "whole number .* got '1.5'"),
        (f"policy,real,simulation\n{'a' * 131_073},0.1,0.2\n", "line 2: no CSV: field larger"),
        (f"policy,real,simulation,real_episodes\na,0.1,0.2,{'9' * 5000}\n", "whole number"),
    ],
)
def test_other_files_are_refused(file, text, message):
    with pytest.raises(RatesError, match=message):
        read_rates(file(text))


def test_a_missing_file_and_other_bytes_are_refused(tmp_path):
    with pytest.raises(RatesError, match="cannot be read: No such file"):
        read_rates(tmp_path / "nothing.csv")
    (tmp_path / "rates.csv").write_bytes(b"\xff\xfe\x00policy")
    with pytest.raises(RatesError, match="expected a CSV file in UTF-8"):
        read_rates(tmp_path / "rates.csv")
