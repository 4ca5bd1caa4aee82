# SPDX-License-Identifier: Apache-2.0
"""gRPC through a listener of protocol HTTP: cleartext HTTP/2 from the client to the member."""

from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest
from msgspec.structs import replace

from colonnade.domain.vocabulary import MonitorType, PoolProtocol
from tests.haproxy_traffic import VIP, Traffic, free_port, until
from tests.haproxy_trees import cluster, ident, listener, member, monitor, pool, tree

if TYPE_CHECKING:  # at run time these classes take no types
    Ask = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
    Talk = grpc.aio.StreamStreamMultiCallable[bytes, bytes]
    Method = grpc.RpcMethodHandler[bytes, bytes]
    Context = grpc.aio.ServicerContext[bytes, bytes]
ASK, TALK = "/test.Echo/Ask", "/test.Echo/Talk"


class _Echo(grpc.GenericRpcHandler):
    """Two methods on bytes: one answer with a trailer, and one stream each way."""

    def service(self, call: grpc.HandlerCallDetails) -> "Method | None":
        if call.method == ASK:
            return grpc.unary_unary_rpc_method_handler(self._ask)
        return grpc.stream_stream_rpc_method_handler(self._talk)

    async def _ask(self, asked: bytes, context: "Context") -> bytes:
        context.set_trailing_metadata((("told", "yes"),))
        return b"heard " + asked

    async def _talk(self, asked, _context):  # type: ignore[no-untyped-def]
        async for one in asked:
            yield b"heard " + one


@pytest.mark.parametrize("kind", [None, MonitorType.TCP])
async def test_calls_and_streams_pass_to_members_that_speak_http2(kind: MonitorType | None) -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_Echo(),))
    theirs, port = server.add_insecure_port(f"{VIP}:0"), free_port()
    await server.start()
    behind = pool(
        protocol=PoolProtocol.HTTP,
        http2=True,
        members=(replace(member(1, VIP), protocol_port=theirs),),
        health_monitor=monitor(kind, delay=1, timeout=1) if kind is not None else None,
    )
    front = listener(100, protocol_port=port)
    async with Traffic() as traffic:
        await traffic.serve(cluster(tree((front,), (behind,), vip=VIP)))

        async def up() -> bool:
            state = (await traffic.states(behind.id))[ident(1)]
            return state == ("no check" if kind is None else "UP")

        await until(up)
        async with grpc.aio.insecure_channel(f"{VIP}:{port}") as channel:
            ask: Ask = channel.unary_unary(ASK)
            asking = ask(b"one")
            assert await asking == b"heard one"
            assert ("told", "yes") in list(await asking.trailing_metadata())
            talk: Talk = channel.stream_stream(TALK)
            talking = talk()
            for number in range(3):
                await talking.write(b"%d" % number)
                assert await talking.read() == b"heard %d" % number
            await talking.done_writing()
        plain = tree((front,), (pool(members=behind.members),), vip=VIP)
        await traffic.serve(cluster(plain))
        async with grpc.aio.insecure_channel(f"{VIP}:{port}") as channel:
            ask = channel.unary_unary(ASK)
            with pytest.raises(grpc.aio.AioRpcError):
                await ask(b"one", timeout=5)
    await server.stop(None)
