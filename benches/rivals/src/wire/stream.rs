//! Messages on a bare stream of bytes: a kind, a length, the bytes.

use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use super::peer::{CALL_BYTES, Caller, Sender};
use crate::side::Outcome;

const HEADER: usize = 5;
const CALL: u8 = 1;
const CAST: u8 = 2;
const COUNT: u8 = 3;
/// What is read ahead.
const READ_BYTES: usize = 64 << 10;

fn frame(kind: u8, bytes: usize) -> Vec<u8> {
    let mut frame = vec![7; HEADER + bytes];
    frame[0] = kind;
    frame[1..HEADER].copy_from_slice(&(bytes as u32).to_le_bytes());
    frame
}

/// Answers calls and counts casts until the stream ends.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> Outcome<()> {
    let mut stream = BufReader::with_capacity(READ_BYTES, stream);
    let (mut message, mut count) = (vec![0; HEADER], 0_u64);
    while stream.read_exact(&mut message[..HEADER]).await.is_ok() {
        let length = u32::from_le_bytes([message[1], message[2], message[3], message[4]]);
        message.resize((HEADER + length as usize).max(message.len()), 0);
        let message = &mut message[..HEADER + length as usize];
        stream.read_exact(&mut message[HEADER..]).await?;
        match message[0] {
            CALL => stream.get_mut().write_all(message).await?,
            COUNT => stream.get_mut().write_all(&std::mem::take(&mut count).to_le_bytes()).await?,
            _ => {
                count += 1;
                continue;
            }
        }
        stream.get_mut().flush().await?;
    }
    Ok(())
}

/// One end that calls or casts.
pub(super) struct Streamed<S> {
    stream: BufReader<S>,
    message: Vec<u8>,
    answer: [u8; HEADER + CALL_BYTES],
}

impl<S: AsyncRead + AsyncWrite + Unpin> Streamed<S> {
    pub(super) fn caller(stream: S) -> Self {
        Self::new(stream, frame(CALL, CALL_BYTES))
    }

    pub(super) fn sender(stream: S, bytes: usize) -> Self {
        Self::new(stream, frame(CAST, bytes))
    }

    fn new(stream: S, message: Vec<u8>) -> Self {
        let stream = BufReader::with_capacity(READ_BYTES, stream);
        Self { stream, message, answer: [0; HEADER + CALL_BYTES] }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Caller for Streamed<S> {
    async fn call(&mut self) -> Outcome<()> {
        self.stream.get_mut().write_all(&self.message).await?;
        self.stream.get_mut().flush().await?;
        Ok(self.stream.read_exact(&mut self.answer).await?)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Sender for Streamed<S> {
    async fn cast(&mut self) -> Outcome<()> {
        Ok(self.stream.get_mut().write_all(&self.message).await?)
    }

    async fn arrived(&mut self) -> Outcome<u64> {
        self.stream.get_mut().write_all(&frame(COUNT, 0)).await?;
        self.stream.get_mut().flush().await?;
        let mut count = [0; 8];
        self.stream.read_exact(&mut count).await?;
        Ok(u64::from_le_bytes(count))
    }
}
