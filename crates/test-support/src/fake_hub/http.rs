//! As much of HTTP/1.1 as the Hub's clients need: one request per connection.

use std::{
    fmt::Write as _,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
};

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `HEAD`, `POST` or `PUT`.
    pub method: String,
    /// Path and query, decoded.
    pub path: String,
    /// The header `Range`.
    pub range: Option<String>,
    /// The header `Authorization`.
    pub authorization: Option<String>,
    /// What was sent.
    pub body: Vec<u8>,
}

impl Request {
    /// The next request on `stream`. After `longest` bytes of a body that is put the connection is given up.
    pub(super) fn read(stream: &TcpStream, longest: Option<u64>) -> io::Result<Self> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut words = line.trim().split(' ').map(str::to_owned);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut request = Self {
            method,
            path: path.replace("%2F", "/"),
            range: None,
            authorization: None,
            body: Vec::new(),
        };
        let (mut length, mut is_chunked) = (0, false);
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else { break };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "range" => request.range = Some(value.to_owned()),
                "authorization" => request.authorization = Some(value.to_owned()),
                "content-length" => length = value.parse().unwrap_or(0),
                "transfer-encoding" => is_chunked = value.eq_ignore_ascii_case("chunked"),
                _ => {}
            }
        }
        if let Some(longest) = longest.filter(|longest| request.method == "PUT" && *longest < length) {
            reader.take(longest).read_to_end(&mut request.body)?;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if is_chunked {
            read_chunks(&mut reader, &mut request.body)?;
        } else {
            reader.take(length).read_to_end(&mut request.body)?;
        }
        Ok(request)
    }

    /// The offset that `Range: bytes=N-` or `bytes=N-M` asks for.
    pub(super) fn start(&self) -> Option<u64> {
        self.range.as_ref()?.strip_prefix("bytes=")?.split('-').next()?.parse().ok()
    }
}

fn read_chunks(reader: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let length = u64::from_str_radix(line.trim(), 16).map_err(|_| io::ErrorKind::InvalidData)?;
        reader.by_ref().take(length).read_to_end(body)?;
        reader.read_line(&mut line)?;
        if length == 0 {
            return Ok(());
        }
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
