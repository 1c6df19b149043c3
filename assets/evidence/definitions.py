"""Assets of the evidence room: agreement with teacher and surveys, benchmarks, and the validation report."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
import polars as pl

from assets.evidence.behaviour import MAX_AGENTS, score_behaviours
from assets.evidence.benchmarks import score_benchmarks
from assets.evidence.cluster_agreement import cluster_rows
from assets.evidence.data_quality import CHECKED_TABLES, check_quality
from assets.evidence.dynamic_calibration import calibrate_dynamically
from assets.evidence.leaderboard import RecordedRun, extend_leaderboard
from assets.evidence.recorded_agreement import recorded_agreement as agree_with_people
from assets.evidence.recorded_calibration import recorded_calibration as calibrate_recorded
from assets.evidence.recorded_calibration import student_answers
from assets.evidence.rectification import rectified_shares as correct_shares
from assets.evidence.rectification import student_answers_at_rest
from assets.evidence.report import build_report
from assets.evidence.report_index import note_run, write_index
from assets.evidence.run_record import read_context
from assets.evidence.survey_calibration import survey_calibration as calibrate_on_surveys
from assets.evidence.teacher_agreement import teacher_agreement as agree_with_teacher
from assets.sources.catalogue import open_catalogue
from assets.students import load_student
from orchestration.freshness import STAGE_BY_ASSET, code_digest
from orchestration.query import QuerySession
from orchestration.resources import ModelRegistry, Platform
from orchestration.table_assets import OWNERS, plot, table_options, table_output
from validation.contracts import CONTRACTS
from validation.report import read_figures
from validation.report.charts import model_bars, plot_png


@dg.asset(
    **table_options("teacher_agreement"),
    description="The student and every baseline against the teacher on held-out agents, beside the teacher's noise.",
)
def teacher_agreement(
    platform: Platform,
    held_out_predictions: pl.DataFrame,
    reasoning_traces: pl.DataFrame,
    agents: pl.DataFrame,
    scenarios: pl.DataFrame,
    trajectories: pl.LazyFrame,
) -> dg.Output[pl.DataFrame]:
    """Scores held-out predictions, and the clusters of held-out agents' channels."""
    rollouts = reasoning_traces.filter(pl.col("kind") == "rollout")
    scores = agree_with_teacher(held_out_predictions, rollouts, agents, scenarios, platform.recipe.seed)
    scores = pl.concat([scores, cluster_rows(rollouts, trajectories, held_out_predictions, platform.recipe.seed)])
    overall = scores.filter((pl.col("metric") == "tvd") & (pl.col("slice") == "all")).sort("value", "model")
    values = dict(overall.select("model", "value").iter_rows())
    return dg.Output(
        scores,
        metadata={
            **{f"tvd_{model}": value for model, value in values.items()},
            "tvd_noise_floor": overall["noise_floor"][0],
            "plot": plot(plot_png(model_bars(overall))),
        },
    )


@dg.asset(
    **table_options("recorded_agreement"),
    description="Recorded answers of LLMs against those of the people they were asked to be, by item, with baselines.",
)
def recorded_agreement(
    context: dg.AssetExecutionContext,
    platform: Platform,
    recorded_answers: pl.DataFrame,
    recorded_questions: pl.DataFrame,
    survey_respondents: pl.DataFrame,
) -> dg.Output[pl.DataFrame]:
    """Compares every recorded model with its people."""
    if recorded_answers.is_empty():
        context.log.warning(
            "No recorded answers are at hand, so nothing is compared (docs/how-to/import-recorded-answers.md)."
        )
    scores = agree_with_people(recorded_answers, recorded_questions, survey_respondents, platform.recipe.seed)
    means = scores.filter((pl.col("question_id") == "all") & (pl.col("metric") == "tvd"))
    return dg.Output(
        scores,
        metadata={
            "available": not recorded_answers.is_empty(),
            "num_questions": scores["question_id"].n_unique(),
            **{f"tvd_{model}": value for model, value in means.select("model", "value").iter_rows()},
        },
    )


@dg.asset(
    **table_options("recorded_calibration", kinds=("torch",)),
    deps=["student_model"],
    description="Recorded LLMs and the student against the weighted survey, and the student against each LLM.",
)
def recorded_calibration(
    platform: Platform,
    registry: ModelRegistry,
    recorded_answers: pl.DataFrame,
    recorded_questions: pl.DataFrame,
    survey_respondents: pl.DataFrame,
    agents: pl.DataFrame,
) -> dg.Output[pl.DataFrame]:
    """Asks the student what the recorded models were asked, then compares both with the survey."""
    asked = agents.sort("agent_id")
    if agents.height > MAX_AGENTS:
        asked = asked.sample(MAX_AGENTS, seed=platform.recipe.seed).sort("agent_id")
    seed, uri = platform.recipe.seed, registry.resolve_uri(platform.settings)
    students = {}
    if not recorded_answers.is_empty():
        students = {
            "student": load_student(uri, texts=recorded_questions).model,
            "student_no_graph": load_student(uri, weights="no_graph", texts=recorded_questions).model,
        }
    said = student_answers(students, recorded_questions, asked, seed)
    scores = calibrate_recorded(recorded_answers, recorded_questions, survey_respondents, said, asked.height, seed)
    means = scores.filter(
        (pl.col("question_id") == "all") & (pl.col("metric") == "tvd") & (pl.col("reference") == "survey")
    )
    return dg.Output(
        scores,
        metadata={
            "available": not recorded_answers.is_empty(),
            **{f"tvd_{model}": value for model, value in means.select("model", "value").iter_rows()},
        },
    )


