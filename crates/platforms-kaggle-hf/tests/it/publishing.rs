//! Folders published as repositories.

use std::{fs, path::PathBuf};

use greentune_core_config::{Diagnostic, ProblemKind};
use greentune_platforms_kaggle_hf::hub::{
    HubError, Publication, Published, Token, TransferControl, Visibility, check_permission, publish,
};
use greentune_test_support::fake_hub::{
    Behaviour, FINE_GRAINED_REPOSITORY, FINE_GRAINED_TOKEN, READ_TOKEN, Request, WRITE_TOKEN,
};

use crate::place::{Ear, Place};

const REPOSITORY: &str = "ada/my-model";

/// A Hub, and a folder that is published there.
struct Author {
    place: Place,
    folder: PathBuf,
    files: Vec<String>,
    ear: Ear,
}

impl Author {
    fn new() -> Self {
        let place = Place::new().with_token(WRITE_TOKEN);
        let folder = place.beside("export");
        let contents = [
            ("README.md", b"# A model\n".to_vec()),
            ("a.safetensors", vec![1; 300_000]),
            ("b.safetensors", (0..=255).cycle().take(700_001).collect()),
            ("config.json", b"{}".to_vec()),
            (".eval_results/test.yaml", b"- value: 1\n".to_vec()),
            ("empty.txt", Vec::new()),
        ];
        fs::create_dir(folder.join(".eval_results")).unwrap();
        for (name, bytes) in &contents {
            fs::write(folder.join(name), bytes).unwrap();
        }
        let files = contents.map(|(name, _)| name.to_owned()).to_vec();
        Self { place, folder, files, ear: Ear::default() }
    }

    fn publish(&self, visibility: Visibility) -> Result<Published, HubError> {
        self.publish_to(REPOSITORY, visibility)
    }

    fn publish_to(&self, repository: &str, visibility: Visibility) -> Result<Published, HubError> {
        let Self { place, folder, files, ear } = self;
        let publication = Publication { repository, folder, files, visibility, title: "Trained" };
        let watch = TransferControl { what: repository, reporter: ear, cancelled: &ear.stopped };
        publish(&place.settings, publication, &watch)
    }

    /// The code of what forbids an upload beforehand; nothing is made.
    fn forbidden(&self, repository: &str, visibility: Visibility) -> Option<String> {
        let Self { place, ear, .. } = self;
        let watch = TransferControl { what: repository, reporter: ear, cancelled: &ear.stopped };
        let checked = check_permission(&place.settings, repository, visibility, &watch);
        assert!(place.hub.requests().iter().all(|request| request.method == "GET"));
        checked.err().map(|error| error.problem().code)
    }

    fn puts(&self) -> Vec<Request> {
        self.place.hub.requests().into_iter().filter(|request| request.method == "PUT").collect()
    }

    /// The repository has every file as it is here.
    fn check_published(&self) {
        let repository = self.place.hub.repository(REPOSITORY).unwrap();
        assert_eq!(repository.files.len(), self.files.len());
        for (name, bytes) in &repository.files {
            assert!(*bytes == fs::read(self.folder.join(name)).unwrap(), "{name}");
            assert_eq!(repository.stored_apart.contains(name), name.ends_with(".safetensors"), "{name}");
        }
    }
}

#[test]
fn a_folder_becomes_a_private_repository_in_one_commit() {
    let author = Author::new();
    let published = author.publish(Visibility::Private).unwrap();
    author.check_published();
    let repository = author.place.hub.repository(REPOSITORY).unwrap();
    assert!(repository.is_private);
    assert_eq!(repository.commits, ["initial commit", "Trained"]);
    assert_eq!(published.url, format!("{}/{REPOSITORY}", author.place.settings.endpoint));
    assert_eq!((published.sent.len(), published.present.len()), (6, 0));
    assert_eq!(published.sent_bytes, 1_000_001);
    let opened = author.publish(Visibility::Public).unwrap();
    assert_eq!(opened.visibility, Visibility::Private, "what is there stays as it is");
    let told = author.ear.told.lock().unwrap();
    assert!(told.iter().all(|progress| progress.bytes_total == 1_000_001));
    assert_eq!(told.last().unwrap().bytes_done, 1_000_001);
}

#[test]
fn what_is_there_is_not_sent_again_and_without_a_change_there_is_no_commit() {
    let author = Author::new();
    let first = author.publish(Visibility::Public).unwrap();
    assert!(!author.place.hub.repository(REPOSITORY).unwrap().is_private);
    assert_eq!(first.visibility, Visibility::Public);
    let again = author.publish(Visibility::Public).unwrap();
    assert_eq!((again.sent.len(), again.present.len(), again.sent_bytes), (0, 6, 0));
    assert_eq!(again.commit, first.commit);
    fs::write(author.folder.join("config.json"), "{ }").unwrap();
    let changed = author.publish(Visibility::Public).unwrap();
    assert_eq!((changed.sent, changed.present.len()), (vec![String::from("config.json")], 5));
    author.check_published();
    assert_eq!(author.place.hub.repository(REPOSITORY).unwrap().commits.len(), 3);
    assert_eq!(author.puts().len(), 2);
}

#[test]
fn large_files_go_in_parts_where_the_hub_asks_for_it() {
    let author = Author::new();
    author.place.hub.take_parts_of(299_999);
    author.publish(Visibility::Private).unwrap();
    author.check_published();
    assert_eq!(author.puts().len(), 2 + 3);
    assert!(author.puts().iter().all(|put| put.authorization.is_none()));
}

