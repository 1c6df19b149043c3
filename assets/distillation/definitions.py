"""Assets of the distillation room: the registered student, its held-out predictions, its axis probes."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import altair as alt
import dagster as dg
import polars as pl

from assets.distillation.ablations import (
    RECORDED,
    Ablated,
    addable_parts,
    compare_ablations,
    row_name,
    switchable_parts,
    training_name,
    trainings_without_parts,
)
from assets.distillation.axis_probes import probe_axes
from assets.distillation.distil import Distilled, distil
from assets.distillation.gates import as_record
from assets.distillation.held_out import with_model_version
from assets.distillation.recorded_readout import Registered, score_recorded_readout
from assets.distillation.registry import RegisteredStudent, register_student, training_run
from assets.distillation.side_by_side import usable_cores
from assets.distillation.static_traces import StaticTraces, static_traces
from assets.distillation.training_set import TrainingSet, build_training_set
from assets.distillation.trainings import Training, train_students
from assets.distillation.unseen_scenarios import left_out_sets, score_unseen_scenarios, trainings_without_scenarios
from assets.students import load_student
from orchestration.freshness import STAGE_BY_ASSET, code_digest
from orchestration.resources import ModelRegistry, Platform
from orchestration.table_assets import OWNERS, plot, table_options, table_output
from validation.report.charts import plot_png

STUDENT_STAGE = STAGE_BY_ASSET["student_model"]


class AblationConfig(dg.Config):
    """Whether every part of the student is left out in turn, whatever the recipe says."""

    is_every_part: bool = False


def judgement(distilled: Distilled, registered: RegisteredStudent) -> str:
    """One sentence on how the student stands, for the terminal and the report."""
    required = [gate for gate in distilled.gates if gate.is_required]
    if registered.is_champion:
        return f"Champion: all {len(required)} gates hold on held-out agents."
    lost = "; ".join(gate.name for gate in required if not gate.has_passed)
    return f"No champion, simulated as candidate: {len(required)} gates are required, and these fail: {lost}."


@dg.multi_asset(
    name="distillation",
    outs={
        "student_model": dg.AssetOut(
            dagster_type=dg.Nothing,
            group_name="distillation",
            owners=OWNERS,
            kinds={"torch", "mlflow"},
            code_version=code_digest(STUDENT_STAGE.room, STUDENT_STAGE.other_code)[:16],
            description="The student LSM, distilled from the traces and registered in MLflow; champion if it earns it.",
        ),
        "held_out_predictions": table_output(
            "held_out_predictions",
            "The student, its ablation and the baselines on agents that took no part in training.",
            kinds=("torch",),
        ),
        "simulated_shares": table_output(
            "simulated_shares",
            "Shares and spread of people drawn by their attributes, as simulations draw them, beside the teacher's.",
            kinds=("torch",),
        ),
    },
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def distillation(
    context: dg.AssetExecutionContext,
    platform: Platform,
    registry: ModelRegistry,
    agents: pl.DataFrame,
    ties: pl.DataFrame,
    media_sources: pl.DataFrame,
    scenarios: pl.DataFrame,
    reasoning_traces: pl.DataFrame,
    recorded_answers: pl.DataFrame,
    recorded_questions: pl.DataFrame,
    survey_respondents: pl.DataFrame,
) -> Iterator[dg.Output]:
    """Trains, judges and registers the student."""
    recipe = platform.recipe
    data_versions = {
        name: platform.store.open(name).version() for name in STUDENT_STAGE.upstream if platform.store.exists(name)
    }
    tracking_uri = registry.resolve_uri(platform.settings)
    checkpoints = _checkpoints(platform, "student_model")
    static = _static(platform, scenarios, recorded_answers, recorded_questions, survey_respondents)
    context.log.info(_mixture(static))
    run = training_run(
        tracking_uri,
        platform.settings.mlflow_artifacts_dir.as_uri(),
        recipe=recipe.as_dict(),
        data_versions=data_versions,
    )
    with run as run_id:
        distilled = distil(
            agents,
            ties,
            media_sources,
            scenarios,
            reasoning_traces.filter(pl.col("kind") == "rollout"),
            epochs=recipe.training_epochs,
            seed=recipe.seed,
            num_members=recipe.num_members,
            progress=context.log.info,
            checkpoints=checkpoints,
            static=static,
            processes=_processes(platform),
        )
        registered = register_student(
            distilled, run_id, tracking_uri=tracking_uri, recipe=recipe.as_dict(), data_versions=data_versions
        )
    shutil.rmtree(checkpoints, ignore_errors=True)
    verdict = judgement(distilled, registered)
    context.log.info(verdict)
    platform.records.write(
        "student_model",
        {
            "fingerprint": platform.fingerprint("student_model"),
            "run_id": context.run_id,
            "version": registered.version,
            "mlflow_run_id": registered.run_id,
            "alias": "champion" if registered.is_champion else "candidate",
            "is_champion": registered.is_champion,
            "verdict": verdict,
            "questions": sorted(
                {target.question.question_id for item in distilled.training_set.rollouts for target in item.targets}
            ),
            "recorded_teacher": static.teacher_model if static else None,
            "gates": [as_record(gate) for gate in distilled.gates],
        },
    )
    yield dg.Output(
        None,
        output_name="student_model",
        metadata={
            "version": registered.version,
            "is_champion": registered.is_champion,
            "recorded_answers_mixed_in": int((static.fitted.chosen_PQ >= 0).sum()) if static else 0,
            "held_out_tvd": distilled.gates[0].student_value,
            **{f"gate_{gate.baseline}": gate.difference for gate in distilled.gates},
            "mlflow_run": dg.MetadataValue.url(
                f"http://127.0.0.1:{platform.settings.mlflow_port}/#/experiments/1/runs/{registered.run_id}"
            ),
            "plot": plot(plot_png(_loss_curves(distilled.curves))),
        },
    )
    for name, table in (
        ("held_out_predictions", distilled.held_out),
        ("simulated_shares", distilled.simulated_shares),
    ):
        yield dg.Output(with_model_version(table, registered.version), output_name=name)


@dg.asset(
    **table_options("axis_probes", kinds=("scikitlearn",)),
    deps=["student_model"],
    description="What the principal axes of the free latent say about channels and attributes, against chance.",
)
def axis_probes(
    platform: Platform,
    registry: ModelRegistry,
    agents: pl.DataFrame,
    ties: pl.DataFrame,
    media_sources: pl.DataFrame,
    scenarios: pl.DataFrame,
    reasoning_traces: pl.DataFrame,
) -> pl.DataFrame:
    """Probes the student that simulation uses."""
    student = load_student(registry.resolve_uri(platform.settings), texts=scenarios)
    training_set = _training_set(platform, agents, ties, media_sources, scenarios, reasoning_traces)
    return probe_axes(student.model, training_set, model_version=student.version, seed=platform.recipe.seed)


@dg.multi_asset(
    name="left_out",
    outs={
        "ablations": table_output(
            "ablations",
            "What each part of the student is worth: students trained without it, on the same held-out agents.",
            kinds=("torch",),
            is_required=False,
        ),
        "unseen_scenarios": table_output(
            "unseen_scenarios",
            "Students trained without some scenarios, on those scenarios, beside baselines and the student that "
            "saw them.",
            kinds=("torch",),
            is_required=False,
        ),
    },
    deps=["student_model"],
    can_subset=True,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def left_out(
    context: dg.AssetExecutionContext,
    config: AblationConfig,
    platform: Platform,
    registry: ModelRegistry,
    agents: pl.DataFrame,
    ties: pl.DataFrame,
    media_sources: pl.DataFrame,
    scenarios: pl.DataFrame,
    reasoning_traces: pl.DataFrame,
    recorded_answers: pl.DataFrame,
    recorded_questions: pl.DataFrame,
    survey_respondents: pl.DataFrame,
) -> Iterator[dg.Output[pl.DataFrame]]:
    """Trains students without parts and without scenarios, all side by side, and compares them with the newest one.

    No rows of `unseen_scenarios` where the recipe leaves none out.
    """
    recipe, wanted = platform.recipe, context.selected_output_names
    uri = registry.resolve_uri(platform.settings)
    version = int(platform.records.read("student_model")["version"])
    whole = load_student(uri, version, texts=scenarios)
    static = _static(platform, scenarios, recorded_answers, recorded_questions, survey_respondents)
    training_set = _training_set(platform, agents, ties, media_sources, scenarios, reasoning_traces, static)
    student = whole.model.config
    parts = (*switchable_parts(student), *addable_parts(student))
    parts = parts[: None if config.is_every_part else recipe.num_ablations]
    parts = (*parts, RECORDED) if static and parts else parts
    sets = left_out_sets(training_set, recipe.num_scenario_splits, recipe.seed)
    trainings: dict[str, Training] = {}
    if "ablations" in wanted:
        trainings |= trainings_without_parts(training_set, parts, recipe.seed)
    if "unseen_scenarios" in wanted:
        trainings |= trainings_without_scenarios(training_set, sets, recipe.seed)
    checkpoints = _checkpoints(platform, "left_out")
    students = train_students(
        trainings,
        epochs=recipe.training_epochs,
        progress=context.log.info,
        checkpoints=checkpoints,
        processes=_processes(platform),
    )
    facts: dict[str, int] = {"epochs": recipe.training_epochs, "seed": recipe.seed, "model_version": version}
    if "ablations" in wanted:
        no_graph = load_student(uri, version, weights="no_graph", texts=scenarios)
        ablated = [Ablated(row_name(student, part), students[training_name(student, part)].model) for part in parts]
        table = compare_ablations(training_set, whole.model, no_graph.model, ablated, **facts)
        yield dg.Output(table, output_name="ablations")
    if "unseen_scenarios" in wanted:
        models = {name: students[name].model for name in sets}
        table = score_unseen_scenarios(training_set, whole.model, sets, models, **facts)
        yield dg.Output(table, output_name="unseen_scenarios")
    shutil.rmtree(checkpoints, ignore_errors=True)


@dg.asset(
    **table_options("recorded_readout", kinds=("torch", "scikitlearn")),
    deps=["student_model"],
    description="The readout on recorded answers of a real LLM: unseen personas, unseen questions, and both.",
)
def recorded_readout(
    context: dg.AssetExecutionContext,
    platform: Platform,
    registry: ModelRegistry,
    scenarios: pl.DataFrame,
    recorded_answers: pl.DataFrame,
    recorded_questions: pl.DataFrame,
    survey_respondents: pl.DataFrame,
) -> dg.Output[pl.DataFrame]:
    """Fits students to recorded answers and asks the registered one too; no rows where none are at hand."""
    recipe = platform.recipe
    record = platform.records.read("student_model")
    registered, mixed_in = None, record.get("recorded_teacher")
    if mixed_in is not None:
        student = load_student(registry.resolve_uri(platform.settings), int(record["version"]), texts=scenarios)
        registered = Registered(student.model, mixed_in, survey_respondents)
    table = score_recorded_readout(
        recorded_answers,
        recorded_questions,
        epochs=recipe.training_epochs,
        num_splits=recipe.num_item_splits,
        seed=recipe.seed,
        progress=context.log.info,
        registered=registered,
        processes=_processes(platform),
    )
    return dg.Output(table, metadata={"available": not table.is_empty()})


def _training_set(
    platform: Platform,
    agents: pl.DataFrame,
    ties: pl.DataFrame,
    media_sources: pl.DataFrame,
    scenarios: pl.DataFrame,
    reasoning_traces: pl.DataFrame,
    static: StaticTraces | None = None,
) -> TrainingSet:
    """What the registered student was trained and is judged on: the teacher's own rollouts, split by the run's seed."""
    rollouts = reasoning_traces.filter(pl.col("kind") == "rollout")
    return build_training_set(agents, ties, media_sources, scenarios, rollouts, platform.recipe.seed, static)


def _static(
    platform: Platform,
    scenarios: pl.DataFrame,
    recorded_answers: pl.DataFrame,
    recorded_questions: pl.DataFrame,
    survey_respondents: pl.DataFrame,
) -> StaticTraces | None:
    """Recorded answers that are mixed into trainings; None where there are none."""
    encoder = ", ".join(scenarios["text_encoder"].unique().sort())
    return static_traces(
        recorded_answers, recorded_questions, survey_respondents, text_encoder=encoder, seed=platform.recipe.seed
    )


def _mixture(static: StaticTraces | None) -> str:
    if static is None:
        return "No recorded answers are at hand: the student is trained on the teacher's rollouts alone."
    return (
        f"Mixing in recorded answers of {static.teacher_model}: {len(static.fitted.codes_PF)} people, "
        f"{len(static.question_ids)} questions."
    )


def _checkpoints(platform: Platform, asset: str) -> Path:
    """Where an asset's trainings by this code keep their epochs until they have ended."""
    return platform.settings.training_dir / asset / code_digest(STUDENT_STAGE.room, STUDENT_STAGE.other_code)[:16]


def _processes(platform: Platform) -> int:
    """How many trainings may run at a time."""
    return platform.settings.training_processes or usable_cores()


def _loss_curves(curves: pl.DataFrame) -> dict:
    chart = (
        alt.Chart(curves.to_pandas(), title="training")
        .mark_line()
        .encode(x="epoch:Q", y="value:Q", color="metric:N", strokeDash="model:N")
        .properties(width=520, height=260)
    )
    return chart.to_dict()
