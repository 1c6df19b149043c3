"""Assets of the traces room: scenarios, the elicitation plan, teacher answers."""

import altair as alt
import dagster as dg
import polars as pl

from assets.sources.catalogue import open_catalogue
from assets.traces.asking import AskingOptions
from assets.traces.elicitation import run_elicitation
from assets.traces.embedded_teacher.held_out_fit import score_response_models
from assets.traces.encoders import TextEncoder, open_encoder
from assets.traces.endpoint_encoder import EndpointEncoder
from assets.traces.panel import choose_panel
from assets.traces.plan import plan_elicitation
from assets.traces.recorded_answers.as_traces import as_traces
from assets.traces.recorded_answers.codebook import find_recorded_codebooks
from assets.traces.recorded_answers.importing import import_recorded_answers
from assets.traces.recorded_answers.questions import recorded_questions_table
from assets.traces.scenario_files import read_scenarios
from assets.traces.scenario_table import scenarios_table
from assets.traces.teachers import EMBEDDED, TeacherEndpoint, open_teacher
from orchestration.resources import Platform
from orchestration.settings import Settings
from orchestration.table_assets import plot, table_options
from validation.report.charts import plot_png

POOL = "teacher"


def teacher_endpoint(settings: Settings) -> TeacherEndpoint:
    """The teacher that the settings choose; the embedded one when no address is set."""
    key = settings.openai_api_key
    return TeacherEndpoint(
        base_url=settings.teacher_base_url,
        model=settings.teacher_model,
        api_key=key.get_secret_value() if key else None,
    )


def asking_options(settings: Settings) -> AskingOptions:
    """How the settings want the teacher to be asked."""
    return AskingOptions(
        mode=settings.teacher_mode,
        budget_usd=settings.teacher_budget_usd,
        timeout_seconds=settings.teacher_timeout_seconds,
        most_in_flight=settings.teacher_max_in_flight,
        requests_per_minute=settings.teacher_requests_per_minute,
        tokens_per_minute=settings.teacher_tokens_per_minute,
        most_completion_tokens=settings.teacher_max_completion_tokens,
        poll_seconds=settings.teacher_poll_seconds,
    )


def text_encoder(settings: Settings) -> TextEncoder:
    """The text encoder that the settings choose; the local one when no embedding model is set."""
    key = settings.openai_api_key
    return open_encoder(
        settings.teacher_base_url,
        settings.embedding_model,
        key.get_secret_value() if key else None,
        settings.ledger_path,
        settings.teacher_budget_usd,
    )


def _encoding(encoder: TextEncoder) -> dict[str, str | int | float]:
    """Which encoder made a table's embeddings, and what it was sent."""
    named: dict[str, str | int | float] = {"text_encoder": encoder.name}
    if isinstance(encoder, EndpointEncoder):
        named |= {"num_texts_sent": encoder.num_asked, "num_texts_known": encoder.num_known}
        named |= {"num_embedding_tokens": encoder.num_tokens, "embedding_cost_usd": encoder.cost_usd}
    return named


@dg.asset(
    **table_options("scenarios"),
    description="Questions, events and triggers of every scenario file, with embedded texts.",
)
def scenarios(context: dg.AssetExecutionContext, platform: Platform) -> dg.Output[pl.DataFrame]:
    """Reads and checks the scenario folder."""
    read = read_scenarios(platform.settings.scenarios_dir)
    context.log.info(f"{len(read)} scenarios from {platform.settings.scenarios_dir}")
    encoder = text_encoder(platform.settings)
    table = scenarios_table(read, encoder)
    ids = dg.MetadataValue.json([item.id for item in read])
    return dg.Output(table, metadata={"scenarios": ids, **_encoding(encoder)})


@dg.asset(
    **table_options("benchmark_scenarios"),
    description="Scenarios whose outcome was published; nothing is elicited or trained on them.",
)
def benchmark_scenarios(context: dg.AssetExecutionContext, platform: Platform) -> dg.Output[pl.DataFrame]:
    """Reads and checks the folder `benchmarks` beside the scenario files; empty where there is none."""
    folder = platform.settings.scenarios_dir / "benchmarks"
    read = read_scenarios(folder) if folder.is_dir() else []
    if not read:
        context.log.warning(f"No behaviour benchmark is scored: {folder} holds no scenario file.")
    encoder = text_encoder(platform.settings)
    return dg.Output(scenarios_table(read, encoder), metadata={"num_scenarios": len(read), **_encoding(encoder)})


