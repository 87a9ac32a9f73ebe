//! As much of HTTP as clients of a server on this machine need: one request a connection, and the answer as it comes.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Longer than any run that the server allows, so that a client never gives up before the server must have answered.
const PATIENCE: Duration = Duration::from_secs(300);

/// An answer read to its end.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: String,
}

/// Sends a request as it is given, and reads nothing.
pub(super) fn begin(
    address: &str,
    method: &str,
    path: &str,
    client: &str,
    body: &str,
) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nx-pellucid-client: {client}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    Ok(stream)
}

/// A request and its whole answer. Chunks are left as they came: nobody here needs to know where one ends.
pub(super) fn ask(address: &str, method: &str, path: &str, client: &str, body: &str) -> io::Result<Reply> {
    let mut stream = begin(address, method, path, client, body)?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all)?;
    let text = String::from_utf8_lossy(&all);
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let (Some(status), Some((_, body))) = (status, text.split_once("\r\n\r\n")) else {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "no HTTP answer"));
    };
    Ok(Reply { status, body: body.to_owned() })
}
