"""dvc.yaml is what params.yaml asks for."""

from __future__ import annotations

import pytest
import yaml
from support.project import ROOT

from lifelong.params import load
from lifelong.pipeline.dvc_stages import describe_stages


def test_dvc_yaml_is_as_params_yaml_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    text = describe_stages(load(ROOT / "params.yaml"))
    assert text == (ROOT / "dvc.yaml").read_text(), "`lifelong dvc > dvc.yaml` renews it"
    stages = yaml.safe_load(text)["stages"]
    outs = [out for stage in stages.values() for kind in ("outs", "metrics", "plots") for out in stage.get(kind, [])]
    paths = [path for out in outs for path in out]
    assert len(paths) == len(set(paths))
    assert all(value["persist"] for out in outs for value in out.values())
