"""
The daemon, asked by OpenAI's own client: ``llm-pool serve &``, then ``python examples/openai_client.py``.

``OPENAI_BASE_URL`` says where the daemon is, if not at its usual address.
"""

import os

from openai import OpenAI

with OpenAI(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:7071/v1"), api_key="not needed on loopback"
) as client:
    chat = client.chat.completions.create(
        model="pool/voting", messages=[{"role": "user", "content": "What colour is the sky?"}]
    )
    print(chat.choices[0].message.content)
