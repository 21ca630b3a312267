//! A server on this machine that answers as it is told, and keeps what it was sent.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// What a request is answered with.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A status with further headers, and a body whose length is told.
    Full { status: u16, headers: Vec<(&'static str, String)>, body: String },
    /// These bytes, then the end of the connection.
    Raw(String),
    /// These bytes, then nothing while the client waits.
    Stall(String),
}

pub struct Server {
    pub address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Answers each path in `replies`, and everything else with 404.
    pub fn new(replies: &[(&'static str, Reply)]) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), replies.to_vec())
    }

    pub fn on(listener: TcpListener, replies: Vec<(&'static str, Reply)>) -> Self {
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, replies) = (Arc::clone(&kept), replies.clone());
                thread::spawn(move || serve(stream, &kept, &replies));
            }
        });
        Self { address, requests }
    }

    /// Heads and bodies of the requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }
}

pub fn saying(body: &str) -> Reply {
    Reply::Full { status: 200, headers: vec![], body: body.to_owned() }
}

pub fn redirect(to: impl Into<String>) -> Reply {
    Reply::Full { status: 302, headers: vec![("Location", to.into())], body: String::new() }
}

fn serve(mut stream: TcpStream, kept: &Mutex<Vec<String>>, replies: &[(&'static str, Reply)]) -> Option<()> {
    let request = read(&stream)?;
    let path = request.split(' ').nth(1)?.to_owned();
    kept.lock().unwrap().push(request);
    // A proxy is asked with the whole address.
    let path = path.split_once("://").map_or(path.as_str(), |(_, rest)| &rest[rest.find('/').unwrap()..]);
    let reply = replies.iter().find(|(known, _)| *known == path.split('?').next().unwrap());
    let missing = Reply::Full { status: 404, headers: vec![], body: "nothing here".into() };
    match reply.map_or(missing, |(_, reply)| reply.clone()) {
        Reply::Full { status, headers, body } => {
            let headers: Vec<String> =
                headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let headers = headers.concat();
            let length = body.len();
            let text = format!(
                "HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
            stream.write_all(text.as_bytes()).ok()
        }
        Reply::Raw(text) => stream.write_all(text.as_bytes()).ok(),
        Reply::Stall(text) => {
            stream.write_all(text.as_bytes()).ok()?;
            thread::sleep(Duration::from_secs(5));
            Some(())
        }
    }
}

fn read(stream: &TcpStream) -> Option<String> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut head = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    (!head.is_empty()).then(|| head + &String::from_utf8_lossy(&body))
}
