"""Weir's protocol in Python, for frameworks: what `scheduler/docs/protocol.md` says, and no more.

It needs aioquic and protobuf (see requirements.txt), and the schema as descriptors:

    protoc --include_imports --descriptor_set_out=weir.binpb -I scheduler/protocol/proto \
        scheduler/protocol/proto/weir/v1/*.proto

    schema = weir.Schema("weir.binpb")
    async with weir.connect(schema, "127.0.0.1", 5151, credentials) as framework:
        await framework.call(subscribe=schema.FrameworkCall.Subscribe(framework=...))
        event = await framework.event()
        print(event.WhichOneof("event"))

It may be copied and changed freely.
"""

import asyncio
import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aioquic.asyncio import QuicConnectionProtocol
from aioquic.asyncio.client import connect as quic_connect
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated
from aioquic.quic.packet import QuicProtocolVersion
from cryptography import x509
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

ALPN = "weir/1"
FRAME_BYTES_MAX = 1_048_576
IDLE_SECONDS = 6
# How often to give a sign of life, so that a dead scheduler is noticed when the idle time is over.
ALIVE_EVERY_SECONDS = 3


class Schema:
    """The messages and enum values of `weir.v1` as attributes: `schema.Hello`, `schema.TASK_RUNNING`."""

    def __init__(self, path):
        files = descriptor_pb2.FileDescriptorSet.FromString(Path(path).read_bytes())
        pool = descriptor_pool.DescriptorPool()
        for file in files.file:
            pool.Add(file)
        for file in files.file:
            found = pool.FindFileByName(file.name)
            for name, message in found.message_types_by_name.items():
                setattr(self, name, message_factory.GetMessageClass(message))
            for enum in found.enum_types_by_name.values():
                for value in enum.values:
                    setattr(self, value.name, value.number)


@dataclass(frozen=True)
class Credentials:
    """Who you are, and whom you believe. Without a certificate no scheduler takes you."""

    trust_domain: str
    authorities: Path
    certificate: Path | None = None
    key: Path | None = None


class Disconnected(Exception):
    """The connection has ended, by this side or by the other.

    `code` is 0x100 + a TLS alert if the handshake was refused, else a code of the table in protocol.md;
    `None` if the other side only finished the stream.
    """

    def __init__(self, code, reason):
        where = "the stream was finished" if code is None else f"closed with {code:#x}"
        super().__init__(f"{where}: {reason}")
        self.code = code
        self.reason = reason


class NotTheScheduler(Exception):
    """Whoever answered has a certificate that is valid, and somebody else's."""


class Refused(Exception):
    """The scheduler refuses the greeting; `answer` is its `Refused`."""

    def __init__(self, answer):
        super().__init__(f"{answer.reason}; {answer.remedy}")
        self.answer = answer


class _Protocol(QuicConnectionProtocol):
    """Remembers why the connection ended: aioquic's own exceptions do not say."""

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.terminated = None

    def quic_event_received(self, event):
        if isinstance(event, ConnectionTerminated):
            self.terminated = event
        super().quic_event_received(event)

    def disconnected(self):
        if self.terminated is None:
            return Disconnected(None, "")
        return Disconnected(self.terminated.error_code, self.terminated.reason_phrase)


class Stream:
    """Frames on the one stream of a connection: four bytes of length, the highest first, and a message."""

    def __init__(self, protocol, reader, writer):
        self._protocol = protocol
        self._reader = reader
        self._writer = writer

    async def send(self, message):
        await self.send_bytes(frame(message.SerializeToString()))

    async def send_bytes(self, content):
        """Sends bytes as they are. Nobody but a test needs this."""
        if self._protocol.terminated is not None:
            raise self._protocol.disconnected()
        self._writer.write(content)
        await self._writer.drain()

    async def receive(self, kind):
        try:
            (length,) = struct.unpack(">I", await self._reader.readexactly(4))
            if length > FRAME_BYTES_MAX:
                raise ValueError(f"a frame of {length} bytes; {FRAME_BYTES_MAX} is the most")
            return kind.FromString(await self._reader.readexactly(length))
        except asyncio.IncompleteReadError:
            # Refused certificates show here too: the handshake of TLS 1.3 ends before they are judged.
            raise self._protocol.disconnected() from None