@dg.asset(
    **table_options("survey_calibration"),
    description="Simulated initial shares against the surveys, by segment, beside sampling error and baselines.",
)
def survey_calibration(
    platform: Platform,
    outcomes: pl.DataFrame,
    agents: pl.DataFrame,
    survey_respondents: pl.DataFrame,
    calibrated_respondents: pl.DataFrame,
    population_margins: pl.DataFrame,
    scenarios: pl.DataFrame,
) -> pl.DataFrame:
    """Compares timestep 0 with survey shares, and weights and agents with their margins."""
    return calibrate_on_surveys(
        outcomes,
        agents,
        survey_respondents,
        calibrated_respondents,
        population_margins,
        scenarios,
        platform.recipe.seed,
    )


@dg.asset(
    **table_options("benchmark_scores"),
    description="Published figures on population and households beside ours, with the tolerance declared beforehand.",
)
def benchmark_scores(agents: pl.DataFrame, ties: pl.DataFrame) -> pl.DataFrame:
    """Scores the population."""
    return score_benchmarks(agents, ties)


@dg.multi_asset(
    name="dynamic_calibration",
    outs={
        "dynamic_forecasts": table_output(
            "dynamic_forecasts", "Forecast shares of later waves, by model, beside what was measured."
        ),
        "dynamic_calibration": table_output(
            "dynamic_calibration",
            "Skill of the calibrated mechanisms on waves that no fit has seen, beside four baselines.",
            kinds=("torch",),
        ),
    },
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def dynamic_calibration(
    context: dg.AssetExecutionContext, platform: Platform, survey_respondents: pl.DataFrame
) -> Iterator[dg.Output[pl.DataFrame]]:
    """Starts at an earlier wave, simulates, compares with a later one; says which cases have no file at hand."""
    found = calibrate_dynamically(
        survey_respondents,
        open_catalogue(platform.settings),
        num_splits=1 if platform.recipe.name == "smoke" else 3,
        seed=platform.recipe.seed,
    )
    for case, reason in found.absent.items():
        context.log.warning(f"Case {case} is not calibrated: {reason}.")
    platform.records.write("dynamic_calibration", {"absent": found.absent, "sources": list(found.uses)})
    skills = found.scores.filter((pl.col("metric") == "skill") & (pl.col("slice") == "all"))
    mechanisms = skills.filter(pl.col("model").is_in(["momentum", "adoption"])).drop_nulls("value")
    metadata = {
        **{f"skill_{case}": value for case, value in mechanisms.select("case_id", "value").iter_rows()},
        "absent": dg.MetadataValue.json(found.absent),
    }
    yield dg.Output(found.forecasts, output_name="dynamic_forecasts", metadata={"absent": metadata["absent"]})
    yield dg.Output(found.scores, output_name="dynamic_calibration", metadata=metadata)


@dg.asset(
    **table_options("rectified_shares", kinds=("numpy",)),
    description="Shares corrected by a small survey, raw and corrected apart, with the coverage of their intervals.",
)
def rectified_shares(
    context: dg.AssetExecutionContext,
    platform: Platform,
    survey_respondents: pl.DataFrame,
    agents: pl.DataFrame,
    scenarios: pl.DataFrame,
    recorded_answers: pl.DataFrame,
    trajectories: pl.LazyFrame,
) -> dg.Output[pl.DataFrame]:
    """Corrects the student's answers of its donors, and recorded models' answers of the people they played."""
    answers = student_answers_at_rest(trajectories, agents, scenarios)
    shares = correct_shares(answers, recorded_answers, survey_respondents, platform.recipe.seed)
    if shares.is_empty():
        reason = "No item has 300 people with an answer and a prediction: make more agents or set POPULACE_DATA_MIRROR."
        context.log.warning(f"Nothing is rectified. {reason}")
        return dg.Output(shares, metadata={"is_available": False, "reason": reason})
    powered = shares.filter(pl.col("method") == "prediction_powered")
    coverage = powered.select(pl.col("coverage").mean()).item()
    return dg.Output(shares, metadata={"is_available": True, "coverage_prediction_powered": float(coverage or 0.0)})


@dg.asset(
    **table_options("behaviour_scores", kinds=("torch",)),
    deps=["student_model"],
    description="The student on interventions whose outcome was published, against ranges declared beforehand.",
)
def behaviour_scores(
    platform: Platform,
    registry: ModelRegistry,
    benchmark_scenarios: pl.DataFrame,
    agents: pl.DataFrame,
    ties: pl.DataFrame,
    media_sources: pl.DataFrame,
) -> dg.Output[pl.DataFrame]:
    """Simulates every benchmark scenario with and without its events."""
    if benchmark_scenarios.is_empty():
        empty = pl.DataFrame(schema=CONTRACTS["behaviour_scores"].polars_schema())
        return dg.Output(empty, metadata={"is_available": False, "reason": "there is no benchmark scenario"})
    uri, texts = registry.resolve_uri(platform.settings), benchmark_scenarios
    scores = score_behaviours(
        {
            "lsm": load_student(uri, texts=texts).model,
            "lsm_no_graph": load_student(uri, weights="no_graph", texts=texts).model,
        },
        benchmark_scenarios,
        agents,
        ties,
        media_sources,
        teacher=platform.settings.teacher_model or "embedded",
        seed=platform.recipe.seed,
    )
    ours = scores.filter(pl.col("model") == "lsm")
    within = ours.select((pl.col("verdict") == "within").sum()).item()
    return dg.Output(scores, metadata={"num_cases": ours.height, "num_within": within})


@dg.asset(
    **table_options("data_quality", kinds=("greatexpectations",)),
    deps=list(CHECKED_TABLES),
    description="Great Expectations over the tables of the lineage: results of every run so far, and Data Docs.",
)
def data_quality(context: dg.AssetExecutionContext, platform: Platform) -> dg.Output[pl.DataFrame]:
    """Runs every suite, builds Data Docs and adds the results to those of earlier runs."""
    store, site_dir = platform.store, platform.settings.data_docs_dir / "all"
    earlier = store.read("data_quality").drop("run_id") if store.exists("data_quality") else None
    results = check_quality(store.scan, earlier, site_dir, run_id=context.run_id, recorded_at=datetime.now(UTC))
    ours = results.filter(pl.col("recorded_run") == context.run_id)
    return dg.Output(
        results,
        metadata={
            "num_expectations": ours.height,
            "num_failed": ours.filter(~pl.col("has_passed")).height,
            "data_docs": dg.MetadataValue.url((site_dir / "index.html").as_uri()),
        },
    )


@dg.asset(
    **table_options("leaderboard"),
    description="Headline figures of every run so far, by case and model: what drift is seen in.",
)
def leaderboard(
    context: dg.AssetExecutionContext,
    platform: Platform,
    dynamic_calibration: pl.DataFrame,
    teacher_agreement: pl.DataFrame,
    survey_calibration: pl.DataFrame,
    rectified_shares: pl.DataFrame,
) -> dg.Output[pl.DataFrame]:
    """Adds this run's headline figures to those of earlier runs."""
    store = platform.store
    earlier = store.read("leaderboard").drop("run_id") if store.exists("leaderboard") else None
    run = RecordedRun(
        run_id=context.run_id,
        recorded_at=datetime.now(UTC),
        recipe=platform.recipe.name,
        teacher=platform.settings.teacher_model or "embedded",
        model_version=int(platform.records.read("student_model").get("version", 0)),
    )
    board = extend_leaderboard(
        earlier, run, dynamic_calibration, teacher_agreement, survey_calibration, rectified_shares
    )
    return dg.Output(board, metadata={"num_runs": board["recorded_run"].n_unique()})


@dg.asset(
    group_name="evidence",
    owners=OWNERS,
    kinds={"html", "altair"},
    code_version=code_digest("evidence")[:16],
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=list(STAGE_BY_ASSET["validation_report"].upstream),
    description="One self-contained page: what was simulated, on which data, how far to trust it, where it fails.",
)
def validation_report(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """Builds the page from queries over the stored tables and puts it beside those of earlier runs."""
    settings, store = platform.settings, platform.store
    report_context = read_context(settings, platform.recipe, context.run_id)
    with QuerySession(store) as session:
        page = build_report(session.answer, report_context)
    folder = settings.reports_dir / context.run_id
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "report.html"
    for target in (path, settings.reports_dir / "latest.html"):
        draft = target.with_suffix(".draft")
        draft.write_text(page, encoding="utf-8")
        draft.replace(target)
    losing = next((figure for figure in read_figures(page) if figure["section"] == "Where it fails"), None)
    note_run(
        folder,
        {
            "created": report_context.created,
            "recipe": platform.recipe.name,
            "teacher": report_context.teacher,
            "student": f"version {report_context.student.version}, {report_context.student.alias or 'no alias'}",
            "losing": f"{len(losing['rows'])} losing rows" if losing else "not counted",
            "failed_gates": ", ".join(report_context.student.failed_gates) or "none",
        },
    )
    index = write_index(settings.reports_dir)
    platform.records.write(
        "validation_report",
        {"fingerprint": platform.fingerprint("validation_report"), "run_id": context.run_id, "path": str(path)},
    )
    return dg.MaterializeResult(
        metadata={
            "report": dg.MetadataValue.url(path.as_uri()),
            "index_of_runs": dg.MetadataValue.url(index.as_uri()),
            "path": dg.MetadataValue.path(str(path)),
            "num_figures": len(read_figures(page)),
            "size_kb": len(page.encode()) // 1024,
            "teacher": report_context.teacher,
        }
    )
