"""Checks of the distillation room: contracts, and whether the student earns its place."""

import dagster as dg

from orchestration.resources import Platform
from orchestration.table_assets import contract_check

held_out_predictions_contract = contract_check("held_out_predictions")
simulated_shares_contract = contract_check("simulated_shares")
ablations_contract = contract_check("ablations")
unseen_scenarios_contract = contract_check("unseen_scenarios")
recorded_readout_contract = contract_check("recorded_readout")
axis_probes_contract = contract_check("axis_probes")


@dg.asset_check(
    asset="student_model",
    description="Every required gate of the student holds; otherwise it stays a candidate.",
)
def student_passes_its_gates(platform: Platform) -> dg.AssetCheckResult:
    """Warns when the newest student is no champion, with the gate table."""
    record = platform.records.read("student_model")
    lines = ["| gate | student | baseline or limit | difference | verdict |", "|---|---|---|---|---|"]
    for gate in record["gates"]:
        lines.append(
            f"| {gate['name']} | {gate['student_value']:.4f} | {gate['baseline_value']:.4f} | "
            f"{gate['difference']:+.4f} ({gate['lower']:+.4f} … {gate['upper']:+.4f}) | {gate['verdict']} |"
        )
    return dg.AssetCheckResult(
        passed=bool(record["is_champion"]),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"gates": dg.MetadataValue.md("\n".join(lines)), "verdict": record["verdict"]},
    )
