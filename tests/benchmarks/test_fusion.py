"""The bounds of what fused passes gain: a line for each pass, whose columns fit together."""

import sys

import pytest

import benchmarks.fusion as fusion


def test_a_line_for_each_pass(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["fusion", "--batch", "8", "--repeats", "2"])
    assert fusion.main() == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[-2:] == ["mask", "gains"]
    assert [line[:34].strip() for line in lines] == list(fusion.SHAPES)
    for line in lines:
        whole, cached, gain, _ = map(int, line[34:].split())
        assert whole > 0 and abs(whole - cached - gain) <= 1