#[test]
fn a_connection_that_breaks_once_is_no_failure() {
    let author = Author::new();
    author.place.hub.behave(Behaviour::CutsUploads { times: 1, after: 100_000 });
    author.publish(Visibility::Private).unwrap();
    author.check_published();
}

#[test]
fn an_upload_that_was_cut_shows_nothing_and_goes_on_where_it_stopped() {
    let author = Author::new();
    author.place.hub.behave(Behaviour::CutsUploads { times: 99, after: 400_000 });
    let problem = author.publish(Visibility::Private).unwrap_err().problem();
    assert_eq!((problem.kind, problem.code.as_str()), (ProblemKind::Unavailable, "hub.upload_cut"));
    assert!(problem.hint.unwrap().contains("try again"));
    assert_eq!(author.place.hub.repository(REPOSITORY).unwrap().commits, ["initial commit"]);
    author.place.hub.behave(Behaviour::Public);
    let published = author.publish(Visibility::Private).unwrap();
    assert_eq!(published.sent_bytes, 700_001);
    author.check_published();
}

#[test]
fn an_upload_ends_on_request() {
    let mut author = Author::new();
    let huge = fs::File::create(author.folder.join("b.safetensors")).unwrap();
    huge.set_len(1 << 30).unwrap();
    author.ear.stop_at = Some(400_000);
    let problem = author.publish(Visibility::Private).unwrap_err().problem();
    assert_eq!((problem.kind, problem.code.as_str()), (ProblemKind::Cancelled, "hub.cancelled"));
    assert_eq!(author.place.hub.repository(REPOSITORY).unwrap().commits, ["initial commit"]);
}

#[test]
fn refusals_to_write_say_what_to_do() {
    let mut author = Author::new();
    author.publish_to("ada/public", Visibility::Public).unwrap();
    let shown = |author: &Author, repository: &str| {
        let problem = author.publish_to(repository, Visibility::Private).unwrap_err().problem();
        let hint = problem.hint.as_deref().unwrap_or("-");
        format!("{:?} {}: {problem}\n  {hint}", problem.kind, problem.code)
            .replace(&author.place.hub.endpoint(), "HUB")
    };
    let mut refusals = vec![
        shown(&author, "my-model"),
        shown(&author, "../etc/passwd"),
        shown(&author, "bob/model"),
        shown(&author, "ada/public"),
    ];
    author.place.settings.token = Token::new(READ_TOKEN, "HF_TOKEN");
    refusals.push(shown(&author, "ada/new"));
    author.place.settings.token = Token::new("hf_secret", "HF_TOKEN");
    refusals.push(shown(&author, "ada/new"));
    author.place.settings.token = None;
    refusals.push(shown(&author, "ada/new"));
    author.place.settings.token = Token::new(WRITE_TOKEN, "HF_TOKEN");
    author.place.hub.behave(Behaviour::Fails(500));
    refusals.push(shown(&author, "ada/new"));
    author.place.settings.offline = true;
    refusals.push(shown(&author, "ada/new"));
    assert!(refusals.iter().all(|refusal| !refusal.contains("hf_")), "{refusals:?}");
    assert_eq!(author.puts().len(), 2);
    insta::assert_snapshot!(refusals.join("\n"));
}

#[test]
fn what_forbids_an_upload_is_known_before_it() {
    let mut author = Author::new();
    for (repository, code) in [
        (REPOSITORY, None),
        ("makers/m", None),
        ("readers/m", Some("hub.write_forbidden")),
        ("bob/m", Some("hub.write_forbidden")),
        // Its one model is public and somebody else's.
        (crate::place::ID, Some("hub.write_forbidden")),
    ] {
        assert_eq!(author.forbidden(repository, Visibility::Private).as_deref(), code, "{repository}");
    }
    for (token, repository, code) in [
        (READ_TOKEN, REPOSITORY, Some("hub.write_forbidden")),
        (FINE_GRAINED_TOKEN, REPOSITORY, Some("hub.write_forbidden")),
        (FINE_GRAINED_TOKEN, FINE_GRAINED_REPOSITORY, None),
        ("hf_nobody", REPOSITORY, Some("hub.token_refused")),
    ] {
        author.place.settings.token = Token::new(token, "HF_TOKEN");
        assert_eq!(
            author.forbidden(repository, Visibility::Private).as_deref(),
            code,
            "{token} {repository}"
        );
    }
}

#[test]
fn a_repository_that_everybody_sees_is_known_before_a_private_upload() {
    let author = Author::new();
    author.publish(Visibility::Public).unwrap();
    let Author { place, ear, .. } = &author;
    let watch = TransferControl { what: REPOSITORY, reporter: ear, cancelled: &ear.stopped };
    let check = |visibility| check_permission(&place.settings, REPOSITORY, visibility, &watch);
    assert!(matches!(check(Visibility::Private), Err(HubError::IsPublic { .. })));
    check(Visibility::Public).unwrap();
}

#[test]
fn a_hub_that_does_not_say_whose_a_token_is_forbids_nothing() {
    let author = Author::new();
    for (behaviour, code) in [
        (Behaviour::Fails(503), Some("hub.failed")),
        (Behaviour::LoginPage, Some("hub.bad_answer")),
        (Behaviour::RateLimited { times: 1, retry_after: 600 }, None),
    ] {
        author.place.hub.behave(behaviour.clone());
        assert_eq!(author.forbidden(REPOSITORY, Visibility::Private).as_deref(), code, "{behaviour:?}");
    }
    let mut nowhere = Author::new();
    nowhere.place.settings.endpoint = String::from("http://127.0.0.1:1");
    assert_eq!(nowhere.forbidden(REPOSITORY, Visibility::Private).as_deref(), Some("hub.unreachable"));
}
