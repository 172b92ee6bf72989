//! Seccomp: system calls that a task is refused, because namespaces and capabilities do not cover them.
//!
//! What is refused, and why:
//!
//! - user namespaces (`unshare`, `clone`): in one of its own a task has every capability and may mount. `clone3` passes
//!   its flags where a filter cannot look and is unknown to the task; the C library then uses `clone`.
//! - keyrings (`keyctl`, `add_key`, `request_key`): they are the user's on the whole node, not the container's.
//! - `bpf`: the kernel allows some programs to anyone, unless it is set up not to.
//! - `AF_VSOCK` sockets: they lead out of a virtual machine past every network namespace. (A 32-bit program reaches them
//!   through `socketcall`, where a filter cannot look.)
//! - `io_uring_setup`: what a ring carries out is no system call, so a filter does not see it: a ring opens an `AF_VSOCK`
//!   socket all the same. Programs that like rings know how to do without.
//!
//! Everything else is allowed: this is no list of what is harmless. A call that is always allowed costs nothing from
//! Linux 5.11 on, where the kernel remembers that.

use std::io;

use nix::errno::Errno;

// `linux/audit.h`.
#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xC000_003E;
#[cfg(target_arch = "x86_64")]
const COMPATIBLE: u32 = 0x4000_0003;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xC000_00B7;
#[cfg(target_arch = "aarch64")]
const COMPATIBLE: u32 = 0x4000_0028;

// `struct seccomp_data` in `linux/seccomp.h`; the low half of an argument comes first on both machines.
const NUMBER_OFFSET: u32 = 0;
const MACHINE_OFFSET: u32 = 4;
const FIRST_ARGUMENT_OFFSET: u32 = 16;

/// Numbers from here on are those of the x32 ABI (`__X32_SYSCALL_BIT`); no other ABI comes near.
const X32_NUMBERS: u32 = 0x4000_0000;

/// The numbers of the refused calls in one ABI.
struct Numbers {
    unshare: u32,
    clone: u32,
    clone3: u32,
    socket: u32,
    bpf: u32,
    rings: u32,
    keys: [u32; 3],
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "system call numbers are small"
)]
const NATIVE_NUMBERS: Numbers = Numbers {
    unshare: libc::SYS_unshare as u32,
    clone: libc::SYS_clone as u32,
    clone3: libc::SYS_clone3 as u32,
    socket: libc::SYS_socket as u32,
    bpf: libc::SYS_bpf as u32,
    rings: libc::SYS_io_uring_setup as u32,
    keys: [
        libc::SYS_keyctl as u32,
        libc::SYS_add_key as u32,
        libc::SYS_request_key as u32,
    ],
};

// `asm/unistd_32.h`.
#[cfg(target_arch = "x86_64")]
const COMPATIBLE_NUMBERS: Numbers = Numbers {
    unshare: 310,
    clone: 120,
    clone3: 435,
    socket: 359,
    bpf: 357,
    rings: 425,
    keys: [288, 286, 287],
};
#[cfg(target_arch = "aarch64")]
const COMPATIBLE_NUMBERS: Numbers = Numbers {
    unshare: 337,
    clone: 120,
    clone3: 435,
    socket: 281,
    bpf: 386,
    rings: 425,
    keys: [311, 309, 310],
};

/// Which of the refusals do not apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exceptions {
    /// The task may use `bpf`, as far as its capabilities let it.
    pub bpf: bool,
}

/// Refuses the calls to this process and all that it will ever make or execute. There is no way back.
///
/// The process must have given up gaining privileges before.
pub fn refuse_uncovered(exceptions: Exceptions) -> Result<(), SeccompError> {
    let program = program(exceptions);
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).expect("the program has a few dozen instructions"),
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel copies the program, which lives across the call, and checks every instruction of it.
    let result = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const filter,
        )
    };
    match Errno::result(result) {
        Ok(_) => Ok(()),
        Err(errno) => Err(SeccompError {
            source: errno.into(),
        }),
    }
}

/// Returns the filter, in the kernel's classic instructions.
fn program(exceptions: Exceptions) -> Vec<libc::sock_filter> {
    let native = section(&NATIVE_NUMBERS, exceptions);
    let compatible = section(&COMPATIBLE_NUMBERS, exceptions);
    let mut program = vec![load(MACHINE_OFFSET)];
    for (machine, section) in [(NATIVE, native), (COMPATIBLE, compatible)] {
        let length = u8::try_from(section.len()).expect("a section has a few dozen instructions");
        program.push(jump(libc::BPF_JEQ, machine, 0, length));
        program.extend(section);
    }
    // A machine that this one does not have.
    program.push(answer(libc::SECCOMP_RET_KILL_PROCESS));
    program
}

fn section(numbers: &Numbers, exceptions: Exceptions) -> Vec<libc::sock_filter> {
    let mut section = vec![
        load(NUMBER_OFFSET),
        jump(libc::BPF_JGE, X32_NUMBERS, 0, 1),
        refuse(libc::ENOSYS),
    ];
    for number in [numbers.unshare, numbers.clone] {
        section.extend(refuse_argument(
            number,
            libc::BPF_JSET,
            libc::CLONE_NEWUSER.cast_unsigned(),
            libc::EPERM,
        ));
    }
    section.extend(refuse_argument(
        numbers.socket,
        libc::BPF_JEQ,
        libc::AF_VSOCK.cast_unsigned(),
        libc::EAFNOSUPPORT,
    ));
    section.extend([
        jump(libc::BPF_JEQ, numbers.clone3, 0, 1),
        refuse(libc::ENOSYS),
    ]);
    section.extend([
        jump(libc::BPF_JEQ, numbers.rings, 0, 1),
        refuse(libc::EPERM),
    ]);
    for number in numbers.keys {
        section.extend([jump(libc::BPF_JEQ, number, 0, 1), refuse(libc::EPERM)]);
    }
    if !exceptions.bpf {
        section.extend([jump(libc::BPF_JEQ, numbers.bpf, 0, 1), refuse(libc::EPERM)]);
    }
    section.push(answer(libc::SECCOMP_RET_ALLOW));
    section
}

