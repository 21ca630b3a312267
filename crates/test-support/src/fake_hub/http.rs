//! As much of HTTP/1.1 as the Hub's clients need: one request per connection.

use std::{
    fmt::Write as _,
    io::{self, BufRead, BufReader, Write},
    net::TcpStream,
};

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET` or `HEAD`.
    pub method: String,
    /// Path and query, decoded.
    pub path: String,
    /// The header `Range`.
    pub range: Option<String>,
    /// The header `Authorization`.
    pub authorization: Option<String>,
}

impl Request {
    /// The next request on `stream`.
    pub(super) fn read(stream: &TcpStream) -> io::Result<Self> {
        let mut lines = BufReader::new(stream).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        let mut words = first.split(' ').map(str::to_owned);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut request = Self { method, path: path.replace("%2F", "/"), range: None, authorization: None };
        for line in lines {
            let line = line?;
            let Some((name, value)) = line.split_once(':') else { break };
            let value = Some(value.trim().to_owned());
            match name.to_ascii_lowercase().as_str() {
                "range" => request.range = value,
                "authorization" => request.authorization = value,
                _ => {}
            }
        }
        Ok(request)
    }

    /// The offset that `Range: bytes=N-` or `bytes=N-M` asks for.
    pub(super) fn start(&self) -> Option<u64> {
        self.range.as_ref()?.strip_prefix("bytes=")?.split('-').next()?.parse().ok()
    }
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    /// Close the connection after so many bytes of the body.
    pub(super) cut_after: Option<usize>,
}

impl Answer {
    /// An answer with a body.
    pub(super) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, body: body.into(), ..Self::default() }
    }

    /// A refusal in the Hub's form.
    pub(super) fn refusal(status: u16, code: &str, message: &str) -> Self {
        let answer =
            Self::new(status, format!("{{\"error\":\"{message}\"}}")).with("X-Error-Message", message);
        if code.is_empty() { answer } else { answer.with("X-Error-Code", code) }
    }

    /// With a header more.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Writes it; a HEAD has no body, though its length is told.
    pub(super) fn write(&self, mut stream: &TcpStream, is_head: bool) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {} fake\r\nConnection: close\r\n", self.status);
        if !self.headers.iter().any(|(name, _)| *name == "Content-Length") {
            let _ = write!(head, "Content-Length: {}\r\n", self.body.len());
        }
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        stream.write_all(format!("{head}\r\n").as_bytes())?;
        if !is_head {
            stream.write_all(&self.body[..self.cut_after.unwrap_or(self.body.len()).min(self.body.len())])?;
        }
        stream.flush()
    }
}
