//! What the Hub may refuse, and what the network may do.

use std::{fs, time::Duration};

use greentune_core_config::{Diagnostic, ProblemKind};
use greentune_test_support::fake_hub::Behaviour;

use crate::place::{Ear, Place, fixture};

#[test]
fn refusals_say_what_to_do() {
    let place = Place::new();
    let shown = |place: &Place, behaviour: Behaviour| {
        place.hub.behave(behaviour);
        let problem = place.refused();
        let text =
            format!("{:?} {}: {problem}\n  {}", problem.kind, problem.code, problem.hint.as_ref().unwrap());
        text.replace(&place.hub.endpoint(), "HUB")
    };
    let mut refusals = vec![
        shown(&place, Behaviour::Private("hf_other".into())),
        shown(&place, Behaviour::Gated),
        shown(&place, Behaviour::Fails(404)),
        shown(&place, Behaviour::Fails(401)),
    ];
    let place = place.with_token("hf_secret");
    refusals.extend([
        shown(&place, Behaviour::Private("hf_other".into())),
        shown(&place, Behaviour::Gated),
        shown(&place, Behaviour::Forbidden),
        shown(&place, Behaviour::RefusesTokens),
        shown(&place, Behaviour::RateLimited { times: 99, retry_after: 3600 }),
        shown(&place, Behaviour::Fails(500)),
    ]);
    assert!(refusals.iter().all(|refusal| !refusal.contains("hf_secret")));
    insta::assert_snapshot!(refusals.join("\n"));
}

#[test]
fn an_unknown_revision_is_told_from_an_unknown_model() {
    let place = Place::new();
    let problem = place.fetch_at("v9", &Ear::default()).unwrap_err().problem();
    assert_eq!((problem.kind, problem.code.as_str()), (ProblemKind::NotFound, "hub.revision_unknown"));
    assert_eq!(problem.location.unwrap().key.as_deref(), Some("base_model.revision"));
}

#[test]
fn a_token_opens_what_is_private_and_never_reaches_the_storage() {
    let place = Place::new().with_token("hf_secret");
    place.hub.behave(Behaviour::Private("hf_secret".into()));
    place.fetch().unwrap();
    let stored: Vec<_> =
        place.hub.requests().into_iter().filter(|r| r.path.starts_with("/storage/")).collect();
    assert!(!stored.is_empty());
    if cfg!(target_os = "linux") {
        assert!(stored.iter().all(|request| request.authorization.is_none()), "{stored:?}");
    }
}

#[test]
fn a_token_goes_to_no_other_port_of_the_hubs_host() {
    let place = Place::new().with_token("hf_secret");
    place.hub.behave(Behaviour::StoresOnAnotherPort);
    place.fetch().unwrap();
    let (stored, others): (Vec<_>, Vec<_>) =
        place.hub.requests().into_iter().partition(|request| request.path.starts_with("/storage/"));
    assert!(!stored.is_empty() && stored.iter().all(|request| request.authorization.is_none()), "{stored:?}");
    assert!(others.iter().all(|request| request.authorization.is_some()), "{others:?}");
}

#[test]
fn a_token_goes_over_plain_http_to_no_other_machine() {
    let mut place = Place::new().with_token("hf_secret");
    // Reserved for documentation (RFC 5737): nobody is there.
    place.settings.endpoint = "http://192.0.2.1:8090".into();
    let problem = place.refused();
    assert_eq!((problem.kind, problem.code.as_str()), (ProblemKind::Credentials, "hub.token_in_clear"));
    assert!(problem.message.contains("HF_TOKEN") && !problem.message.contains("hf_secret"), "{problem}");
    assert!(problem.hint.unwrap().contains("HF_HUB_DISABLE_IMPLICIT_TOKEN"));
}

#[test]
fn a_hub_that_asks_to_slow_down_is_waited_for_a_few_times() {
    let place = Place::new();
    place.hub.behave(Behaviour::RateLimited { times: 2, retry_after: 0 });
    place.fetch().unwrap();
    let place = Place::new();
    place.hub.behave(Behaviour::RateLimited { times: u32::MAX, retry_after: 0 });
    let problem = place.refused();
    assert_eq!((problem.kind, place.hub.requests().len()), (ProblemKind::RateLimited, 4));
    assert!(problem.retryable);
}

