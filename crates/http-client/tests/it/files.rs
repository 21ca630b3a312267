//! Files that are sent.

use std::{fs::File, io::Write as _, net::TcpListener, ops::ControlFlow, path::Path, time::Duration};

use greentune_http_client::{
    Address, Client, Credential, FilePart, HttpError, Limits, Phase, Redirects, Settings,
};

use crate::server::{Server, saying};

fn client(address: &str) -> (Client, Address) {
    let address = Address::parse(address).unwrap();
    let client = Client::new(Settings {
        limits: Limits { idle: Duration::from_millis(300), ..Limits::whole(Duration::from_secs(5)) },
        redirects: Redirects::HandedBack,
        credential: Some(Credential::new("authorization", "Bearer secret", &address).unwrap()),
        proxy: None,
    });
    (client.unwrap(), address)
}

/// A file of zeros, larger than all buffers between two programs.
fn large_file(folder: &Path) -> (std::path::PathBuf, u64) {
    let (path, length) = (folder.join("large"), 256 << 20);
    File::create(&path).unwrap().set_len(length).unwrap();
    (path, length)
}

#[test]
fn a_part_of_a_file_is_sent_with_its_length_and_without_the_credential() {
    let server = Server::new(&[("/store", saying("kept"))]);
    let (client, address) = client(&server.at("/store"));
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"0123456789").unwrap();
    let part = FilePart { path: file.path(), offset: 3, length: 4 };
    let answer = client.put_file(&address, part, |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(answer.text(100).unwrap(), "kept");
    let request = server.requests().remove(0).to_lowercase();
    assert!(request.starts_with("put /store") && request.contains("content-length: 4\r\n"), "{request}");
    assert!(request.ends_with("3456") && !request.contains("secret"), "{request}");
}

#[test]
fn a_file_that_is_shorter_than_its_part_is_no_whole_request() {
    let server = Server::new(&[("/store", saying("kept"))]);
    let (client, address) = client(&server.at("/store"));
    let file = tempfile::NamedTempFile::new().unwrap();
    let part = FilePart { path: file.path(), offset: 0, length: 4 };
    assert!(client.put_file(&address, part, |_| ControlFlow::Continue(())).is_err());
    assert_eq!(server.requests(), Vec::<String>::new());
    let missing = FilePart { path: Path::new("/nowhere/at/all"), offset: 0, length: 4 };
    let error = client.put_file(&address, missing, |_| ControlFlow::Continue(())).unwrap_err();
    assert_eq!(error, HttpError::File(std::io::ErrorKind::NotFound));
}

#[test]
fn sending_ends_when_nothing_goes_any_more_or_the_caller_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (path, length) = large_file(folder.path());
    let part = FilePart { path: &path, offset: 0, length };
    // Connections are accepted by the system, and nobody reads.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (client, address) = client(&format!("http://{}", listener.local_addr().unwrap()));
    let mut seen = 0;
    let watch = |sent| {
        seen = sent;
        ControlFlow::Continue(())
    };
    let error = client.put_file(&address, part, watch).unwrap_err();
    assert_eq!(error, HttpError::TimedOut { phase: Phase::Sending, limit: Duration::from_millis(300) });
    assert!(seen > 0 && seen < length, "{seen}");
    assert_eq!(client.put_file(&address, part, |_| ControlFlow::Break(())).unwrap_err(), HttpError::Stopped);
}
