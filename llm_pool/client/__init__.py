"""
A client of the daemon, over HTTP or gRPC: the same questions, answers and errors as in process.

::

    with Client("http://127.0.0.1:7071") as pool:
        print(pool.infer("Is 17 prime?").content)

``AsyncClient`` is the same with ``await``. An address that begins with ``grpc`` is asked over gRPC. Errors are those
of ``llm_pool.core.errors``, as the server raised them; ``Unreachable`` says that nobody listens.
"""

from llm_pool.client.async_client import AsyncClient
from llm_pool.client.credentials import Credentials, HmacKey, Tls, Token
from llm_pool.client.sync_client import Client
from llm_pool.client.transport import Health

__all__ = ["AsyncClient", "Client", "Credentials", "Health", "HmacKey", "Tls", "Token"]