/// Refuses one call where its first argument passes a test, and allows it otherwise.
fn refuse_argument(number: u32, test: u32, value: u32, errno: i32) -> [libc::sock_filter; 5] {
    [
        jump(libc::BPF_JEQ, number, 0, 4),
        load(FIRST_ARGUMENT_OFFSET),
        jump(test, value, 0, 1),
        refuse(errno),
        answer(libc::SECCOMP_RET_ALLOW),
    ]
}

fn load(offset: u32) -> libc::sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset)
}

fn jump(test: u32, value: u32, when_true: u8, when_false: u8) -> libc::sock_filter {
    instruction(
        libc::BPF_JMP | test | libc::BPF_K,
        when_true,
        when_false,
        value,
    )
}

fn refuse(errno: i32) -> libc::sock_filter {
    answer(libc::SECCOMP_RET_ERRNO | errno.cast_unsigned())
}

fn answer(action: u32) -> libc::sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, action)
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: u16::try_from(code).expect("operation codes have 16 bits"),
        jt,
        jf,
        k,
    }
}

/// Why the calls are not refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot install a seccomp filter: is the kernel built with CONFIG_SECCOMP_FILTER?")]
pub struct SeccompError {
    source: io::Error,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the filter as the kernel does.
    fn verdict(exceptions: Exceptions, machine: u32, number: u32, argument: u32) -> u32 {
        let program = program(exceptions);
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let libc::sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let code = u32::from(code);
            let taken = match code & 0xF7 {
                code if code == libc::BPF_JMP | libc::BPF_JEQ => accumulator == k,
                code if code == libc::BPF_JMP | libc::BPF_JGE => accumulator >= k,
                code if code == libc::BPF_JMP | libc::BPF_JSET => accumulator & k != 0,
                code if code == libc::BPF_RET => return k,
                _load => {
                    accumulator = match k {
                        NUMBER_OFFSET => number,
                        MACHINE_OFFSET => machine,
                        FIRST_ARGUMENT_OFFSET => argument,
                        other => panic!("loads offset {other}"),
                    };
                    continue;
                }
            };
            at += usize::from(if taken { jt } else { jf });
        }
    }

    fn refused(errno: i32) -> u32 {
        libc::SECCOMP_RET_ERRNO | errno.cast_unsigned()
    }

    const NEW_USER: u32 = libc::CLONE_NEWUSER.cast_unsigned();
    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;

    #[test]
    fn exactly_the_documented_calls_are_refused() {
        for (machine, numbers) in [(NATIVE, &NATIVE_NUMBERS), (COMPATIBLE, &COMPATIBLE_NUMBERS)] {
            let verdict =
                |number, argument| verdict(Exceptions::default(), machine, number, argument);
            for number in [numbers.unshare, numbers.clone] {
                assert_eq!(
                    verdict(number, NEW_USER | libc::CLONE_NEWNS.cast_unsigned()),
                    refused(libc::EPERM)
                );
                assert_eq!(verdict(number, libc::CLONE_FS.cast_unsigned() | 17), ALLOW);
            }
            assert_eq!(verdict(numbers.clone3, 0), refused(libc::ENOSYS));
            assert_eq!(verdict(numbers.bpf, 0), refused(libc::EPERM));
            assert_eq!(verdict(numbers.rings, 0), refused(libc::EPERM));
            assert_eq!(
                verdict(numbers.socket, libc::AF_VSOCK.cast_unsigned()),
                refused(libc::EAFNOSUPPORT)
            );
            assert_eq!(
                verdict(numbers.socket, libc::AF_INET.cast_unsigned()),
                ALLOW
            );
            let mut refusals = 0;
            for number in 0..600 {
                refusals += u32::from(verdict(number, u32::MAX) != ALLOW);
            }
            // unshare, clone, clone3, bpf, io_uring_setup and the three of the keyrings; no socket family has that number.
            assert_eq!(refusals, 8);
        }
    }

    #[test]
    fn exception_lets_bpf_through_and_nothing_else() {
        let exceptions = Exceptions { bpf: true };
        assert_eq!(verdict(exceptions, NATIVE, NATIVE_NUMBERS.bpf, 0), ALLOW);
        assert_eq!(
            verdict(exceptions, NATIVE, NATIVE_NUMBERS.unshare, NEW_USER),
            refused(libc::EPERM)
        );
    }

    #[test]
    fn other_tables_of_calls_are_closed() {
        let number = X32_NUMBERS | NATIVE_NUMBERS.unshare;
        assert_eq!(
            verdict(Exceptions::default(), NATIVE, number, NEW_USER),
            refused(libc::ENOSYS)
        );
        assert_eq!(
            verdict(Exceptions::default(), 0x1234, 0, 0),
            libc::SECCOMP_RET_KILL_PROCESS
        );
    }
}
