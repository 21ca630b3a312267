use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::Path,
    time::Instant,
};

use greentune_core_config::{Diagnostic as _, ProblemKind};
use tempfile::TempDir;

use super::*;
use crate::grid::{GridSource, Secret, fetch_forecast};

const TOKEN: &str = "very-secret-token";
const YEARLY: f64 = 44.18;

/// Answers every request the same way, and keeps what was asked.
struct FakeService {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl FakeService {
    fn new(head: &str, body: &str, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        let answer =
            format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let request: Vec<_> =
                    lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
                kept.lock().unwrap().push(request.join("\n"));
                thread::sleep(delay);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { address, requests }
    }

    fn saying(body: &str) -> Self {
        Self::new("200 OK", body, Duration::ZERO)
    }

    fn refusing(head: &str) -> Self {
        Self::new(head, "{}", Duration::ZERO)
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    fn config(&self, folder: &Path) -> LiveConfig {
        LiveConfig {
            endpoint: format!("{}/v3/carbon-intensity/latest", self.address),
            token: Secret::new(TOKEN),
            is_token_withheld: false,
            cache: folder.join("cache").join("intensity.json"),
            zone: None,
            refresh: Duration::from_hours(1),
            proxy: None,
        }
    }
}

fn france() -> Place {
    Place { country_iso_code: "FRA".into(), ..Place::default() }
}

fn latest(g_per_kwh: &str, zone: &str, age_hours: i64) -> String {
    let datetime = Timestamp::now() - SignedDuration::from_hours(age_hours);
    format!(
        r#"{{"zone":"{zone}","carbonIntensity":{g_per_kwh},"datetime":"{datetime}","updatedAt":"{datetime}",
           "emissionFactorType":"lifecycle","isEstimated":false,"estimationMethod":null}}"#
    )
}

fn start(place: &Place, config: &LiveConfig) -> (Live, Grid) {
    let live = Live::start_within(place, config.clone(), Duration::from_millis(500));
    (live, GridSource::yearly(place).now())
}

