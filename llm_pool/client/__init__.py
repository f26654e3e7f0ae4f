"""
A client of the daemon, over HTTP or gRPC: the same questions, answers and errors as in process.

::

    with Client("http://127.0.0.1:7071") as pool:
        print(pool.infer("Is 17 prime?").content)

``AsyncClient`` is the same with ``await``. An address that begins with ``grpc`` is asked over gRPC. Errors are those
of ``llm_pool.errors``, as the server raised them; ``Unreachable`` says that nobody listens.
"""

from llm_pool.client.asking import AsyncClient
from llm_pool.client.blocking import Client
from llm_pool.client.credentials import Credentials, HmacKey, Tls, Token
from llm_pool.client.request import Health

__all__ = ["AsyncClient", "Client", "Credentials", "Health", "HmacKey", "Tls", "Token"]
