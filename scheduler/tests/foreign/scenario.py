"""What a framework in Python does with a scheduler, and what a scheduler refuses.

    python scenario.py NAME --schema FILE --port PORT --certs DIRECTORY

Whatever is not as `scheduler/docs/protocol.md` says it ends this with a sentence and exit code 1.
"""

import argparse
import asyncio
import sys
from pathlib import Path

import weir

HOST = "127.0.0.1"
TRUST_DOMAIN = "weir.test"
# Everything here takes milliseconds; a scheduler that says nothing is noticed in any case.
PATIENCE_SECONDS = 120


class Wrong(Exception):
    """Something is not as it should be."""


def expect(what, expected, found):
    if expected != found:
        raise Wrong(f"{what}: expected {expected!r}, found {found!r}")


class World:
    """Where the scheduler is, and whose certificates there are."""

    def __init__(self, arguments):
        self.schema = weir.Schema(arguments.schema)
        self.port = arguments.port
        self.certs = arguments.certs

    def credentials(self, name, authorities="ca.pem"):
        """Returns what the framework `name` has; for `None`, no certificate."""
        if name is None:
            return weir.Credentials(TRUST_DOMAIN, self.certs / authorities)
        certificate = self.certs / f"framework-{name}.pem"
        key = self.certs / f"framework-{name}-key.pem"
        return weir.Credentials(TRUST_DOMAIN, self.certs / authorities, certificate, key)

    def connect(self, name):
        return weir.connect(self.schema, HOST, self.port, self.credentials(name))

    def subscribe(self, role, name):
        info = self.schema.FrameworkInfo(name=name, role=role, failover_timeout_ms=60_000)
        return self.schema.FrameworkCall.Subscribe(framework=info)