/// The first answer that `fits`, within some seconds.
fn wait_for(live: &Live, yearly: &Grid, fits: impl Fn(&Grid) -> bool) -> Grid {
    let began = Instant::now();
    loop {
        let grid = live.now(yearly);
        if fits(&grid) || began.elapsed() > Duration::from_secs(10) {
            return grid;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// What a source says once the service has answered.
fn answered(service: &FakeService, folder: &Path) -> Grid {
    let (live, yearly) = start(&france(), &service.config(folder));
    wait_for(&live, &yearly, |grid| !grid.notes.iter().any(|note| note.contains("has not answered yet")))
}

fn is(figure: f64, expected: f64) -> bool {
    (figure - expected).abs() < 1e-9
}

#[test]
fn the_figure_of_the_hour_is_used_and_the_token_stays_secret() {
    let folder = TempDir::new().unwrap();
    let service = FakeService::saying(&latest("151.5", "FR", 0));
    let config = service.config(folder.path());
    let source = GridSource::live(&france(), config.clone());
    let began = Instant::now();
    while is(source.now().g_per_kwh, YEARLY) && began.elapsed() < Duration::from_secs(10) {
        thread::sleep(Duration::from_millis(5));
    }
    let grid = source.now();
    assert!(is(grid.g_per_kwh, 151.5) && grid.notes.is_empty(), "{grid:?}");
    assert!(grid.source.contains("zone FR") && grid.source.contains("measured"), "{}", grid.source);
    assert!(is(grid.uncertainty, 0.25), "{grid:?}");
    assert_eq!(grid.country_name, "France");
    let request = service.requests().join("\n");
    assert!(request.starts_with("GET /v3/carbon-intensity/latest?zone=FR "), "{request}");
    assert!(request.contains(&format!("auth-token: {TOKEN}")), "{request}");
    let cache = fs::read_to_string(&config.cache).unwrap();
    for text in [format!("{source:?}"), format!("{config:?}"), format!("{grid:?}"), cache] {
        assert!(!text.contains(TOKEN), "{text}");
    }
}

#[test]
fn what_is_no_figure_of_now_and_here_falls_back_and_says_why() {
    let json = |body: &str| FakeService::saying(body);
    for (service, why) in [
        (FakeService::refusing("401 Unauthorized"), "127.0.0.1 refuses the token (401)"),
        (FakeService::refusing("403 Forbidden"), "refuses the token (403)"),
        (FakeService::refusing("404 Not Found"), "knows no zone FR (404)"),
        (FakeService::refusing("429 Too Many Requests\r\nRetry-After: 9"), "asks to slow down (429)"),
        (FakeService::refusing("503 Service Unavailable"), "answers 503"),
        (json("<!doctype html><p>Log in, very-secret-token"), "answers HTML instead of JSON"),
        (json("{\"error\":\"very-secret-token\"}"), "answers something else than the JSON expected"),
        (json(&latest("null", "FR", 0)), "answers something else than the JSON expected"),
        (json(&latest("-12.5", "FR", 0)), "answers -12.5 g/kWh; allowed is 0 to 2000"),
        (json(&latest("54321", "FR", 0)), "answers 54321 g/kWh"),
        (json(&latest("200", "DE", 0)), "answers for zone \"DE\" instead of FR"),
        (json(&latest("200", "FR", 50)), "which is not now"),
        (json(&latest("200", "FR", -50)), "which is not now"),
    ] {
        let folder = TempDir::new().unwrap();
        let grid = answered(&service, folder.path());
        assert!(is(grid.g_per_kwh, YEARLY), "{why}: {grid:?}");
        let [note] = grid.notes.as_slice() else { panic!("{why}: {:?}", grid.notes) };
        assert!(
            note.contains(why) && note.ends_with("the bundled yearly figure of 44.18 g/kWh is used"),
            "{note}"
        );
        assert!(!note.contains(TOKEN), "{note}");
        assert!(!folder.path().join("cache").exists(), "{why}: nothing is kept");
    }
}

#[test]
fn a_redirect_is_not_followed() {
    let folder = TempDir::new().unwrap();
    let other = FakeService::saying(&latest("1", "FR", 0));
    let service = FakeService::refusing(&format!("302 Found\r\nLocation: {}/latest?zone=FR", other.address));
    let grid = answered(&service, folder.path());
    assert!(grid.notes[0].contains("redirects elsewhere (302), where the token is not sent"), "{grid:?}");
    assert!(other.requests().is_empty());
}

#[test]
fn a_service_that_hangs_blocks_neither_answer_nor_end() {
    let folder = TempDir::new().unwrap();
    let service = FakeService::new("200 OK", &latest("1", "FR", 0), Duration::from_secs(3));
    let began = Instant::now();
    let (live, yearly) = start(&france(), &service.config(folder.path()));
    let first = live.now(&yearly);
    assert!(began.elapsed() < Duration::from_millis(400), "{:?}", began.elapsed());
    assert!(first.notes[0].contains("127.0.0.1 has not answered yet"), "{first:?}");
    let grid = wait_for(&live, &yearly, |grid| grid.notes[0].contains("within"));
    assert!(grid.notes[0].contains("did not answer within 500ms"), "{grid:?}");
    let state = live.state();
    let dropping = Instant::now();
    drop(live);
    assert!(dropping.elapsed() < Duration::from_millis(100));
    while state.upgrade().is_some() {
        assert!(dropping.elapsed() < Duration::from_secs(2), "the thread goes on");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn nobody_listening_is_said() {
    let folder = TempDir::new().unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let service = FakeService { address: format!("http://{gone}"), requests: Arc::default() };
    let grid = answered(&service, folder.path());
    assert!(grid.notes[0].contains("cannot be reached: connection refused"), "{grid:?}");
}

#[test]
fn runs_share_what_was_fetched() {
    let folder = TempDir::new().unwrap();
    let service = FakeService::saying(&latest("151.5", "FR", 0));
    let first = answered(&service, folder.path());
    // Known at once, and not asked for again while the hour lasts.
    let (live, yearly) = start(&france(), &service.config(folder.path()));
    assert_eq!(live.now(&yearly), first);
    thread::sleep(Duration::from_millis(100));
    let hour_turned = Timestamp::now().as_second() % HOUR_SECONDS < 2;
    assert!(service.requests().len() == 1 || hour_turned, "{:?}", service.requests());
    // Another zone has an entry of its own.
    let (other, of_germany) =
        start(&Place { country_iso_code: "DEU".into(), ..Place::default() }, &service.config(folder.path()));
    let grid = wait_for(&other, &of_germany, |grid| grid.notes[0].contains("zone"));
    assert!(grid.notes[0].contains("answers for zone \"FR\" instead of DE"), "{grid:?}");
}

#[test]
fn an_old_figure_outlives_a_failure_for_a_day() {
    for (age_hours, kept) in [(3, true), (25, false)] {
        let folder = TempDir::new().unwrap();
        let service = FakeService::refusing("503 Service Unavailable");
        let config = service.config(folder.path());
        let key = Service::new(&france(), &config, ANSWER_WITHIN).unwrap().key();
        let then = Timestamp::now() - SignedDuration::from_hours(age_hours);
        let reading =
            Reading { zone: "FR".into(), g_per_kwh: 70.0, datetime: then, estimated: true, fetched_at: then };
        Cache::new(config.cache.clone()).put(&key, &reading).unwrap();
        let (live, yearly) = start(&france(), &config);
        let grid = wait_for(&live, &yearly, |grid| grid.notes.iter().any(|note| note.contains("503")));
        if kept {
            assert!(is(grid.g_per_kwh, 70.0), "{grid:?}");
            let note = "carbon intensity: 127.0.0.1 answers 503; the figure of zone FR of 3 h ago is used";
            assert_eq!(grid.notes, [note]);
            assert!(grid.source.contains("estimated") && grid.uncertainty > 0.4, "{grid:?}");
        } else {
            assert!(is(grid.g_per_kwh, YEARLY), "{grid:?}");
        }
    }
}

#[test]
fn a_broken_cache_counts_as_none() {
    for contents in
        ["", "{\"format_version\":1,\"readings\":{", "[]", "{\"format_version\":9,\"readings\":{}}"]
    {
        let folder = TempDir::new().unwrap();
        let service = FakeService::saying(&latest("151.5", "FR", 0));
        let config = service.config(folder.path());
        fs::create_dir_all(config.cache.parent().unwrap()).unwrap();
        fs::write(&config.cache, contents).unwrap();
        assert!(is(answered(&service, folder.path()).g_per_kwh, 151.5), "{contents}");
    }
    // A cache that cannot be written costs the sharing, not the figure.
    let folder = TempDir::new().unwrap();
    let service = FakeService::saying(&latest("151.5", "FR", 0));
    fs::write(folder.path().join("cache"), "a file where the folder should be").unwrap();
    let grid = answered(&service, folder.path());
    assert!(is(grid.g_per_kwh, 151.5) && grid.notes[0].contains("is not kept"), "{grid:?}");
}

#[test]
fn it_asks_again_after_the_interval() {
    let folder = TempDir::new().unwrap();
    let service = FakeService::saying(&latest("151.5", "FR", 0));
    let config = LiveConfig { refresh: Duration::from_millis(20), ..service.config(folder.path()) };
    let (_live, _) = start(&france(), &config);
    let began = Instant::now();
    while service.requests().len() < 3 {
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", service.requests());
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn pauses_grow_and_a_service_that_asks_for_patience_gets_it() {
    let refresh = Duration::from_hours(1);
    let after = |what, failures| pause_after(&ServiceError { host: "h".into(), what }, failures, refresh);
    let pauses: Vec<_> =
        [0, 1, 2, 40].map(|failures| after(ServiceErrorKind::Status(500), failures).as_secs()).into();
    assert_eq!(pauses, [30, 60, 120, 3600]);
    assert_eq!(after(ServiceErrorKind::SlowDown(Some(Duration::from_mins(90))), 0), Duration::from_mins(90));
    assert_eq!(after(ServiceErrorKind::SlowDown(Some(Duration::from_secs(1))), 3), Duration::from_mins(4));
    assert_eq!(after(ServiceErrorKind::SlowDown(Some(Duration::MAX)), 0), LONGEST_PATIENCE);
    assert_eq!(after(ServiceErrorKind::Refused(401), 0), Duration::from_hours(1));
}

#[test]
fn what_cannot_be_asked_is_not_asked() {
    let folder = TempDir::new().unwrap();
    let config = FakeService::refusing("500").config(folder.path());
    let https = "https://api.electricitymaps.com/v3/carbon-intensity/latest";
    for (endpoint, token, why) in [
        (https, None, "api.electricitymaps.com answers nobody without a token (ELECTRICITY_MAPS_TOKEN)"),
        ("http://example.org/v3", Some(TOKEN), "example.org would get the token in clear; https is needed"),
        ("https://user:pw@example.org/v3", None, "carbon.emissions_endpoint is no address"),
        ("https://example.org/v3?key=pw", None, "carbon.emissions_endpoint is no address"),
        ("ftp://example.org", None, "carbon.emissions_endpoint is no address"),
        ("nonsense", None, "carbon.emissions_endpoint is no address"),
    ] {
        let config =
            LiveConfig { endpoint: endpoint.into(), token: token.and_then(Secret::new), ..config.clone() };
        let (live, yearly) = start(&france(), &config);
        let grid = live.now(&yearly);
        assert!(grid.notes[0].contains(why) && !grid.notes[0].contains("pw"), "{endpoint}: {grid:?}");
    }
    let service = FakeService::refusing("401 Unauthorized");
    let config = LiveConfig { token: None, is_token_withheld: true, ..service.config(folder.path()) };
    let refused = fetch_forecast(&france(), &config).unwrap_err().to_string();
    assert!(refused.contains("gets no token") && refused.contains("GREENTUNE_ALLOWED_HOSTS"), "{refused}");
    assert_eq!(Secret::new(" \n"), None);
    assert_eq!(Secret::new("a\nb"), None);
}

#[test]
fn a_forecast_is_fetched_in_the_order_of_time() {
    let folder = TempDir::new().unwrap();
    let service = FakeService::saying(
        r#"{"zone":"FR","forecast":[{"carbonIntensity":80,"datetime":"2026-01-01T01:00:00.000Z"},
            {"carbonIntensity":90,"datetime":"2026-01-01T00:00:00.000Z"}],"updatedAt":"2026-01-01T00:00:00.000Z"}"#,
    );
    let forecast = fetch_forecast(&france(), &service.config(folder.path())).unwrap();
    assert!(service.requests()[0].starts_with("GET /v3/carbon-intensity/forecast?zone=FR "));
    assert_eq!(forecast.hours.iter().map(|hour| hour.g_per_kwh).collect::<Vec<_>>(), [90.0, 80.0]);
    let refused = fetch_forecast(&france(), &FakeService::refusing("403 No").config(folder.path()));
    let problem = refused.unwrap_err().problem();
    assert_eq!((problem.kind, problem.code.as_str()), (ProblemKind::Credentials, "carbon.live_intensity"));
    assert!(!format!("{problem:?}").contains(TOKEN));
}
