"""dspy: signatures, an adapter of JSON, and a ReAct agent."""

import asyncio

import cells
from cells import cell, raised
from pydantic import BaseModel

# configured: begin
import dspy

model = dspy.LM("openai/pool", api_base="http://127.0.0.1:7071/v1", api_key="none")
dspy.configure(lm=model)
# configured: end


class City(BaseModel):
    name: str
    people: int


@cell
def plain():
    return {"text": dspy.Predict("question -> answer")(question=cells.SKY).answer}
