//! A packet that has a time to leave at leaves at it: what shaping by earliest departure time leans on.

use std::io::{IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::process::Command;
use std::time::Duration;

use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::sockopt::{ReceiveTimestampns, SndBufForce, TxTime};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt,
};
use nix::time::{ClockId, clock_gettime};

use crate::{is_clock_counted, percentile};

/// How many packets are sent.
const PACKETS: u32 = 400;

/// How far apart: 1,250 bytes each are 10 Mbit/s.
const GAP: Duration = Duration::from_millis(1);
const SIZE: usize = 1250;

/// Room for all of them, with what the kernel needs for each.
const SEND_BUFFER: usize = 4 << 20;

/// Until the first leaves: by then all have been handed to the kernel.
const AHEAD: Duration = Duration::from_secs(2);

/// How late all packets but one in a hundred may be. Measured are 40 µs: some 5,000 instructions from `fq` through the
/// loopback device to where the time is taken.
const LATE_MAX: Duration = Duration::from_micros(60);

/// By how much they may differ in that: what a shaper's gaps are told from. Measured are 8 µs. One packet in hundreds is
/// milliseconds late, when the guest's kernel has something else to do.
const JITTER_MAX: Duration = Duration::from_micros(30);

fn run(words: &str) {
    let mut all = words.split_whitespace();
    let output = Command::new(all.next().unwrap())
        .args(all)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}: {said}");
}

fn now(clock: ClockId) -> i64 {
    let time = clock_gettime(clock).unwrap();
    time.tv_sec() * 1_000_000_000 + time.tv_nsec()
}

fn nanoseconds(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap()
}

/// Sends a packet that leaves at a time of the monotonic clock.
fn send_at(socket: &UdpSocket, time: i64, content: &[u8]) {
    let time = u64::try_from(time).unwrap();
    let sent = sendmsg::<SockaddrIn>(
        socket.as_raw_fd(),
        &[IoSlice::new(content)],
        &[ControlMessage::TxTime(&time)],
        MsgFlags::empty(),
        None,
    );
    assert_eq!(sent.unwrap(), content.len());
}

/// Receives a packet, and returns its number and when the kernel saw it, by the clock of the day.
fn receive(socket: &UdpSocket) -> (u32, i64) {
    let mut content = [0; SIZE];
    let mut parts = [IoSliceMut::new(&mut content)];
    let mut space = nix::cmsg_space!(nix::sys::time::TimeSpec);
    let message = recvmsg::<()>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut space),
        MsgFlags::empty(),
    )
    .unwrap();
    let seen = message
        .cmsgs()
        .unwrap()
        .find_map(|control| {
            if let ControlMessageOwned::ScmTimestampns(time) = control {
                return Some(time.tv_sec() * 1_000_000_000 + time.tv_nsec());
            }
            None
        })
        .unwrap();
    let number = u32::from_be_bytes(content[..4].try_into().unwrap());
    (number, seen)
}

#[test]
fn a_packet_leaves_fq_at_its_time() {
    if !is_clock_counted("a_packet_leaves_fq_at_its_time") {
        return;
    }
    // Of this thread alone, and of what it starts.
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    run("ip link set lo up");
    // Room for all of them at once: by default a flow has a hundred.
    run("tc qdisc add dev lo root fq flow_limit 1000");
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    setsockopt(&receiver, ReceiveTimestampns, &true).unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.connect(receiver.local_addr().unwrap()).unwrap();
    let clock = libc::sock_txtime {
        clockid: libc::CLOCK_MONOTONIC,
        flags: 0,
    };
    setsockopt(&sender, TxTime, &clock).unwrap();
    // What waits to leave counts as unsent.
    setsockopt(&sender, SndBufForce, &SEND_BUFFER).unwrap();

    // Nobody sets the clock of a guest while it runs.
    let between = now(ClockId::CLOCK_REALTIME) - now(ClockId::CLOCK_MONOTONIC);
    let first = now(ClockId::CLOCK_MONOTONIC) + nanoseconds(AHEAD);
    let departure = |number: u32| first + i64::from(number) * nanoseconds(GAP);
    let mut content = [0; SIZE];
    for number in 0..PACKETS {
        content[..4].copy_from_slice(&number.to_be_bytes());
        send_at(&sender, departure(number), &content);
    }
    assert!(
        now(ClockId::CLOCK_MONOTONIC) < first,
        "handing over took too long"
    );
    let mut late: Vec<i64> = (0..PACKETS)
        .map(|expected| {
            let (number, seen) = receive(&receiver);
            assert_eq!(number, expected, "they leave in order");
            seen - between - departure(number)
        })
        .collect();
    late.sort_unstable();
    let (soonest, middle) = (late[0], percentile(&late, 50));
    let (slow, worst) = (percentile(&late, 99), percentile(&late, 100));
    eprintln!(
        "packets are late by {soonest} ns at least, {middle} ns in the middle, {slow} ns but for one in a hundred, {worst} ns at most"
    );
    // The two clocks are not read in the same moment.
    assert!(
        soonest > -nanoseconds(Duration::from_micros(10)),
        "{late:?}"
    );
    assert!(slow <= nanoseconds(LATE_MAX), "{late:?}");
    assert!(slow - soonest <= nanoseconds(JITTER_MAX), "{late:?}");
}