class Framework:
    """The conversation of a framework, after the greeting."""

    def __init__(self, schema, stream, welcome):
        self.schema = schema
        self.stream = stream
        self.welcome = welcome
        self._calls = 0

    async def call(self, **call):
        """Sends a call by the name of its field, `call(decline=...)`, and returns its `call_id`."""
        self._calls += 1
        await self.stream.send(self.schema.FrameworkCall(call_id=self._calls, **call))
        return self._calls

    async def event(self):
        """Returns the next event that is not a heartbeat."""
        while True:
            event = await self.stream.receive(self.schema.FrameworkEvent)
            if event.WhichOneof("event") != "heartbeat":
                return event

    async def acknowledge(self, status):
        """Says that an update is stored. Those without an `update_id` want no answer."""
        if status.HasField("update_id"):
            await self.call(
                acknowledge=self.schema.FrameworkCall.Acknowledge(
                    agent_id=status.agent_id,
                    task_id=status.task_id,
                    update_id=status.update_id,
                )
            )


@asynccontextmanager
async def connect(schema, host, port, credentials, software="weir.py 1"):
    """Connects, greets, and gives the conversation."""
    async with open_stream(host, port, credentials) as stream:
        await stream.send(schema.Hello(protocol_min=1, protocol_max=1, software=software))
        answer = await stream.receive(schema.HelloAnswer)
        if answer.WhichOneof("answer") != "welcome":
            raise Refused(answer.refused)
        yield Framework(schema, stream, answer.welcome)


@asynccontextmanager
async def open_stream(host, port, credentials, alpn=ALPN):
    """Connects and opens the stream. Nothing is said yet, and the scheduler may still refuse you."""
    configuration = QuicConfiguration(
        is_client=True,
        alpn_protocols=[alpn],
        idle_timeout=IDLE_SECONDS,
        server_name=host,
        cafile=str(credentials.authorities),
        supported_versions=[QuicProtocolVersion.VERSION_1],
    )
    if credentials.certificate is not None:
        configuration.load_cert_chain(credentials.certificate, credentials.key)

    made = []

    def protocol(*arguments, **named):
        made.append(_Protocol(*arguments, **named))
        return made[-1]

    try:
        async with quic_connect(
            host, port, configuration=configuration, create_protocol=protocol
        ) as connection:
            check_scheduler(connection, credentials.trust_domain)
            stream = Stream(connection, *await connection.create_stream())
            alive = asyncio.create_task(_stay_alive(connection))
            try:
                yield stream
            finally:
                alive.cancel()
    except ConnectionError:
        # aioquic raises it empty; the event knows why.
        raise (made[-1].disconnected() if made else Disconnected(None, "no connection")) from None


def check_scheduler(connection, trust_domain):
    """Refuses whoever is not a scheduler of the trust domain: the chain and the host name say less."""
    # aioquic has no public way to the certificate that it has verified.
    certificate = connection._quic.tls._peer_certificate
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1 or not uris[0].startswith(f"spiffe://{trust_domain}/scheduler/"):
        connection.close()
        raise NotTheScheduler(f"{uris} is not a scheduler of {trust_domain}")


async def _stay_alive(connection):
    while True:
        await asyncio.sleep(ALIVE_EVERY_SECONDS)
        try:
            await connection.ping()
        except ConnectionError:
            # Whoever reads is told.
            return


def frame(content):
    """Returns the content of a message as a frame."""
    if len(content) > FRAME_BYTES_MAX:
        raise ValueError(f"a message of {len(content)} bytes; {FRAME_BYTES_MAX} is the most")
    return struct.pack(">I", len(content)) + content
