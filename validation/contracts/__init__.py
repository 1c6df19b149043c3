"""One contract per table, checked before every write and again as a blocking asset check."""

from validation.contracts import distillation, evidence, population, simulation, society, traces, workforce
from validation.contracts.table import ContractError, TableContract

CONTRACTS: dict[str, TableContract] = {
    contract.name: contract
    for room in (population, society, traces, distillation, simulation, workforce, evidence)
    for contract in room.CONTRACTS
}

__all__ = ["CONTRACTS", "ContractError", "TableContract"]
