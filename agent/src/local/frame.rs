//! Frames: a length of four bytes, the highest first, and so many bytes of JSON.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest frame: the longest command that is taken fits, and a listing of all containers.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;

/// How much of a frame is expected before it is there: a length is only a claim.
const FIRST_BYTES: usize = 4096;

/// Says why a frame was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other side sends more than is taken.
    #[error("a frame of {bytes} bytes, and at most {FRAME_BYTES_MAX} are taken")]
    TooLong {
        /// The length that was announced.
        bytes: u64,
    },
    /// The connection ended inside a frame, or broke.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// The bytes are not what they should be.
    #[error("the frame is not what it should be: {0}")]
    Content(#[source] serde_json::Error),
}

/// Reads one frame; `None` where the other side has closed between two.
pub(crate) async fn read<T, R>(stream: &mut R) -> Result<Option<T>, FrameError>
where
    T: DeserializeOwned,
    R: AsyncRead + Unpin,
{
    let mut length = [0; 4];
    let first = stream.read(&mut length).await.map_err(FrameError::Broken)?;
    if first == 0 {
        return Ok(None);
    }
    stream
        .read_exact(&mut length[first..])
        .await
        .map_err(FrameError::Broken)?;
    let announced = u32::from_be_bytes(length);
    let bytes = usize::try_from(announced).unwrap_or(usize::MAX);
    if bytes > FRAME_BYTES_MAX {
        return Err(FrameError::TooLong {
            bytes: u64::from(announced),
        });
    }
    let mut content = Vec::with_capacity(bytes.min(FIRST_BYTES));
    let limit = u64::from(announced);
    let read = stream
        .take(limit)
        .read_to_end(&mut content)
        .await
        .map_err(FrameError::Broken)?;
    if read < bytes {
        return Err(FrameError::Broken(io::ErrorKind::UnexpectedEof.into()));
    }
    serde_json::from_slice(&content)
        .map(Some)
        .map_err(FrameError::Content)
}

/// Writes one frame.
pub(crate) async fn write<T, W>(stream: &mut W, value: &T) -> Result<(), FrameError>
where
    T: Serialize,
    W: AsyncWrite + Unpin,
{
    let content = serde_json::to_vec(value).map_err(FrameError::Content)?;
    let too_long = || FrameError::TooLong {
        bytes: content.len() as u64,
    };
    let length = u32::try_from(content.len()).map_err(|_overflow| too_long())?;
    if content.len() > FRAME_BYTES_MAX {
        return Err(too_long());
    }
    stream
        .write_all(&length.to_be_bytes())
        .await
        .map_err(FrameError::Broken)?;
    stream
        .write_all(&content)
        .await
        .map_err(FrameError::Broken)?;
    stream.flush().await.map_err(FrameError::Broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_is_read() {
        let mut bytes = Vec::new();
        write(&mut bytes, &["a", "b"]).await.unwrap();
        assert_eq!(bytes, b"\0\0\0\x09[\"a\",\"b\"]");
        let mut stream = bytes.as_slice();
        let read_back: Option<Vec<String>> = read(&mut stream).await.unwrap();
        assert_eq!(read_back.unwrap(), ["a", "b"]);
        assert!(read::<Vec<String>, _>(&mut stream).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_huge_length_is_refused_before_it_is_believed() {
        let error = read::<String, _>(&mut b"\xff\xff\xff\xff".as_slice())
            .await
            .unwrap_err();
        assert!(
            matches!(error, FrameError::TooLong { bytes: 0xffff_ffff }),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_frame_that_is_cut_is_an_error() {
        for bytes in [b"\0\0".as_slice(), b"\0\0\0\x09[\"a\""] {
            let error = read::<Vec<String>, _>(&mut &*bytes).await.unwrap_err();
            assert!(matches!(error, FrameError::Broken(_)), "{error}");
        }
    }

    #[tokio::test]
    async fn any_bytes_are_an_error_and_no_more() {
        for content in [
            b"".as_slice(),
            b"{",
            b"\xff\xfe",
            b"null",
            b"[1]",
            &[b'['; 5000],
        ] {
            let mut frame = u32::try_from(content.len()).unwrap().to_be_bytes().to_vec();
            frame.extend_from_slice(content);
            let error = read::<Vec<String>, _>(&mut frame.as_slice())
                .await
                .unwrap_err();
            assert!(matches!(error, FrameError::Content(_)), "{error}");
        }
    }

    #[test]
    fn any_frame_that_is_read_is_written_again_and_takes_its_own_bytes_only() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let check = |bytes: &[u8]| {
            runtime.block_on(async {
                let mut stream = bytes;
                match read::<serde_json::Value, _>(&mut stream).await {
                    Ok(None) => assert!(bytes.is_empty()),
                    Ok(Some(value)) => {
                        let announced = u32::from_be_bytes(bytes[..4].try_into().unwrap());
                        let taken = 4 + usize::try_from(announced).unwrap();
                        assert_eq!(stream, &bytes[taken..]);
                        let mut written = Vec::new();
                        write(&mut written, &value).await.unwrap();
                        let mut stream = written.as_slice();
                        assert_eq!(read(&mut stream).await.unwrap(), Some(value));
                        assert!(stream.is_empty());
                    }
                    Err(FrameError::TooLong { bytes: announced }) => {
                        assert!(announced > FRAME_BYTES_MAX as u64);
                        assert_eq!(stream, &bytes[4..], "nothing more was read");
                    }
                    Err(FrameError::Content(_)) => assert!(bytes.len() >= 4),
                    Err(FrameError::Broken(error)) => {
                        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
                        assert!(stream.is_empty());
                    }
                }
            });
        };
        const PIECES: [&[u8]; 8] = [b"[", b"]", b",", b"1", b"\"", b"-0.5", b"null", b"{}"];
        bolero::check!()
            .with_type::<(Vec<u8>, Vec<u8>, u8)>()
            .with_iterations(1000)
            .for_each(|(bytes, choices, length)| {
                check(bytes);
                let pieces = choices.iter().flat_map(|b| PIECES[usize::from(b % 8)]);
                let content: Vec<u8> = pieces.copied().collect();
                // The length is right, or a little less or more than what comes.
                let announced = content.len() + usize::from(length % 3) - 1.min(content.len());
                let mut frame = u32::try_from(announced).unwrap().to_be_bytes().to_vec();
                frame.extend(content);
                check(&frame);
            });
    }
}
