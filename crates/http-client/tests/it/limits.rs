//! How long is waited, how much is read, and what an answer that says no means.

use std::{
    io::Write as _,
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use greentune_http_client::{
    Address, Answer, Client, HttpError, Limits, Phase, Redirects, Request, Settings,
};

use crate::server::{Reply, Server, saying};

const LONG: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(150);

fn client(limits: Limits) -> Client {
    let settings = Settings { limits, redirects: Redirects::HandedBack, credential: None, proxy: None };
    Client::new(settings).unwrap()
}

fn patient() -> Client {
    client(Limits::whole(LONG))
}

fn get<'a>(client: &'a Client, at: &str) -> Request<'a> {
    client.get(Address::parse(at).unwrap())
}

fn answer(client: &Client, at: &str) -> Answer {
    get(client, at).send().unwrap()
}

#[test]
fn a_body_is_read_as_far_as_allowed_whether_its_length_is_told_or_not() {
    let open = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", "x".repeat(2000));
    let server = Server::new(&[("/told", saying(&"x".repeat(2000))), ("/open", Reply::Raw(open))]);
    let client = patient();
    for path in ["/told", "/open"] {
        assert_eq!(answer(&client, &server.at(path)).text(2000).unwrap().len(), 2000);
        let refused = answer(&client, &server.at(path)).text(1999).unwrap_err();
        assert_eq!(refused, HttpError::TooLarge { limit: 1999 });
    }
}

#[test]
fn a_server_that_accepts_and_never_answers_is_given_up() {
    let server = Server::new(&[("/", Reply::Stall(String::new()))]);
    let limits = Limits { connect: LONG, answer: SHORT, idle: LONG, whole: None };
    let began = Instant::now();
    let error = get(&client(limits), &server.at("/")).send().unwrap_err();
    assert_eq!(error, HttpError::TimedOut { phase: Phase::Answer, limit: SHORT });
    let error = get(&patient(), &server.at("/")).within(SHORT).send().unwrap_err();
    assert!(matches!(error, HttpError::TimedOut { limit: SHORT, .. }), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn a_body_that_stands_still_is_given_up_and_one_that_is_slow_in_all_too() {
    let begun = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegin";
    let server = Server::new(&[("/", Reply::Stall(begun.into()))]);
    let limits = Limits { connect: LONG, answer: LONG, idle: SHORT, whole: None };
    let client = client(limits);
    let mut body = answer(&client, &server.at("/"));
    assert_eq!(body.next_piece().unwrap().unwrap(), "begin");
    assert_eq!(body.next_piece().unwrap_err(), HttpError::TimedOut { phase: Phase::Idle, limit: SHORT });
    let slow = get(&client, &server.at("/")).within(SHORT).send().unwrap();
    assert!(matches!(slow.text(1000), Err(HttpError::TimedOut { limit: SHORT, .. })));
}

#[test]
fn what_came_before_the_connection_broke_is_not_lost() {
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegin";
    let server = Server::new(&[("/cut", Reply::Raw(cut.into())), ("/none", Reply::Raw(String::new()))]);
    let client = patient();
    let mut body = answer(&client, &server.at("/cut"));
    assert_eq!(body.next_piece().unwrap().unwrap(), "begin");
    assert!(matches!(body.next_piece(), Err(HttpError::Unreachable { .. })));
    let error = get(&client, &server.at("/none")).send().unwrap_err();
    assert!(matches!(error, HttpError::Unreachable { .. }), "{error:?}");
}

#[test]
fn what_cannot_be_reached_says_why() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let encrypted = format!("https://{}", plain.local_addr().unwrap());
    thread::spawn(move || plain.accept().unwrap().0.write_all(b"HTTP/1.1 400 No TLS here\r\n\r\n"));
    for (at, why) in [
        (format!("http://{gone}"), "connection refused"),
        ("http://nobody.invalid".into(), "no such host"),
        (encrypted, "no secure connection"),
    ] {
        let error = get(&patient(), &at).send().unwrap_err();
        assert_eq!(error, HttpError::Unreachable { reason: why.into() }, "{at}");
    }
}

#[test]
fn an_answer_that_says_no_is_an_error_when_it_is_checked() {
    let no = |status, headers, body: &str| Reply::Full { status, headers, body: body.to_owned() };
    let after = |text: &str| vec![("Retry-After", text.to_owned())];
    let server = Server::new(&[
        ("/429", no(429, after("7"), "")),
        ("/429-without", no(429, vec![], "")),
        ("/429-long", no(429, after("99999999"), "")),
        ("/429-past", no(429, after("Sun, 06 Nov 1994 08:49:37 GMT"), "")),
        ("/503", no(503, after("7"), "")),
        ("/503-without", no(503, vec![], "down")),
        ("/400", no(400, vec![], &"wrong ".repeat(1000))),
    ]);
    let client = patient();
    let checked = |path: &str| answer(&client, &server.at(path)).checked().unwrap_err();
    let limited = |status, seconds: Option<u64>| HttpError::RateLimited {
        status,
        retry_after: seconds.map(Duration::from_secs),
    };
    assert_eq!(checked("/429"), limited(429, Some(7)));
    assert_eq!(checked("/429-without"), limited(429, None));
    assert_eq!(checked("/429-long"), limited(429, Some(24 * 3600)));
    assert_eq!(checked("/429-past"), limited(429, Some(0)));
    assert_eq!(checked("/503"), limited(503, Some(7)));
    assert_eq!(checked("/503-without"), HttpError::Status { status: 503, excerpt: "down".into() });
    let HttpError::Status { status: 400, excerpt } = checked("/400") else { panic!("another status") };
    assert_eq!((excerpt.len(), excerpt.starts_with("wrong wrong")), (200, true));
    assert_eq!(answer(&client, &server.at("/429")).status(), 429);
}

#[test]
fn it_may_be_used_inside_a_runtime() {
    let server = Server::new(&[("/", saying("fine"))]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let text = runtime.block_on(async { answer(&patient(), &server.at("/")).text(100) });
    assert_eq!(text.unwrap(), "fine");
}