class Follower:
    """A framework that stores what it is told, acknowledges it, and waits for what it wants."""

    def __init__(self, framework):
        self.framework = framework
        self.schema = framework.schema
        self.offers = {}
        self.operations = {}
        self.states = {}
        self.updates = set()
        self.refusals = {}

    async def subscribe(self, subscribe):
        await self.framework.call(subscribe=subscribe)
        event = await self.framework.event()
        expect("the answer to SUBSCRIBE", "subscribed", event.WhichOneof("event"))
        return event.subscribed

    async def until(self, what, condition):
        """Reads events until the condition holds."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS / 3):
                while not condition():
                    await self.take(await self.framework.event())
        except TimeoutError:
            raise Wrong(f"{what} did not come; {self}") from None

    async def take(self, event):
        kind = event.WhichOneof("event")
        if kind == "offers":
            for offer in event.offers.offers:
                self.offers[offer.offer_id] = offer
        elif kind == "rescind":
            self.offers.pop(event.rescind.offer_id, None)
        elif kind == "operation":
            outcomes = self.operations.setdefault(event.operation.operation_id, [])
            outcomes.append(event.operation.WhichOneof("outcome"))
            if outcomes[-1] == "failed":
                self.refusals[event.operation.operation_id] = event.operation.failed
        elif kind == "update":
            status = event.update.status
            # What was not acknowledged in time comes again.
            if status.update_id not in self.updates:
                self.states.setdefault(status.task_id, []).append(status.state)
                if status.HasField("update_id"):
                    self.updates.add(status.update_id)
            await self.framework.acknowledge(status)
        elif kind == "error":
            self.refusals[event.error.call_id] = event.error.failure
        else:
            raise Wrong(f"nobody asked for {kind}: {event}")

    def __str__(self):
        return (
            f"offers {list(self.offers)}, operations {self.operations}, states {self.states}, "
            f"refusals {self.refusals}"
        )


def scalar(schema, name, thousandths, **more):
    return schema.Resource(name=name, scalar_thousandths=thousandths, **more)


async def launch(world):
    """Subscribes, gets an offer, reserves, creates a volume, launches on both, and acknowledges."""
    schema = world.schema
    async with world.connect("shop") as framework:
        expect("the version", 1, framework.welcome.protocol)
        expect("the name of the scheduler", "foreign", framework.welcome.scheduler_name)
        expect(
            "the bytes of a frame", weir.FRAME_BYTES_MAX, framework.welcome.limits.frame_bytes_max
        )
        follower = Follower(framework)
        subscribed = await follower.subscribe(world.subscribe("web", "shop in Python"))
        expect("the letters of a framework id", 26, len(subscribed.framework_id))

        await follower.until("an offer", lambda: follower.offers)
        offer = follower.offers.popitem()[1]
        expect("the name of the agent", "n1", offer.agent_name)
        expect("the kind of the offer", schema.OFFER_KIND_REGULAR, offer.kind)
        offered = {resource.name: resource for resource in offer.resources}
        expect("the cores that are offered", 4_000, offered["cpus"].scalar_thousandths)
        expect("the memory that is offered", 1_024_000, offered["mem"].scalar_thousandths)
        ports = [(range.first, range.last) for range in offered["ports"].ranges.ranges]
        expect("the ports that are offered", [(31_000, 31_099)], ports)

        reserved = {"dynamic_reservation": schema.DynamicReservation(role="web", principal="shop")}
        disk = scalar(schema, "disk", 100_000, **reserved)
        volume = scalar(schema, "disk", 100_000, **reserved)
        volume.volume.id = "data"
        volume.volume.container_path = "data"
        volume.volume.mode = schema.VOLUME_MODE_RW
        port = schema.Resource(name="ports")
        port.ranges.ranges.add(first=31_007, last=31_007)

        def task(task_id, *resources):
            return schema.TaskSpec(
                task_id=task_id,
                name=task_id,
                command=schema.Command(argv=schema.Argv(words=["./server"])),
                resources=[scalar(schema, "cpus", 500), scalar(schema, "mem", 64_000), *resources],
                network=schema.NETWORK_MODE_ISOLATED,
            )

        operations = [
            schema.Operation(operation_id="r1", reserve=schema.Reserve(resources=[disk])),
            schema.Operation(operation_id="c1", create=schema.CreateVolumes(volumes=[volume])),
            schema.Operation(
                operation_id="l1",
                launch=schema.Launch(tasks=[task("server.1", port, volume), task("batch.1")]),
            ),
        ]
        await framework.call(
            accept=schema.FrameworkCall.Accept(
                offer_ids=[offer.offer_id],
                operations=operations,
                filters=schema.Filters(refuse_ms=60_000),
            )
        )
        running = [schema.TASK_RUNNING]
        finished = [schema.TASK_RUNNING, schema.TASK_FINISHED]
        await follower.until(
            "every answer, a task that runs and one that has finished",
            lambda: follower.states == {"server.1": running, "batch.1": finished}
            and all(follower.operations.get(id, [""])[-1] == "finished" for id in ["r1", "c1", "l1"]),
        )
        expect("the answers to RESERVE", ["accepted", "finished"], follower.operations["r1"])
        expect("the answers to CREATE", ["accepted", "finished"], follower.operations["c1"])
        expect("the refusals", {}, follower.refusals)

    # The connection is gone, and the tasks stay: come back by id, and ask where they are.
    async with world.connect("shop") as framework:
        follower = Follower(framework)
        again = world.subscribe("web", "shop in Python")
        again.framework_id = subscribed.framework_id
        again.force = True
        expect(
            "the id after coming back",
            subscribed.framework_id,
            (await follower.subscribe(again)).framework_id,
        )
        task = schema.FrameworkCall.Reconcile.Task(task_id="server.1")
        await framework.call(reconcile=schema.FrameworkCall.Reconcile(tasks=[task]))
        await follower.until("an answer to RECONCILE", lambda: follower.states.get("server.1"))
        expect("where the task is", running, follower.states["server.1"])
        await framework.call(kill=schema.FrameworkCall.Kill(task_id="server.1"))
        await follower.until(
            "the end of the task", lambda: follower.states["server.1"][-1] == schema.TASK_KILLED
        )
        await framework.call(revive=schema.FrameworkCall.Revive())
        await follower.until(
            "an offer with the volume",
            lambda: any(
                resource.volume.id == "data"
                for offer in follower.offers.values()
                for resource in offer.resources
            ),
        )
        expect("the refusals", {}, follower.refusals)
        await framework.call(teardown=schema.FrameworkCall.Teardown())


async def another_offer(world):
    """Accepts and declines an offer that is another framework's: nothing happens to it."""
    schema = world.schema
    async with world.connect("shop") as own, world.connect("rival") as other:
        shop, rival = Follower(own), Follower(other)
        await shop.subscribe(world.subscribe("web", "shop"))
        await shop.until("an offer", lambda: shop.offers)
        offer = next(iter(shop.offers.values()))
        await rival.subscribe(world.subscribe("rivals", "rival"))

        command = schema.Command(shell="exit 0")
        stolen = schema.TaskSpec(
            task_id="stolen.1",
            name="stolen",
            command=command,
            resources=[scalar(schema, "cpus", 100)],
            network=schema.NETWORK_MODE_HOST,
        )
        steal = schema.Operation(operation_id="s1", launch=schema.Launch(tasks=[stolen]))
        accept = schema.FrameworkCall.Accept(offer_ids=[offer.offer_id], operations=[steal])
        call = await other.call(accept=accept)
        await rival.until(
            "the refusal of another's offer, of its operation and of its task",
            lambda: {call, "s1"} <= rival.refusals.keys() and "stolen.1" in rival.states,
        )
        expect("the code", schema.ERROR_CODE_INVALID_OFFERS, rival.refusals[call].code)
        expect("the operation's code", schema.ERROR_CODE_INVALID_OFFERS, rival.refusals["s1"].code)
        expect("the task", [schema.TASK_LOST], rival.states["stolen.1"])
        if not rival.refusals[call].remedy:
            raise Wrong("the refusal says what to do: it has no remedy")

        decline = schema.FrameworkCall.Decline(offer_ids=[offer.offer_id])
        call = await other.call(decline=decline)
        await rival.until("the refusal of a DECLINE", lambda: call in rival.refusals)
        expect("the code", schema.ERROR_CODE_INVALID_OFFERS, rival.refusals[call].code)

        # A message whose fields are wrong is refused as well, and the conversation goes on.
        call = await other.call(kill=schema.FrameworkCall.Kill(task_id=""))
        await rival.until("the refusal of an empty id", lambda: call in rival.refusals)
        expect("the code", schema.ERROR_CODE_INVALID_MESSAGE, rival.refusals[call].code)

        # It is the owner's still: an ACCEPT without operations is a DECLINE, and is not refused.
        accept = schema.FrameworkCall.Accept(
            offer_ids=[offer.offer_id], filters=schema.Filters(refuse_ms=60_000)
        )
        await own.call(accept=accept)
        await rival.until("the offer that its owner gave back", lambda: rival.offers)
        expect("the owner's refusals", {}, shop.refusals)
        await own.call(teardown=schema.FrameworkCall.Teardown())
        await other.call(teardown=schema.FrameworkCall.Teardown())


