"""A CRI client on grpc's Python implementation, from belay's own cri.proto.

Another implementation of gRPC and protobuf than the daemon's, so that both sides cannot share a
misunderstanding. Messages are those protoc generates; methods are found in the descriptors.
"""
import functools
import importlib
import pathlib
import subprocess
import sys
import tempfile
import time

import grpc

TREE = pathlib.Path(__file__).resolve().parents[2]
MAX_MESSAGE = 16 * 1024 * 1024


@functools.cache
def messages():
    """The generated module of cri.proto, made once per run."""
    folder = tempfile.mkdtemp(prefix="belay-proto-")
    subprocess.run(
        ["protoc", f"-I{TREE / 'criapi'}", f"--python_out={folder}", "cri.proto"], check=True
    )
    sys.path.insert(0, folder)
    try:
        return importlib.import_module("cri_pb2")
    finally:
        sys.path.remove(folder)


class Service:
    """One gRPC service: every method is an attribute, called with the fields of its request."""

    def __init__(self, channel, descriptor, timeout):
        self.timeout = timeout
        for method in descriptor.methods:
            setattr(self, method.name, self._method(channel, descriptor, method))

    def _method(self, channel, service, method):
        pb = messages()
        request = getattr(pb, method.input_type.name)
        reply = getattr(pb, method.output_type.name)
        kind = channel.unary_stream if method.server_streaming else channel.unary_unary
        stub = kind(
            f"/{service.full_name}/{method.name}",
            request_serializer=request.SerializeToString,
            response_deserializer=reply.FromString,
        )

        # `deadline`, in seconds, is the call's own: requests have fields named timeout.
        def call(message=None, deadline=self.timeout, **fields):
            return stub(message or request(**fields), timeout=deadline)

        call.future = lambda message=None, deadline=self.timeout, **fields: stub.future(
            message or request(**fields), timeout=deadline
        )
        return call


class Cri:
    """Both CRI services of one endpoint. An eager client gives up a connection that is not answered at
    once and tries another; one that is not waits as gRPC's clients do by default."""

    def __init__(self, endpoint, timeout=60, eager=True):
        self.endpoint = endpoint
        eagerness = [
            ("grpc.max_reconnect_backoff_ms", 200),
            ("grpc.initial_reconnect_backoff_ms", 20),
            ("grpc.min_reconnect_backoff_ms", 20),
        ]
        pb = messages()
        self.channel = grpc.insecure_channel(
            endpoint,
            options=[
                ("grpc.max_receive_message_length", MAX_MESSAGE),
                ("grpc.default_authority", "localhost"),
                ("grpc.use_local_subchannel_pool", 1),
                *(eagerness if eager else []),
            ],
        )
        services = pb.DESCRIPTOR.services_by_name
        self.runtime = Service(self.channel, services["RuntimeService"], timeout)
        self.image = Service(self.channel, services["ImageService"], timeout)

    def close(self):
        self.channel.close()

    def wait_until_serving(self, seconds=20):
        """Returns once Version is answered; the last error when the time is over."""
        end = time.monotonic() + seconds
        while True:
            try:
                return self.runtime.Version(deadline=2)
            except grpc.RpcError as error:
                if time.monotonic() > end:
                    raise error
                # Blocks until the connection's state changes, or briefly.
                try:
                    grpc.channel_ready_future(self.channel).result(timeout=0.2)
                except grpc.FutureTimeoutError:
                    pass
