"""Payouts in three nodes: plan, ask a human, pay."""

import sys
from typing import Literal, TypedDict

from langgraph.graph import END, START, StateGraph

from holdpoint import NotApproved, require_approval


class State(TypedDict, total=False):
    """What the nodes pass on."""

    wanted: dict[str, int]
    payouts: dict[str, int]
    approval: str
    refusal: str
    paid: list[str]


def plan(state: State) -> State:
    """Where a model may have its say: whatever it plans, a human sees it."""
    payouts = {who: usd for who, usd in state["wanted"].items() if usd > 0}
    print(f"planned: {sum(payouts.values())} USD to {', '.join(payouts)}")
    return {"payouts": payouts}


def ask(state: State) -> State:
    """Waits for a human. Any other trouble is an exception and ends the graph."""
    try:
        approval = require_approval("payouts", state["payouts"])
    except NotApproved as refusal:
        return {"refusal": refusal.reason or str(refusal)}
    return {"approval": approval.id}


def approved(state: State) -> Literal["pay", "__end__"]:
    """Which way it goes on."""
    return "pay" if state.get("approval") else "__end__"


def pay(state: State) -> State:
    """Where the money would leave. Only the edge from an approval leads here."""
    for who, usd in state["payouts"].items():
        print(f"paid {who} {usd} USD")
    return {"paid": list(state["payouts"])}


builder = StateGraph(State)
builder.add_node("plan", plan)
builder.add_node("ask", ask)
builder.add_node("pay", pay)
builder.add_edge(START, "plan")
builder.add_edge("plan", "ask")
builder.add_conditional_edges("ask", approved)
builder.add_edge("pay", END)
graph = builder.compile()

if __name__ == "__main__":
    wanted = dict(argument.split("=", 1) for argument in sys.argv[1:])
    end = graph.invoke({"wanted": {who: int(usd) for who, usd in wanted.items()}})
    if "refusal" in end:
        print(f"not paid: {end['refusal']}")