async def strangers(world):
    """Connects without what it takes: the code and the words say which check failed."""
    certificate_required, unknown_authority, revoked, no_alpn = 0x174, 0x130, 0x12C, 0x178
    # What aioquic calls a chain that it cannot follow.
    bad_certificate = 0x12A
    right = weir.ALPN
    for name, authorities, alpn, code in [
        (None, "ca.pem", right, certificate_required),
        ("stranger", "ca.pem", right, unknown_authority),
        ("revoked", "ca.pem", right, revoked),
        ("shop", "ca.pem", "h3", no_alpn),
        # This one is refused by this side: the scheduler is not of the authority that is believed.
        ("shop", "other-ca.pem", right, bad_certificate),
    ]:
        case = f"{name or 'nobody'} with {alpn}, who believes {authorities}"
        try:
            credentials = world.credentials(name, authorities)
            async with weir.open_stream(HOST, world.port, credentials, alpn) as stream:
                await stream.send(world.schema.Hello(protocol_min=1, protocol_max=1))
                answer = await stream.receive(world.schema.HelloAnswer)
        except weir.Disconnected as disconnected:
            expect(f"the code for {case}", hex(code), hex(disconnected.code or 0))
            print(f"{case}: {disconnected}")
        else:
            raise Wrong(f"{case}: expected a refusal, found {answer}")


async def nonsense(world):
    """Says what cannot be read: each ends the connection with the code for it."""
    schema = world.schema
    hello = schema.Hello(protocol_min=1, protocol_max=1, software="nonsense")
    greeting = weir.frame(hello.SerializeToString())
    garbage = 2
    for what, content in [
        ("a frame of one byte too many", (weir.FRAME_BYTES_MAX + 1).to_bytes(4, "big")),
        ("a frame of four thousand million bytes", b"\xff" * 4),
        ("a frame that is no protobuf", weir.frame(b"\xff" * 64)),
    ]:
        for place, before in [("first", b""), ("after the greeting", greeting)]:
            case = f"{what}, {place}"
            try:
                async with weir.open_stream(HOST, world.port, world.credentials("shop")) as stream:
                    await stream.send_bytes(before + content)
                    if before:
                        answer = await stream.receive(schema.HelloAnswer)
                        expect(f"the greeting before {case}", "welcome", answer.WhichOneof("answer"))
                    event = await stream.receive(schema.FrameworkEvent)
            except weir.Disconnected as disconnected:
                expect(f"the code for {case}", garbage, disconnected.code)
                print(f"{case}: {disconnected}")
            else:
                raise Wrong(f"{case}: expected the end of the connection, found {event}")

    # A greeting that makes sense, of a version that nobody speaks.
    async with weir.open_stream(HOST, world.port, world.credentials("shop")) as stream:
        await stream.send(schema.Hello(protocol_min=7, protocol_max=9, software="of the future"))
        answer = await stream.receive(schema.HelloAnswer)
        expect("the answer to a version of the future", "refused", answer.WhichOneof("answer"))
        expect("its code", schema.ERROR_CODE_PROTOCOL_VERSION, answer.refused.code)
        expect("what is spoken", (1, 1), (answer.refused.protocol_min, answer.refused.protocol_max))


SCENARIOS = {
    "launch": launch,
    "another-offer": another_offer,
    "strangers": strangers,
    "nonsense": nonsense,
}


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--schema", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--certs", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await SCENARIOS[arguments.scenario](World(arguments))
    except (Wrong, weir.Disconnected, weir.Refused) as error:
        sys.exit(f"{arguments.scenario}: {error}")
    except TimeoutError:
        sys.exit(f"{arguments.scenario}: not done after {PATIENCE_SECONDS} s")


if __name__ == "__main__":
    asyncio.run(main())
