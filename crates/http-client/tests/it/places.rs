//! Who is asked, who gets the credential, and where redirects and proxies lead.

use std::{net::TcpListener, time::Duration};

use greentune_http_client::{Address, Client, Credential, HttpError, Limits, Proxy, Redirects, Settings};

use crate::server::{Reply, Server, redirect, saying};

const SECRET: &str = "very-secret-token";

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn settings() -> Settings {
    Settings {
        limits: Limits::whole(Duration::from_secs(5)),
        redirects: Redirects::Followed { at_most: 3 },
        credential: None,
        proxy: None,
    }
}

/// A client whose token is for `server`.
fn with_token(server: &Server) -> Client {
    let token = Credential::new("auth-token", SECRET, &address(&server.address));
    Client::new(Settings { credential: Some(token.unwrap()), ..settings() }).unwrap()
}

fn text(client: &Client, at: &str) -> Result<String, HttpError> {
    client.get(address(at)).send()?.checked()?.text(1000)
}

#[test]
fn a_token_goes_to_its_server_and_along_a_redirect_within_it() {
    let server = Server::new(&[("/a", redirect("/b?x=1")), ("/b", saying("here"))]);
    let client = with_token(&server);
    assert_eq!(text(&client, &server.at("/a")).unwrap(), "here");
    let requests = server.requests();
    assert!(requests[0].starts_with("GET /a ") && requests[1].starts_with("GET /b?x=1 "), "{requests:?}");
    assert!(requests.iter().all(|request| request.contains(SECRET)), "{requests:?}");
    assert_eq!(client.get(address(&server.at("/b"))).anonymously().send().unwrap().status(), 200);
    assert!(!server.requests()[2].contains(SECRET));
}

#[test]
fn a_token_is_not_sent_after_a_redirect_to_another_port_or_host() {
    let another_port = Server::new(&[("/b", saying("there"))]);
    let mut others = vec![another_port];
    // Only Linux has the whole network 127.0.0.0/8 without being told.
    if let Ok(listener) = TcpListener::bind("127.0.0.2:0") {
        others.push(Server::on(listener, vec![("/b", saying("there"))]));
    }
    for other in others {
        let server = Server::new(&[("/a", redirect(other.at("/b")))]);
        let client = with_token(&server);
        let answer = client.get(address(&server.at("/a"))).header("Authorization", SECRET);
        let answer = answer.header("Range", "bytes=5-").send().unwrap();
        assert_eq!(answer.text(1000).unwrap(), "there");
        let [request] = other.requests().try_into().unwrap();
        assert!(!request.contains(SECRET), "{request}");
        assert!(request.contains("range: bytes=5-"), "{request}");
        // Asked directly, it gets none either.
        text(&client, &other.at("/b")).unwrap();
        assert!(!other.requests()[1].contains(SECRET));
    }
}

#[test]
fn redirects_are_bounded_and_handed_back_where_nobody_follows() {
    let server = Server::new(&[
        ("/circle", redirect("/circle")),
        ("/a", redirect("/b")),
        ("/b", redirect("/c")),
        ("/c", redirect("/d")),
        ("/d", saying("end")),
        ("/file", redirect("file:///etc/passwd")),
    ]);
    let client = with_token(&server);
    assert_eq!(text(&client, &server.at("/a")).unwrap(), "end");
    let before = server.requests().len();
    let circle = text(&client, &server.at("/circle")).unwrap_err();
    assert_eq!(circle, HttpError::Redirect { why: "too many times" });
    assert_eq!(server.requests().len() - before, 4);
    assert!(matches!(text(&client, &server.at("/file")), Err(HttpError::Redirect { .. })));

    let answer = client.get(address(&server.at("/a"))).redirects(Redirects::HandedBack).send().unwrap();
    assert!(answer.is_redirect());
    assert_eq!((answer.status(), answer.header("location")), (302, Some("/b")));
    // A body is sent once.
    assert_eq!(client.post(address(&server.at("/a")), "{}").send().unwrap().status(), 302);
}

#[test]
fn a_secret_stands_in_no_error_and_no_debug_output() {
    let server = Server::new(&[("/no", Reply::Raw(String::new())), ("/a", redirect("ftp://x"))]);
    let client = with_token(&server);
    let mut shown = vec![format!("{client:?}")];
    for path in ["/no", "/a", "/missing"] {
        let error = text(&client, &server.at(&format!("{path}?key={SECRET}"))).unwrap_err();
        shown.push(format!("{error} {error:?}"));
    }
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = text(&client, &format!("http://{gone}/?key={SECRET}")).unwrap_err();
    shown.push(format!("{error} {error:?}"));
    assert!(shown.iter().all(|text| !text.contains(SECRET)), "{shown:?}");
}

#[test]
fn a_body_and_its_headers_arrive() {
    let server = Server::new(&[("/take", saying("thanks"))]);
    let client = with_token(&server);
    let sent = client.put(address(&server.at("/take")), "some bytes").header("X-Kind", "plain").send();
    assert_eq!(sent.unwrap().text(100).unwrap(), "thanks");
    let request = &server.requests()[0];
    assert!(request.starts_with("PUT /take ") && request.ends_with("some bytes"), "{request}");
    assert!(request.contains("x-kind: plain") && request.contains("user-agent: greentune/"), "{request}");
    let query = address(&server.at("/take")).with_query("name", "a b&c=d");
    client.get(query).send().unwrap();
    assert!(server.requests()[1].starts_with("GET /take?name=a+b%26c%3Dd "), "{:?}", server.requests());
    let unusable = client.get(address(&server.at("/take"))).header("X-Kind", "a\nb").send().unwrap_err();
    assert_eq!(unusable, HttpError::Header { name: "X-Kind".into() });
}

#[test]
fn a_proxy_that_is_passed_in_is_used_but_for_this_machine_and_its_exceptions() {
    let proxy = Server::new(&[("/v3", saying("by proxy"))]);
    let passed =
        Proxy::new(&proxy.address.replace("http://", "http://ann:hunter2@"), Some("internal.example"));
    let client = Client::new(Settings { proxy: Some(passed.unwrap()), ..settings() }).unwrap();
    assert_eq!(text(&client, "http://service.example/v3").unwrap(), "by proxy");
    let request = proxy.requests().remove(0);
    assert!(request.starts_with("GET http://service.example/v3 "), "{request}");
    assert!(request.contains("proxy-authorization: Basic"), "{request}");
    assert!(!format!("{client:?}").contains("hunter2"));
    let server = Server::new(&[("/v3", saying("directly"))]);
    assert_eq!(text(&client, &server.at("/v3")).unwrap(), "directly");
    assert!(text(&client, "http://internal.example/v3").is_err());
    assert_eq!(proxy.requests().len(), 1);
}
