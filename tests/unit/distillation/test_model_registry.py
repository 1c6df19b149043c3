"""Students in a real MLflow registry on sqlite."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch

from assets.distillation.axis_probes import probe_axes
from assets.distillation.distil import Distilled
from assets.distillation.registry import RegisteredStudent, register_student, training_run
from assets.students import RegistryError, load_student, read_student
from validation.contracts import CONTRACTS


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for store and artifacts."""
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="module")
def tracking_uri(home: Path) -> str:
    """A sqlite store."""
    return f"sqlite:///{home / 'mlflow.db'}"


def _register(distilled: Distilled, tracking_uri: str, home: Path) -> RegisteredStudent:
    facts = {
        "recipe": {"name": "test", "training_epochs": 40},
        "data_versions": {"agents": 2, "reasoning_traces": 5},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "assets.distillation.registry.SECONDS_BETWEEN_SYSTEM_METRICS", 0.1
        )  # the run lasts a second or two
        with training_run(tracking_uri, (home / "artifacts").as_uri(), **facts) as run_id:
            return register_student(distilled, run_id, tracking_uri=tracking_uri, **facts)


@pytest.fixture(scope="module")
def registered(distilled: Distilled, tracking_uri: str, home: Path) -> RegisteredStudent:
    """Version 1: a champion."""
    passed = replace(distilled, gates=tuple(replace(gate, has_passed=True) for gate in distilled.gates))
    return _register(passed, tracking_uri, home)


def test_the_loaded_student_has_the_bits_of_the_trained(
    distilled: Distilled, registered: RegisteredStudent, tracking_uri: str
) -> None:
    for weights, trained in (("student", distilled.student), ("no_graph", distilled.no_graph)):
        loaded = load_student(tracking_uri, registered.version, weights=weights)
        assert loaded.model.config == trained.model.config
        for name, weight in trained.model.state_dict().items():
            assert torch.equal(weight, loaded.model.state_dict()[name]), name


def test_a_student_that_passed_is_champion_and_loaded_by_default(
    registered: RegisteredStudent, tracking_uri: str
) -> None:
    assert registered.is_champion
    loaded = load_student(tracking_uri)
    assert (loaded.version, loaded.run_id, loaded.is_champion) == (registered.version, registered.run_id, True)


def test_a_student_that_failed_is_candidate_only(
    distilled: Distilled, registered: RegisteredStudent, tracking_uri: str, home: Path
) -> None:
    failed = replace(distilled, gates=tuple(replace(gate, has_passed=False) for gate in distilled.gates))
    second = _register(failed, tracking_uri, home)
    assert second.version == registered.version + 1
    assert load_student(tracking_uri).version == registered.version
    candidate = load_student(tracking_uri, "candidate")
    assert (candidate.version, candidate.is_champion) == (second.version, False)


def test_nothing_in_the_artifacts_executes_on_loading(registered: RegisteredStudent, home: Path) -> None:
    assert registered.version == 1
    names = [path.name for path in (home / "artifacts").rglob("*") if path.is_file()]
    assert "student.safetensors" in names
    assert "no_graph.safetensors" in names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".pt", ".pth", ".bin"))]


def test_the_run_holds_parameters_curves_versions_and_the_card(
    distilled: Distilled, registered: RegisteredStudent, tracking_uri: str
) -> None:
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
    run = client.get_run(registered.run_id)
    assert run.data.params["recipe.training_epochs"] == "40"
    assert run.data.tags["data_version.reasoning_traces"] == "5"
    assert run.data.metrics["has_passed_gates"] == 1.0
    assert run.info.status == "FINISHED"
    assert {"environment.torch", "settings.travel", "config.latent_dim"} <= set(run.data.params)
    assert any(name.startswith("system/") for name in run.data.metrics)
    curve = client.get_metric_history(registered.run_id, "lsm/validation_tvd")
    assert len(curve) == distilled.student.curves.filter(metric="validation_tvd").height
    card = client.get_model_version("lsm", str(registered.version)).description
    assert "known-law" in card
    assert "| persistence |" in card


def test_the_served_model_answers_its_example(registered: RegisteredStudent, tracking_uri: str) -> None:
    import mlflow

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(tracking_uri)
    try:
        served = mlflow.pyfunc.load_model(f"models:/lsm/{registered.version}")
        answers = served.predict(served.input_example)
    finally:
        mlflow.set_tracking_uri(before)
    assert [sum(row) for row in answers["option_probabilities"]] == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize(("wanted", "message"), [("nobody", "alias nobody"), (99, "version 99")])
def test_what_is_not_there_is_named(
    registered: RegisteredStudent, tracking_uri: str, wanted: str | int, message: str
) -> None:
    assert registered.version == 1
    with pytest.raises(RegistryError, match=message):
        load_student(tracking_uri, wanted)


def test_an_empty_registry_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"versions: none\. Materialise student_model"):
        load_student(f"sqlite:///{tmp_path / 'empty.db'}")


def test_another_vocabulary_is_refused(tmp_path: Path) -> None:
    (tmp_path / "student.json").write_text('{"attributes": [], "channels": []}')
    with pytest.raises(RegistryError, match="trained with other attributes"):
        read_student(tmp_path, "student", 3)


def test_probes_keep_their_contract_and_find_the_stance(distilled: Distilled) -> None:
    probes = CONTRACTS["axis_probes"].validate(
        probe_axes(distilled.student.model, distilled.training_set, model_version=1, seed=2)
    )
    assert set(probes["axis"]) == {f"latent_pc{number}" for number in range(1, 5)}
    stance = probes.filter(target="identity_alignment")
    assert stance["r2"].max() > stance["r2_permuted"].max() + 0.1
    assert (probes["lower"] <= probes["upper"]).all()


def test_a_student_refuses_texts_of_another_encoder(registered: RegisteredStudent, tracking_uri: str) -> None:
    own = pl.DataFrame({"text_encoder": ["random"]})
    assert load_student(tracking_uri, registered.version, texts=own).version == registered.version
    with pytest.raises(RegistryError, match="encoded by random, found another-v2"):
        load_student(tracking_uri, registered.version, texts=pl.DataFrame({"text_encoder": ["another-v2"]}))