@dg.asset(
    **table_options("elicitation_plan"),
    description="Every request of the teacher rollout, with custom_id, expected tokens and cost, before any is sent.",
)
def elicitation_plan(
    context: dg.AssetExecutionContext,
    platform: Platform,
    survey_respondents: pl.DataFrame,
    scenarios: pl.DataFrame,
    agents: pl.DataFrame,
    ties: pl.DataFrame,
) -> dg.Output[pl.DataFrame]:
    """Chooses the panel and plans its requests."""
    recipe = platform.recipe
    teacher = open_teacher(teacher_endpoint(platform.settings), survey_respondents, scenarios)
    plan = plan_elicitation(
        scenarios,
        choose_panel(agents, ties, recipe.panel_size, recipe.seed).tolist(),
        teacher=teacher.label,
        model=teacher.model,
        max_timesteps=recipe.max_timesteps,
        repeat_share=recipe.repeat_share,
        num_draws=recipe.num_draws,
        seed=recipe.seed,
        is_batch=platform.settings.teacher_mode == "batch",
    )
    cost_usd = float(plan["estimated_cost_usd"].sum())
    fit = {}
    if teacher.label == EMBEDDED:
        scores = score_response_models(survey_respondents, scenarios["item"].drop_nulls().unique().to_list())
        fit = {"response_models_held_out": dg.MetadataValue.json(scores.to_dicts())}
    context.log.info(f"{plan.height:,} requests to {teacher.model}, expected cost {cost_usd:.2f} USD")
    return dg.Output(
        plan,
        metadata={
            "num_requests": plan.height,
            "estimated_cost_usd": cost_usd,
            "teacher": teacher.label,
            "model": teacher.model,
            **fit,
        },
    )


@dg.asset(
    **table_options("recorded_questions"),
    description="Questions that recorded answers answer: wording, options in order, scale, embeddings; from codebooks.",
)
def recorded_questions(platform: Platform) -> dg.Output[pl.DataFrame]:
    """Reads the codebooks of recorded answers."""
    encoder = text_encoder(platform.settings)
    table = recorded_questions_table(
        find_recorded_codebooks(platform.settings.data_dir, platform.settings.recorded_dir), encoder
    )
    return dg.Output(table, metadata=_encoding(encoder))


@dg.asset(
    **table_options("recorded_answers"),
    description="Answers that LLMs gave to survey items as personas of real respondents, beside these people's own.",
)
def recorded_answers(
    context: dg.AssetExecutionContext, platform: Platform, survey_respondents: pl.DataFrame
) -> dg.Output[pl.DataFrame]:
    """Imports every set of recorded answers whose files are at hand, and says which are not."""
    settings = platform.settings
    recorded = import_recorded_answers(
        find_recorded_codebooks(settings.data_dir, settings.recorded_dir), open_catalogue(settings), survey_respondents
    )
    for use in recorded.uses:
        context.log.info(f"{use['title']}: {use['num_answers']:,} answers, {use['num_left_out']:,} rows left out")
    for name, sources in recorded.absent.items():
        context.log.warning(
            f"Recorded answers {name} are not at hand: no file of {', '.join(sources)}. The table lacks them; set "
            "POPULACE_DATA_MIRROR to a folder that holds them (docs/data.md)."
        )
    answers = recorded.answers
    platform.records.write(
        "recorded_answers",
        {"available": not answers.is_empty(), "sources": list(recorded.uses), "absent": recorded.absent},
    )
    return dg.Output(
        answers,
        metadata={
            "available": not answers.is_empty(),
            "sources": dg.MetadataValue.json([dict(use) for use in recorded.uses]),
            "not_at_hand": dg.MetadataValue.json({name: list(found) for name, found in recorded.absent.items()}),
            "num_models": answers["model"].n_unique(),
            "num_failed": answers.filter(pl.col("validation_status") == "failed").height,
            "num_refusals": int(answers["is_refusal"].sum()),
            "num_with_human_answer": answers["human_option"].count(),
        },
    )


@dg.asset(
    **table_options("reasoning_traces", kinds=("openai",), pool=POOL),
    description="What the teacher answered for every agent of the panel at every timestep, then recorded answers; "
    "failures and refusals stay.",
)
def reasoning_traces(
    context: dg.AssetExecutionContext,
    platform: Platform,
    elicitation_plan: pl.DataFrame,
    survey_respondents: pl.DataFrame,
    scenarios: pl.DataFrame,
    agents: pl.DataFrame,
    ties: pl.DataFrame,
    media_sources: pl.DataFrame,
    recorded_answers: pl.DataFrame,
) -> dg.Output[pl.DataFrame]:
    """Carries out the plan through the ledger, so that nothing is paid for twice; appends the recorded answers."""
    settings = platform.settings
    teacher = open_teacher(teacher_endpoint(settings), survey_respondents, scenarios)
    elicitation = run_elicitation(
        elicitation_plan,
        scenarios,
        agents,
        ties,
        media_sources,
        teacher=teacher,
        ledger_path=settings.ledger_path,
        options=asking_options(settings),
        seed=platform.recipe.seed,
        progress=context.log.info,
    )
    stances = elicitation.traces.filter((pl.col("draw") == 0) & pl.col("private_stance").is_not_null())
    chart = (
        alt.Chart(
            stances.group_by("scenario_id", "timestep").agg(pl.col("private_stance").mean()).to_pandas(),
            title="mean private stance of the panel",
        )
        .mark_line(point=True)
        .encode(x="timestep:Q", y="private_stance:Q", color="scenario_id:N")
        .properties(width=520, height=260)
    )
    failed = elicitation.traces.filter(pl.col("validation_status") == "failed").height
    return dg.Output(
        pl.concat([elicitation.traces, as_traces(recorded_answers)]),
        metadata={
            "num_recorded": recorded_answers.height,
            "teacher": teacher.label,
            "model": teacher.model,
            "num_asked": elicitation.num_asked,
            "num_from_ledger": elicitation.num_known,
            "num_failed": failed,
            "cost_usd": elicitation.cost_usd,
            "plot": plot(plot_png(chart.to_dict())),
        },
    )
