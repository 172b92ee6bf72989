//! Descriptors in messages: handing what one process holds to another.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

/// Sends one message, with a descriptor if there is one, without waiting for room.
pub fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let numbers: Vec<RawFd> = descriptor
        .iter()
        .map(|descriptor| descriptor.as_raw_fd())
        .collect();
    let attached = [ControlMessage::ScmRights(&numbers)];
    let attached = if numbers.is_empty() {
        &[]
    } else {
        &attached[..]
    };
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(bytes)],
        attached,
        flags,
        None,
    )?;
    Ok(())
}

/// Receives one message of at most `buffer`'s length, and the descriptor that came with it.
///
/// A length of zero says that the other side has closed; an error of kind `WouldBlock`, that nothing is there yet.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = cmsg_space!(RawFd);
    let mut slices = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut space), flags)?;
    let mut descriptor = None;
    for attached in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = attached {
            for number in numbers {
                // SAFETY: the kernel just put this descriptor into this process and nobody else knows of it.
                descriptor = Some(unsafe { OwnedFd::from_raw_fd(number) });
            }
        }
    }
    Ok((message.bytes, descriptor))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read as _;
    use std::os::fd::AsFd as _;

    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

    use super::*;

    #[test]
    fn descriptor_arrives_with_its_message() {
        let (one, other) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )
        .unwrap();
        let empty = receive(other.as_fd(), &mut [0; 8]).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        let (read, write) = nix::unistd::pipe().unwrap();
        send(one.as_fd(), b"plain", None).unwrap();
        send(one.as_fd(), b"with", Some(read.as_fd())).unwrap();
        drop((one, read));
        nix::unistd::write(&write, b"through").unwrap();
        drop(write);
        let mut buffer = [0; 8];
        assert!(matches!(
            receive(other.as_fd(), &mut buffer).unwrap(),
            (5, None)
        ));
        let (length, descriptor) = receive(other.as_fd(), &mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"with");
        let mut text = String::new();
        File::from(descriptor.unwrap())
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "through");
        assert!(matches!(
            receive(other.as_fd(), &mut buffer).unwrap(),
            (0, None)
        ));
    }
}