#[test]
fn a_hub_that_is_not_there_or_not_one_or_silent_is_named() {
    let mut place = Place::new();
    place.hub.behave(Behaviour::LoginPage);
    assert_eq!(place.refused().code, "hub.bad_answer");
    place.hub.behave(Behaviour::Hangs);
    place.settings.answer_timeout = Duration::from_millis(100);
    place.settings.read_timeout = Duration::from_millis(100);
    let problem = place.refused();
    assert_eq!((problem.kind, problem.code.as_str()), (ProblemKind::Unavailable, "hub.timeout"));
    place.settings.endpoint = "http://127.0.0.1:9".into();
    let problem = place.refused();
    assert_eq!((problem.kind, problem.code.as_str()), (ProblemKind::Unavailable, "hub.unreachable"));
    assert!(problem.message.contains("http://127.0.0.1:9"), "{problem}");
    let hint = problem.hint.unwrap();
    assert!(hint.contains("HF_ENDPOINT") && hint.contains("base_model.local_path"), "{hint}");
}

#[test]
fn a_download_that_is_cut_goes_on_where_it_was() {
    let place = Place::new();
    place.hub.behave(Behaviour::Cuts { times: 2, after: 1_000_000 });
    let snapshot = place.fetch().unwrap();
    let stored: Vec<_> = place
        .hub
        .downloads()
        .into_iter()
        .filter(|r| r.path.starts_with("/storage/"))
        .map(|r| r.range)
        .collect();
    assert_eq!(stored, [None, Some("bytes=1000000-".to_owned()), Some("bytes=2000000-".to_owned())]);
    assert!(is_whole(&snapshot.folder));
}

#[test]
fn a_download_that_is_cut_for_good_goes_on_next_time() {
    let place = Place::new();
    place.hub.behave(Behaviour::Cuts { times: u32::MAX, after: 1000 });
    let problem = place.refused();
    assert_eq!((problem.kind, problem.code.as_str()), (ProblemKind::Unavailable, "hub.cut"));
    let here = fs::metadata(place.incomplete().unwrap()).unwrap().len();
    assert!(here > 0);
    place.hub.behave(Behaviour::Public);
    let snapshot = place.fetch().unwrap();
    let last = place.hub.downloads().pop().unwrap();
    assert_eq!(last.range, Some(format!("bytes={here}-")));
    assert!(is_whole(&snapshot.folder));
    assert_eq!(place.incomplete(), None);
}

#[test]
fn a_download_that_is_stopped_goes_on_next_time() {
    let place = Place::new();
    let ear = Ear { stop_at: Some(2_000_000), ..Ear::default() };
    let problem = place.fetch_at("main", &ear).unwrap_err().problem();
    assert_eq!((problem.kind, problem.code.as_str()), (ProblemKind::Cancelled, "hub.cancelled"));
    let here = fs::metadata(place.incomplete().unwrap()).unwrap().len();
    assert!(here >= 1_900_000, "{here}");
    assert!(is_whole(&place.fetch().unwrap().folder));
    assert_eq!(place.hub.downloads().pop().unwrap().range, Some(format!("bytes={here}-")));
}

#[test]
fn a_server_without_ranges_sends_everything_again() {
    let place = Place::new();
    place.hub.behave(Behaviour::Cuts { times: u32::MAX, after: 1000 });
    place.refused();
    place.hub.behave(Behaviour::IgnoresRanges);
    assert!(is_whole(&place.fetch().unwrap().folder));
}

#[test]
fn what_is_left_of_something_longer_is_not_taken() {
    let place = Place::new();
    place.hub.behave(Behaviour::Cuts { times: u32::MAX, after: 1000 });
    place.refused();
    let incomplete = place.incomplete().unwrap();
    fs::write(&incomplete, vec![0; 5_000_000]).unwrap();
    place.hub.behave(Behaviour::Public);
    assert!(is_whole(&place.fetch().unwrap().folder));
}

#[test]
fn damaged_content_is_removed_and_never_used() {
    let place = Place::new();
    for behaviour in [Behaviour::Corrupts, Behaviour::Shortens] {
        place.hub.behave(behaviour.clone());
        let problem = place.refused();
        let expected = if behaviour == Behaviour::Corrupts { "hub.damaged" } else { "hub.cut" };
        assert_eq!(problem.code, expected, "{problem}");
        let snapshot = place.model().join("snapshots").join(place.hub.commit());
        assert!(!snapshot.join("model.safetensors").exists());
    }
    place.hub.behave(Behaviour::Public);
    assert!(is_whole(&place.fetch().unwrap().folder));
}

#[cfg(unix)]
#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let mut place = Place::new();
    let file = place.beside("file").join("not-a-folder");
    fs::write(&file, "").unwrap();
    place.settings.cache = file.join("hub");
    let problem = place.refused();
    assert!(problem.message.contains("not-a-folder"), "{problem}");
}

fn is_whole(folder: &std::path::Path) -> bool {
    fs::read(folder.join("model.safetensors")).unwrap()
        == fs::read(fixture("base-model/model.safetensors")).unwrap()
}
