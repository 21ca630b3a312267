//! The fake Hub as a program: what `fixtures/interop/hub_cache.py` stands on.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
};

#[test]
fn the_program_says_where_it_is_serves_and_says_what_it_was_asked() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/reference/olmo2-tiny");
    let mut command = Command::new(env!("CARGO_BIN_EXE_greentune-fake-hub"));
    let mut hub =
        command.arg(model).arg("org/tiny").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(hub.stdout.take().unwrap());
    let mut endpoint = String::new();
    said.read_line(&mut endpoint).unwrap();

    let mut stream = TcpStream::connect(endpoint.trim().strip_prefix("http://").unwrap()).unwrap();
    stream.write_all(b"GET /org/tiny/resolve/main/config.json HTTP/1.1\r\nRange: bytes=1-\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 206 ") && answer.contains("\r\nETag: \""), "{answer}");

    drop(hub.stdin.take());
    let mut asked = String::new();
    said.read_to_string(&mut asked).unwrap();
    assert_eq!(asked, "GET /org/tiny/resolve/main/config.json bytes=1-\n");
    assert!(hub.wait().unwrap().success());
}
