"""The use cases: the order of steps, and nothing else.

Nothing leaves before it is recorded; nothing becomes visible before it is redeemed; an outage is never a yes.
"""
