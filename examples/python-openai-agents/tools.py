"""A refund that an agent may make: small ones at once, large ones when a human approved."""

from agents import Agent, function_tool

from holdpoint import HoldpointError, NotApproved, require_approval_async

#: Up to here nobody is asked.
UNASKED_USD = 100


def send_refund(customer: str, amount_usd: int) -> None:
    """Where the money would leave."""


@function_tool
async def refund(customer: str, amount_usd: int) -> str:
    """Refunds a customer.

    Args:
        customer: The customer's id.
        amount_usd: Whole dollars, more than nothing.
    """
    if amount_usd <= 0:
        return "NOT executed: the amount must be more than nothing."
    if amount_usd > UNASKED_USD:
        try:
            await require_approval_async("refund", {"customer": customer, "amount_usd": amount_usd})
        except NotApproved as refusal:
            return f"NOT executed: {refusal}. Do not try again; tell the user."
        except HoldpointError:
            # Not the error's words: they are for operators.
            return "NOT executed: approval could not be asked for. Try again later."
    send_refund(customer, amount_usd)
    return f"Refunded {amount_usd} USD to {customer}."


support = Agent(name="support", instructions="Help customers. Refund what is due.", tools=[refund])
